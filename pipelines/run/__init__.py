"""A run of click trajectories: its folder, plan, progress, runners and worker processes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
