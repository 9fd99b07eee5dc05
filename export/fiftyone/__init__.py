"""Data sets for FiftyOne: a sample for each image, its targets, last masks and clicks as labels."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
