"""Beam transforms around the pure functions; nothing else under `transforms` imports Beam."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
