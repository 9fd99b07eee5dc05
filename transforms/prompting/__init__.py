"""What a model is shown and asked, and its answers as text: rendering and parsing."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
