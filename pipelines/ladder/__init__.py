"""The job `hlmat ladder`: train, evaluate and compare each step of the method on held-out sets."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
