"""Training recipes: the folders of `train_recipes`, read and validated."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
