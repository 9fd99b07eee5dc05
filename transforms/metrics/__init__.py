"""Figures of rollouts: a result for each target, their sums, and intervals resampled by image.

In this package a *result* is what a target adds to the figures (`TargetResult`), a *score* is the
model's own estimate of a mask's IoU (`predicted_iou`), and a *figure* is a number of a whole run.
The segmenter's estimate of its masks (`Step.score`) is not used in any figure.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
