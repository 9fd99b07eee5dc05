"""The oracle, which knows the ground truth: its next click, and the distance search behind it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
