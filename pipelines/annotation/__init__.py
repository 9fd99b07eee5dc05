"""Jobs that apply a model to a data set's masks: filter bad ones, refine them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
