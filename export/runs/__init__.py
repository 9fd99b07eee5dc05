"""The folder of a finished run: its manifest, its data card, its trajectories read back."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
