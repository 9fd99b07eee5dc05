"""A small Qwen3-VL for the generated data set: tokenizer, weights and vision pre-training."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
