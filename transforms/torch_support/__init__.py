"""Helpers shared by everything that uses torch: devices, torchvision and transformers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
