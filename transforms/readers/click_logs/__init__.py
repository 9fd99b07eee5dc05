"""Logs of people's clicks: this project's CSV, RClicks' own, and the errors that were clicked."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
