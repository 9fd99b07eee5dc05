"""Jobs that measure or show finished rollouts: evaluate, compare, score, stats, inspect."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
