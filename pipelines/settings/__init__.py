"""The settings of every command, composed of the options that `transforms` and `export` declare."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
