"""Interactive segmentation tools behind the protocol `Segmenter`, one folder per tool."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
