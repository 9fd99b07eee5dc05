"""Run outputs on disk: schemas, rows and records, work units, file layout."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
