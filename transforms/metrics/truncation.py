"""The results that a rollout would have had with fewer clicks, computed from its own masks.

A greedy model's next click depends on the clicks so far, not on how many are left: the first K
clicks of a rollout are the rollout of at most K clicks. Table 2 of SegAgent (arXiv 2503.08625) is
made from one run in this way: the mask after K clicks, and the best-scored one of the first K.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hlmat.transforms.core.records import StopReason
from hlmat.transforms.metrics.bootstrap import mean_intervals, paired_difference, ratio_interval
from hlmat.transforms.metrics.target_results import RolledOut, StepChoice, choose_mask


@dataclass(frozen=True)
class RolloutOverlaps:
    """How a rollout's masks overlap the truth.

    Attributes:
        rollout: the rollout.
        overlaps: (intersection, union) in pixels of the mask before the first step, then of each
            of the rollout's masks.
    """

    rollout: RolledOut
    overlaps: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, rollout: RolledOut) -> RolloutOverlaps:
        """Compare each mask with the truth, without ignored pixels."""
        indices = range(len(rollout.masks) + 1)
        return cls(rollout, tuple(rollout.overlap_before(index) for index in indices))

    def chosen(self, step: StepChoice, *, clicks: int) -> tuple[int, int]:
        """Return the overlap of the prediction after at most this many clicks."""
        index = choose_mask(truncated(self.rollout, clicks=clicks), step)
        return self.overlaps[0 if index is None else index + 1]

    def best(self, *, clicks: int) -> tuple[int, int]:
        """Return the overlap that a perfect score would choose among the first clicks.

        The candidates are those of `choose_mask`: an empty start only if there is nothing else.
        """
        count = len(truncated(self.rollout, clicks=clicks).masks)
        has_start = self.rollout.initial_mask is not None or not count
        return max(self.overlaps[0 if has_start else 1 : count + 1], key=_iou)


def truncated(rollout: RolledOut, *, clicks: int) -> RolledOut:
    """Return the rollout cut off after a number of clicks.

    The score of its last mask is then the one in the next answer. Steps before the policy's first
    click all stay. Valid only for policies whose clicks depend only on the state.

    Args:
        clicks: at least 1.

    Raises:
        ValueError: `clicks` is below 1.
    """
    if clicks < 1:
        raise ValueError(f"clicks={clicks}: must be at least 1")
    kept = rollout.first_click + clicks
    if len(rollout.masks) < kept:
        return rollout
    reason = rollout.stop_reason
    ends_there = len(rollout.masks) == kept and reason in (None, StopReason.REACHED_IOU)
    return replace(
        rollout,
        masks=rollout.masks[:kept],
        predicted_ious=rollout.predicted_ious[:kept],
        last_predicted_iou=rollout.scores[kept],
        stop_reason=reason if ends_there else StopReason.MAX_CLICKS,
        ious=None if rollout.ious is None else rollout.ious[: kept + 1],
        # The number of calls up to that click is not recorded.
        model_calls=None,
        decoder_calls=None,
    )


def step_figures(rollouts: Sequence[RolloutOverlaps], *, clicks: int) -> dict[str, Any]:
    """Return the figures of a limited number of clicks, with and without the model's score.

    Args:
        rollouts: at least one, in any order.

    Returns:
        `clicks`, `targets`, `images`; `last` and `best_scored` with `gIoU` and `cIoU`;
        `difference` of the best-scored mask to the last one, paired; `perfect`, the gIoU that a
        perfect score would reach. Each with its 95 % interval, resampled by image.
    """
    image_of = {r.rollout.target_id: r.rollout.image for r in rollouts}
    images = [r.rollout.image for r in rollouts]
    last = [r.chosen("last", clicks=clicks) for r in rollouts]
    best_scored = [r.chosen("best-scored", clicks=clicks) for r in rollouts]
    perfect = np.array([[_iou(r.best(clicks=clicks))] for r in rollouts], np.float64)
    return {
        "clicks": clicks,
        "targets": len(rollouts),
        "images": len(set(images)),
        "last": _figures(last, images),
        "best_scored": _figures(best_scored, images),
        "difference": paired_difference(
            dict(zip(image_of, map(_iou, last), strict=True)),
            dict(zip(image_of, map(_iou, best_scored), strict=True)),
            image_of=image_of,
        ),
        "perfect": mean_intervals(perfect, images)[0].as_dict(),
    }


def _figures(overlaps: Sequence[tuple[int, int]], images: Sequence[str]) -> dict[str, Any]:
    columns = np.array(overlaps, np.float64)
    ious = np.array([[_iou(pair)] for pair in overlaps], np.float64)
    return {
        "gIoU": mean_intervals(ious, images)[0].as_dict(),
        "cIoU": ratio_interval(columns[:, 0], columns[:, 1], images).as_dict(),
    }


def _iou(pair: tuple[int, int]) -> float:
    intersection, union = pair
    return intersection / union if union else 1.0
