"""File formats that other tools read: COCO, PNG masks, prediction files, traces."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
