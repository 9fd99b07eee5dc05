"""Clicks of people and the pixels that they could have clicked: what a model is fitted to.

The pixels of a large error are represented by some of them, evenly spaced in row-major order. The
sums over pixels in the likelihood are then estimates; their weights are N / M for M of N pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.clickability.click_model import FEATURES, ClickModel
from hlmat.transforms.clickability.features import ErrorPixels

_DEPTH = list(FEATURES).index("depth")
DISTANCE_TRANSFORM = ClickModel(
    {"log_depth": 1.0, "region_depth": 1.0}, source="a pixel is as likely as it is deep"
)
UNIFORM = ClickModel({}, source="each wrong pixel is equally likely")


@dataclass(frozen=True)
class ClickedError:
    """An error with people's clicks on it.

    Attributes:
        name: unique among the errors; clicks of the same name share their random numbers.
        image: a label that all errors of an image share.
        clicked: the features of each clicked pixel. Shape: (C, K).
        pixels: the features of some pixels of the error. Shape: (M, K).
        count: pixels of the error.
    """

    name: str
    image: str
    clicked: NDArray[np.float32]
    pixels: NDArray[np.float32]
    count: int

    @property
    def clicked_depths(self) -> NDArray[np.float32]:
        """The relative depth of each click. Shape: (C,)."""
        return self.clicked[:, _DEPTH]

    @property
    def depths(self) -> NDArray[np.float32]:
        """The relative depth of each pixel. Shape: (M,)."""
        return self.pixels[:, _DEPTH]

    def probabilities(self, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """Return the probability of each pixel, all summing to 1, and the logarithm of the sum.

        Args:
            weights: in the order of `FEATURES`. Shape: (K,).
        """
        logs = self.pixels @ weights
        highest = float(logs.max())
        parts = np.exp(logs - highest)
        total = float(parts.sum())
        log_sum = highest + np.log(total) + np.log(self.count / len(self.pixels))
        return parts / total, float(log_sum)

    def log_likelihoods(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logarithm of each click's probability. Shape: (C,)."""
        return self.clicked @ weights - self.probabilities(weights)[1]


def clicked_error(
    error: ErrorPixels,
    places: Sequence[int],
    *,
    name: str,
    image: str,
    max_pixels: int,
    draw: float,
) -> ClickedError:
    """Pair clicks with the pixels of their error.

    Args:
        error: all of its pixels.
        places: the index of each clicked pixel, at least one.
        name: of the error.
        image: of the error.
        max_pixels: represent the error by at most so many pixels.
        draw: in [0, 1); where the evenly spaced pixels begin.
    """
    count = len(error)
    kept = min(count, max_pixels)
    spaced = np.minimum(((np.arange(kept) + draw) * (count / kept)).astype(np.int64), count - 1)
    return ClickedError(
        name=name,
        image=image,
        clicked=error.at(np.asarray(places, np.int64)).features().astype(np.float32),
        pixels=error.at(spaced).features().astype(np.float32),
        count=count,
    )


def weights_of(model: ClickModel) -> NDArray[np.float64]:
    """Return a model's weights in the order of `FEATURES`. Shape: (K,)."""
    return np.array([model.weights[name] for name in FEATURES])
