"""`hlmat rl`: GRPO over whole rollouts, with TRL in a process and an environment of its own."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
