"""`hlmat edit`, `split`, `merge`, `sample`: new runs from the rows of finished ones."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
