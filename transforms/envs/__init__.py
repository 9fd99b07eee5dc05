"""Mask annotation as a reinforcement learning task: a gymnasium environment and reward functions.

Only `gym_env` needs gymnasium.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
