"""A segmenter behind an HTTP server: its address, the wire format, and the client."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
