"""HLMAT-Bench: fixed target lists and rules; submissions scored by their masks and verified."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
