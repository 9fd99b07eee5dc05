"""Data sets: one reader per family behind the protocol `DatasetReader`, opened by name."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
