"""Files of data sets: images, JSON, pickles and segmentations, read defensively."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
