"""`hlmat view`: the page of a run, saved as a folder or served to a browser."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
