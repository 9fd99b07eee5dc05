"""Reinforcement learning of a model by its own rollouts: rewards, advantages, GRPO with TRL.

Only `trainer` needs TRL, in an environment of its own; `recording` and `rows` need torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
