"""Masks: run lengths, rasterizing, decoding images, boxes, corruption and upsampling."""
