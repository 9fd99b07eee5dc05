"""Sources of a model's answers: a checkpoint, an OpenAI-compatible server or recorded answers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
