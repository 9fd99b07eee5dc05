"""A run as a data set for the Hugging Face Hub: tables, card, Croissant metadata, checksums."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
