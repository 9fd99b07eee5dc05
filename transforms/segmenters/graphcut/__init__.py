"""A segmenter without weights: graph cuts on colour and contrast propose masks for each click."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
