"""How well a model's scores of masks agree with the masks' true IoU.

The figures are those that SegAgent reports for annotation filtering (arXiv 2503.08625): mean
absolute and mean squared error in percent points of IoU, Pearson's and Spearman's correlation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hlmat.transforms.core.records import Trajectory
from hlmat.transforms.metrics.bootstrap import interval_of, resampled_sums

BINS = 10


@dataclass(frozen=True)
class ScoredMask:
    """A mask that a model scored.

    Attributes:
        target_id: of the mask's target; masks of one target are resampled together.
        predicted_iou: the model's score, in [0, 1].
        iou: the true one, in [0, 1].
    """

    target_id: str
    predicted_iou: float
    iou: float


def scored_masks(trajectory: Trajectory) -> Iterator[ScoredMask]:
    """List the masks of a rollout that a model scored; an empty start is not among them.

    A score that comes with a click is that of the mask before it.
    """
    target_id = trajectory.target.ref.target_id
    scores = [*(step.predicted_iou for step in trajectory.steps), trajectory.last_predicted_iou]
    for index, score in enumerate(scores):
        if score is not None and trajectory.mask_before(index) is not None:
            yield ScoredMask(target_id, score, trajectory.iou_before(index))


def calibration_figures(masks: Sequence[ScoredMask]) -> dict[str, Any]:
    """Return agreement with 95 % intervals over targets, and what each tenth of scores is worth.

    Args:
        masks: at least one.

    Returns:
        `MAE` and `MSE` in percent points, `Pearson` and `Spearman`, each with its interval, the
        correlations None where scores or IoUs do not vary; `masks`, how many there are; `bins`,
        for each tenth of scores its `count`, mean `predicted` and mean true `iou`.

    Raises:
        ValueError: there are no masks.
    """
    if not masks:
        raise ValueError("calibration needs at least one scored mask")
    predicted = 100 * np.array([m.predicted_iou for m in masks])
    true = 100 * np.array([m.iou for m in masks])
    target = np.unique([m.target_id for m in masks], return_inverse=True)[1]
    # Tiny differences have no variance any more, rounded means one that there is not.
    varies = all(np.ptp(values) > 0 and np.var(values) > 0 for values in (predicted, true))
    ranks = stats.rankdata(predicted), stats.rankdata(true)
    return {
        "masks": len(masks),
        "MAE": _mean(np.abs(predicted - true), target),
        "MSE": _mean((predicted - true) ** 2, target),
        "Pearson": _correlation(predicted, true, target) if varies else None,
        "Spearman": _correlation(*ranks, target) if varies else None,
        "bins": _bins(predicted / 100, true / 100),
    }


def _mean(values: NDArray[np.float64], target: NDArray[np.intp]) -> dict[str, float]:
    """Return the mean over masks; for the interval, targets are drawn with all their masks."""
    total, count = _resampled([values, np.ones_like(values)], target).T
    return interval_of(float(values.mean()), total / count).as_dict()


def _correlation(
    a: NDArray[np.float64], b: NDArray[np.float64], target: NDArray[np.intp]
) -> dict[str, float]:
    """Return Pearson's correlation; ranks given to it are not ranked anew when resampled."""
    a, b = a - a.mean(), b - b.mean()
    moments = _resampled([np.ones_like(a), a, b, a * a, b * b, a * b], target).T
    mean_a, mean_b, mean_aa, mean_bb, mean_ab = moments[1:] / moments[0]
    spread = (mean_aa - mean_a**2) * (mean_bb - mean_b**2)
    # A resampled set may hold a single target whose masks are all alike.
    usable = spread > 0
    resampled = (mean_ab - mean_a * mean_b)[usable] / np.sqrt(spread[usable])
    return interval_of(float(np.corrcoef(a, b)[0, 1]), resampled).as_dict()


def _resampled(
    columns: Sequence[NDArray[np.float64]], target: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Sum each column over resampled sets of targets. Shape: (R, columns)."""
    sums = np.stack([np.bincount(target, column) for column in columns], axis=1)
    return resampled_sums(sums.astype(np.float64))


def _bins(predicted: NDArray[np.float64], true: NDArray[np.float64]) -> list[dict[str, float]]:
    index = np.minimum((predicted * BINS).astype(int), BINS - 1)
    return [
        {
            "count": int(np.count_nonzero(index == k)),
            "predicted": float(predicted[index == k].mean()),
            "iou": float(true[index == k].mean()),
        }
        for k in np.unique(index)
    ]
