"""Percentile bootstrap intervals over targets: how far a figure would move on other targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
COVERAGE = 0.95
_CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A figure and the interval that it lies in with 95 % of resampled sets of targets."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Return plain JSON values."""
        return {"value": self.value, "low": self.low, "high": self.high}


def resampled_sums(
    columns: NDArray[np.float64], *, resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """Draw as many targets as there are, with replacement, again and again; sum each column.

    Args:
        columns: one row per target. Shape: (N, M), N at least 1.
        resamples: how often to draw.
        seed: of the draws.

    Returns:
        Shape: (resamples, M).
    """
    count = len(columns)
    rng = np.random.default_rng(seed)
    probabilities = np.full(count, 1 / count)
    at_once = max(1, _CELLS_AT_ONCE // count)
    parts = []
    for start in range(0, resamples, at_once):
        times_drawn = rng.multinomial(count, probabilities, size=min(at_once, resamples - start))
        parts.append(times_drawn.astype(np.float64) @ columns)
    return np.concatenate(parts)


def interval_of(value: float, resampled: NDArray[np.float64]) -> Interval:
    """Return a figure with the percentiles of its resampled values. Shape of these: (R,).

    The figure is always within: rounding alone could set it beside equal resampled values.
    """
    tail = 100 * (1 - COVERAGE) / 2
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return Interval(float(value), float(min(low, value)), float(max(high, value)))


def mean_intervals(columns: NDArray[np.float64], *, seed: int = 0) -> list[Interval]:
    """Return each column's mean over targets. Shape of `columns`: (N, M), N at least 1."""
    sums = resampled_sums(columns, seed=seed)
    means = columns.mean(axis=0)
    return [interval_of(means[m], sums[:, m] / len(columns)) for m in range(columns.shape[1])]


def ratio_interval(
    numerators: NDArray[np.float64], denominators: NDArray[np.float64], *, seed: int = 0
) -> Interval:
    """Return the ratio of two sums over targets; 1 where the lower sum is 0. Shapes: (N,)."""
    sums = resampled_sums(np.stack([numerators, denominators], axis=1), seed=seed)
    return interval_of(
        _ratio(numerators.sum(), denominators.sum()),
        np.array([_ratio(top, bottom) for top, bottom in sums]),
    )


def _ratio(top: float, bottom: float) -> float:
    return float(top / bottom) if bottom else 1.0
