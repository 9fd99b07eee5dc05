"""Helpers shared by everything that uses torch: devices, torchvision and transformers."""
