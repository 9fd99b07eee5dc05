"""The loop that turns a target, a segmenter and a click policy into a trajectory."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
