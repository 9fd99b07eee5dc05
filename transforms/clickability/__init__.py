"""Where people click in the error of a mask: a log-linear model, its features, sampling and fit."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
