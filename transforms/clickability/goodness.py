"""How well a clickability model describes clicks that it was not fitted to.

- The mean logarithm of a click's probability, and how much it exceeds that of two baselines.
- The distance of Kolmogorov and Smirnov (Massey, The Kolmogorov-Smirnov Test for Goodness of Fit,
  JASA 46, 1951) between the uniform distribution and the probability, under a model, of a click
  less deep in its region than the one made: the probability integral transform (Rosenblatt, Remarks
  on a Multivariate Transformation, 1952), with ties broken at random (Dunn and Smyth, Randomized
  Quantile Residuals, 1996). No p-value: clicks on an image are not independent.
- The Wasserstein distance between the depths of the clicks and those of a model, relative to the
  regions' greatest.
- The share of clicks in each decile of the model, 0.1 where it is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.clickability.choices import (
    DISTANCE_TRANSFORM,
    UNIFORM,
    ClickedError,
    weights_of,
)
from hlmat.transforms.clickability.click_model import ClickModel
from hlmat.transforms.clickability.sampling import DECILES
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.metrics.bootstrap import mean_intervals

BASELINES: Mapping[str, ClickModel] = {
    "uniform": UNIFORM,
    "distance_transform": DISTANCE_TRANSFORM,
}
_BINS = 1000


def goodness_of_fit(
    errors: Sequence[ClickedError], model: ClickModel, *, seed: int = 0
) -> dict[str, Any]:
    """Return how well a model describes clicks, as plain JSON values.

    Args:
        errors: with clicks that the model was not fitted to, at least one.
        model: to be judged.
        seed: of the random numbers that break ties.

    Returns:
        `clicks` and `images`; `log_likelihood` per click in nats, with a 95 % interval that
        resamples images; `gain_over` each baseline, likewise; `KS` and `wasserstein` of the depths
        by model, `model` being the one judged; `deciles`, the share of clicks in each.
    """
    models = {"model": model, **BASELINES}
    weights = {name: weights_of(each) for name, each in models.items()}
    images = [error.image for error in errors for _ in error.clicked]
    logs = {
        name: np.concatenate([error.log_likelihoods(w) for error in errors])
        for name, w in weights.items()
    }
    columns = np.column_stack([logs["model"], *(logs["model"] - logs[name] for name in BASELINES)])
    likelihood, *gains = (each.as_dict() for each in mean_intervals(columns, images))
    draws = [target_rng(seed, error.name, "ties").random(len(error.clicked)) for error in errors]
    return {
        "clicks": len(images),
        "images": len(set(images)),
        "log_likelihood": likelihood,
        "gain_over": dict(zip(BASELINES, gains, strict=True)),
        "KS": {name: _ks_of_depths(errors, w, draws) for name, w in weights.items()},
        "wasserstein": {name: _wasserstein_of_depths(errors, w) for name, w in weights.items()},
        "deciles": _decile_shares(errors, weights["model"], draws),
    }


def _ks_of_depths(
    errors: Sequence[ClickedError],
    weights: NDArray[np.float64],
    draws: Sequence[NDArray[np.float64]],
) -> float:
    from scipy.stats import kstest

    transformed = [
        _transform(error.depths, error.probabilities(weights)[0], error.clicked_depths, draw)
        for error, draw in zip(errors, draws, strict=True)
    ]
    return float(kstest(np.concatenate(transformed), "uniform").statistic)


def _wasserstein_of_depths(errors: Sequence[ClickedError], weights: NDArray[np.float64]) -> float:
    from scipy.stats import wasserstein_distance

    made, expected = np.zeros(_BINS), np.zeros(_BINS)
    for error in errors:
        np.add.at(made, _bins(error.clicked_depths), 1.0)
        parts = len(error.clicked) * error.probabilities(weights)[0]
        expected += np.bincount(_bins(error.depths), weights=parts, minlength=_BINS)
    centres = (np.arange(_BINS) + 0.5) / _BINS
    return float(wasserstein_distance(centres, centres, made, expected))


def _bins(depths: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.minimum((depths * _BINS).astype(np.int64), _BINS - 1)


def _decile_shares(
    errors: Sequence[ClickedError],
    weights: NDArray[np.float64],
    draws: Sequence[NDArray[np.float64]],
) -> list[float]:
    counts = np.zeros(DECILES)
    for error, draw in zip(errors, draws, strict=True):
        places = _transform(
            error.pixels @ weights, error.probabilities(weights)[0], error.clicked @ weights, draw
        )
        deciles = np.minimum((places * DECILES).astype(np.int64), DECILES - 1)
        counts += np.bincount(deciles, minlength=DECILES)
    return (counts / counts.sum()).tolist()


def _transform(
    values: NDArray[Any],
    probabilities: NDArray[np.float64],
    clicked: NDArray[Any],
    draws: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the probability of a value below each click's, with a random part of equal ones.

    Args:
        values: of the pixels. Shape: (M,).
        probabilities: of the pixels. Shape: (M,).
        clicked: the value of each click. Shape: (C,).
        draws: the part of equal values, in [0, 1). Shape: (C,).
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    cumulated = np.concatenate([[0.0], np.cumsum(probabilities[order])])
    below = cumulated[np.searchsorted(ordered, clicked, side="left")]
    up_to = cumulated[np.searchsorted(ordered, clicked, side="right")]
    return np.clip(below + draws * (up_to - below), 0, 1)
