"""The browsable page of a run: its files by name, for a folder or a server."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
