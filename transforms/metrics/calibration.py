"""How well a model's scores of masks agree with the masks' true IoU.

The figures are those that SegAgent reports for annotation filtering (arXiv 2503.08625): mean
absolute and mean squared error in percentage points of IoU, Pearson's and Spearman's correlation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.image_identity import image_key
from hlmat.transforms.core.records import Trajectory
from hlmat.transforms.metrics.bootstrap import bootstrap_intervals, mean_intervals

BINS = 10
KEEPING = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Minimum scores of masks to keep."""


@dataclass(frozen=True)
class ScoredMask:
    """A mask that a model scored.

    Attributes:
        image: a label that all masks of the image share; intervals resample images.
        predicted_iou: the model's score, in [0, 1].
        iou: the true IoU, in [0, 1].
    """

    image: str
    predicted_iou: float
    iou: float


def scored_masks(trajectory: Trajectory) -> Iterator[ScoredMask]:
    """List the masks of a rollout that a model scored; an empty start is not one of them.

    A score given with a click is that of the mask before it.
    """
    image = image_key(trajectory.target.ref, shapes=None)
    scores = [*(step.predicted_iou for step in trajectory.steps), trajectory.last_predicted_iou]
    for index, score in enumerate(scores):
        if score is not None and trajectory.mask_before(index) is not None:
            yield ScoredMask(image, score, trajectory.iou_before(index))


def calibration_figures(masks: Sequence[ScoredMask]) -> dict[str, Any]:
    """Return agreement with 95 % intervals, and the true IoU of the masks in each tenth of scores.

    Args:
        masks: at least one.

    Returns:
        `MAE` and `MSE` in percentage points, `Pearson` and `Spearman`, each with its interval, the
        correlations None if scores or IoUs do not vary; `masks` and `images`, their numbers;
        `bins`, for each tenth of scores its `count`, mean `predicted` and mean true `iou`.

    Raises:
        ValueError: there are no masks.
    """
    if not masks:
        raise ValueError("calibration needs at least one scored mask")
    from scipy.stats import rankdata  # slow to import, and only needed here

    predicted = 100 * np.array([m.predicted_iou for m in masks])
    true = 100 * np.array([m.iou for m in masks])
    images = [m.image for m in masks]
    errors = predicted - true
    mae, mse = mean_intervals(np.column_stack([np.abs(errors), errors**2]), images)
    # Tiny differences can have a variance of 0, and rounding a mean can give a false one.
    varies = all(np.ptp(values) > 0 and np.var(values) > 0 for values in (predicted, true))
    ranks = rankdata(predicted), rankdata(true)
    return {
        "masks": len(masks),
        "images": len(set(images)),
        "MAE": mae.as_dict(),
        "MSE": mse.as_dict(),
        "Pearson": _correlation(predicted, true, images) if varies else None,
        "Spearman": _correlation(*ranks, images) if varies else None,
        "bins": _bins(predicted / 100, true / 100),
    }


def keeping_figures(
    masks: Sequence[ScoredMask], *, keep_at: Sequence[float] = KEEPING
) -> list[dict[str, Any]]:
    """Return how well the scores tell good masks from bad ones, for several minimum scores.

    A mask is kept if its score is at least the minimum, and good if its IoU is.

    Args:
        masks: at least one. One without a score has a `predicted_iou` below 0, and is never kept.
        keep_at: scores in [0, 1].

    Returns:
        For each score its `keep_at`, the numbers of `masks` and of `good`, `kept` and `kept_good`
        ones, and with 95 % intervals `share`, that of good masks among all, `precision`, that among
        kept ones, and `recall`, that of kept ones among good ones; None for a share of no masks.

    Raises:
        ValueError: there are no masks.
    """
    if not masks:
        raise ValueError("keeping needs at least one scored mask")
    predicted = np.array([m.predicted_iou for m in masks])
    true = np.array([m.iou for m in masks])
    images = [m.image for m in masks]
    found = []
    for score in keep_at:
        kept, good = predicted >= score, true >= score
        both = kept & good
        found.append(
            {
                "keep_at": score,
                "masks": len(masks),
                "good": int(good.sum()),
                "kept": int(kept.sum()),
                "kept_good": int(both.sum()),
                "share": _share(good, np.ones_like(good), images),
                "precision": _share(both, kept, images),
                "recall": _share(both, good, images),
            }
        )
    return found


def _share(
    part: NDArray[np.bool_], whole: NDArray[np.bool_], images: Sequence[str]
) -> dict[str, float | None] | None:
    """Return the share of a part with its interval; None if there is no whole."""
    if not whole.any():
        return None
    columns = np.column_stack([part, whole]).astype(np.float64)
    return bootstrap_intervals(columns, images, _share_of)[0].as_dict()


def _share_of(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide the sums; NaN for a resample without the whole."""
    undefined = np.full((len(sums), 1), np.nan)
    return np.divide(sums[:, :1], sums[:, 1:], out=undefined, where=sums[:, 1:] > 0)


def _correlation(
    a: NDArray[np.float64], b: NDArray[np.float64], images: Sequence[str]
) -> dict[str, float | None]:
    """Return Pearson's correlation; in every resample, ranks remain those among all masks."""
    # Standardized, so that products of tiny variances do not underflow.
    a, b = (a - a.mean()) / a.std(), (b - b.mean()) / b.std()
    moments = np.column_stack([np.ones_like(a), a, b, a * a, b * b, a * b])
    return bootstrap_intervals(moments, images, _correlation_of)[0].as_dict()


def _correlation_of(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    mean_a, mean_b, mean_aa, mean_bb, mean_ab = (moments[:, 1:] / moments[:, :1]).T
    spread = (mean_aa - mean_a**2) * (mean_bb - mean_b**2)
    # A resample may consist of a single image whose masks are all alike.
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = (mean_ab - mean_a * mean_b) / np.sqrt(spread)
    return np.where(spread > 0, correlation, np.nan)[:, None]


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
