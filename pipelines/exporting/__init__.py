"""The job `hlmat export`: write a run's trajectories as training data or another format."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
