"""Jobs that train: LLaMA-Factory by a recipe, StaR+ rounds, the tiny model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
