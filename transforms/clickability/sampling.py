"""Clicks drawn from a clickability model, from all of its mass or from one decile of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DECILES = 10


def sample_pixel(
    probabilities: NDArray[np.float64], draw: float, *, decile: int | None = None
) -> int:
    """Return the index of a pixel.

    With a decile, pixels are sorted from the least likely to the likeliest, equally likely ones in
    their order, and the draw falls into that tenth of the cumulated probability: decile 1 has the
    least likely clicks, decile 10 the likeliest. A pixel across a limit belongs to both sides with
    its part of the mass, so that the ten deciles together are the whole distribution. RClicks
    (Antonov et al., 2024) groups clicks in the same order, with whole pixels at the limits.

    Args:
        probabilities: of each pixel, summing to 1. Shape: (N,), N at least 1.
        draw: in [0, 1).
        decile: 1 to 10, or None.

    >>> sample_pixel(np.array([0.85, 0.05, 0.1]), 0.75, decile=1)
    2
    """
    if decile is None:
        return _at(np.cumsum(probabilities), draw)
    order = np.argsort(probabilities, kind="stable")
    cumulated = np.cumsum(probabilities[order])
    return int(order[_at(cumulated, (decile - 1 + draw) / DECILES)])


def _at(cumulated: NDArray[np.float64], share: float) -> int:
    index = int(np.searchsorted(cumulated, share * cumulated[-1], side="right"))
    return min(index, len(cumulated) - 1)
