"""SAM, SAM-HQ, SAM 2, EdgeTAM and SAM 3 checkpoints of Hugging Face transformers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
