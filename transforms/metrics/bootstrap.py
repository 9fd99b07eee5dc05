"""Bootstrap intervals that resample images, each with all of its targets.

Targets of one image and expressions of one target are not independent; drawing them one by one
makes intervals too narrow. Instead, whole images are drawn with replacement, as many as there are:
the cluster bootstrap (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section
3.8; Field and Welsh, Bootstrapping clustered data, J. R. Statist. Soc. B 69, 2007). The limits are
expanded percentiles (Hesterberg, What Teachers Should Know About the Bootstrap, The American
Statistician 69, 2015): their levels follow Student's t, because plain percentiles are too narrow
for few images.

Every figure here is a function of sums over targets, so a resample is a weighted sum of the
images' sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
COVERAGE = 0.95
SEED = 0
FEW_IMAGES = 20
"""Intervals of fewer images are rough, and reports say so."""

METHOD = f"95 % intervals, resampled by image ({RESAMPLES:,} resamples, seed {SEED})"
"""What a report says about its intervals."""

_CELLS_AT_ONCE = 4_000_000
_DRAWS_AT_ONCE = 100_000

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From sums over targets to figures. Shapes: (R, M) to (R, K); NaN for an undefined figure."""


@dataclass(frozen=True)
class Interval:
    """A figure with the limits of its 95 % interval, which are None if there is only one image."""

    value: float
    low: float | None
    high: float | None

    def as_dict(self) -> dict[str, float | None]:
        """Return plain JSON values."""
        return {"value": self.value, "low": self.low, "high": self.high}


class Change(StrEnum):
    """What the interval of a difference shows."""

    RISES = "rises"
    FALLS = "falls"
    NOT_SHOWN = "no change shown"


def bootstrap_intervals(
    columns: NDArray[np.float64], images: Sequence[str], statistic: Statistic
) -> list[Interval]:
    """Return figures with intervals that resample images; the order of targets does not matter.

    Args:
        columns: what each target adds to the sums. Shape: (N, M), N at least 1.
        images: the image of each target, or another label of targets that belong together.
        statistic: computes figures from sums; at least one must be defined for the sums of all
            targets.

    >>> ious, images = np.array([[0.5], [0.7], [0.9]]), ["a", "a", "b"]
    >>> counted = np.column_stack([ious, np.ones(3)])
    >>> (mean,) = bootstrap_intervals(counted, images, lambda sums: sums[:, :1] / sums[:, 1:])
    >>> round(mean.value, 3), round(mean.low, 3), round(mean.high, 3)
    (0.7, 0.6, 0.9)
    """
    by_image = sums_by_image(columns, images)
    total = np.array([[math.fsum(column) for column in by_image.T]])
    values = statistic(total)[0]
    if len(by_image) == 1:
        return [Interval(float(value), None, None) for value in values]
    resampled = statistic(_resampled_sums(by_image))
    tail = 100 * _tail_level(len(by_image))
    return [_interval(values[k], resampled[:, k], tail) for k in range(len(values))]


def mean_intervals(columns: NDArray[np.float64], images: Sequence[str]) -> list[Interval]:
    """Return each column's mean over targets. Shape of `columns`: (N, M), N at least 1."""
    counted = np.column_stack([columns, np.ones(len(columns))])
    return bootstrap_intervals(counted, images, lambda sums: sums[:, :-1] / sums[:, -1:])


def ratio_interval(
    numerators: NDArray[np.float64], denominators: NDArray[np.float64], images: Sequence[str]
) -> Interval:
    """Return the ratio of two sums over targets; 1 if both are 0. Shapes: (N,)."""
    columns = np.column_stack([numerators, denominators])
    return bootstrap_intervals(columns, images, lambda sums: ratios(sums[:, :1], sums[:, 1:]))[0]


def ratios(numerators: NDArray[np.float64], denominators: NDArray[np.float64]) -> Any:
    """Divide elementwise; 1 if the denominator is 0, like the IoU of two empty masks."""
    return np.divide(
        numerators, denominators, out=np.ones_like(numerators), where=denominators != 0
    )


def change_of(difference: Mapping[str, Any]) -> Change:
    """Say what a difference with its interval shows: nothing if the interval touches 0.

    >>> str(change_of({"value": 0.02, "low": 0.01, "high": 0.03}))
    'rises'
    """
    low, high = difference["low"], difference["high"]
    if low is not None and low > 0:
        return Change.RISES
    if high is not None and high < 0:
        return Change.FALLS
    return Change.NOT_SHOWN


def paired_difference(
    before: Mapping[str, float], after: Mapping[str, float], *, image_of: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return the mean of `after - before` over the shared targets, with its interval.

    Args:
        before: a figure, such as the IoU, by target id.
        after: the same figure of another run.
        image_of: the image of each shared target.

    Returns:
        `value`, `low`, `high`, `change` as a word, `targets` and `images` compared and `unpaired`,
        the targets that only one of them has; None if they share no target.
    """
    shared = sorted(before.keys() & after.keys())
    if not shared:
        return None
    images = [image_of[name] for name in shared]
    gains = np.array([[after[name] - before[name]] for name in shared], np.float64)
    interval = mean_intervals(gains, images)[0].as_dict()
    return {
        **interval,
        "change": str(change_of(interval)),
        "targets": len(shared),
        "images": len(set(images)),
        "unpaired": len(before.keys() ^ after.keys()),
    }


def remark_on_images(count: int) -> str | None:
    """Return a remark on intervals from too few images; None if there are enough."""
    if count >= FEW_IMAGES:
        return None
    if count == 1:
        return "1 image: no intervals, which resample images; use at least 2"
    return f"{count} images: intervals from fewer than {FEW_IMAGES} images are rough; use more"


def sums_by_image(columns: NDArray[np.float64], images: Sequence[str]) -> NDArray[np.float64]:
    """Sum the rows of each image; images in alphabetical order. Shape: (images, M)."""
    if len(columns) != len(images) or not len(images):
        raise ValueError(
            f"expected an image for each of at least 1 target, got {len(images)} images for "
            f"{len(columns)} targets"
        )
    names, place = np.unique(np.asarray(images, dtype=np.str_), return_inverse=True)
    if len(names) == len(images):
        return columns[np.argsort(place)]
    # Rows of an image are added in the order of their values, whatever the input order.
    order = np.lexsort([*columns.T[::-1], place])
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    return np.add.reduceat(columns[order], starts, axis=0)


def _resampled_sums(by_image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw as many images as there are, `RESAMPLES` times; sum each column. Shape: (R, M)."""
    count = len(by_image)
    rng = np.random.default_rng(SEED)
    rows = max(1, _CELLS_AT_ONCE // count)
    blocks = [
        _draw(rng, count=count, resamples=min(rows, RESAMPLES - start)) @ by_image
        for start in range(0, RESAMPLES, rows)
    ]
    return np.concatenate(blocks)


def _draw(rng: np.random.Generator, *, count: int, resamples: int) -> NDArray[np.float64]:
    """Return how often each image is drawn in each resample. Shape: (resamples, count)."""
    times = np.empty((resamples, count))
    # Few at a time, so that counting stays within the processor's cache.
    at_once = max(1, _DRAWS_AT_ONCE // count)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        counted = np.bincount(drawn.ravel(), minlength=rows * count)
        times[start : start + rows] = counted.reshape(rows, count)
    return times


def _tail_level(num_images: int) -> float:
    """Return the share of resamples beyond each limit (Hesterberg 2015, expanded percentiles)."""
    # Imported here, so that commands without intervals start sooner.
    from scipy.special import ndtr, stdtrit

    quantile = stdtrit(num_images - 1, (1 - COVERAGE) / 2)
    return float(ndtr(math.sqrt(num_images / (num_images - 1)) * quantile))


def _interval(value: float, resampled: NDArray[np.float64], tail: float) -> Interval:
    """Return a figure with the percentiles of its resampled values, ignoring undefined ones."""
    defined = resampled[~np.isnan(resampled)]
    if not len(defined):
        return Interval(float(value), None, None)
    low, high = np.percentile(defined, [tail, 100 - tail])
    # Rounding alone could put the figure outside equal resampled values.
    return Interval(float(value), float(min(low, value)), float(max(high, value)))
