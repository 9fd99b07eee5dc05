"""What a rollout would have come to with fewer clicks, worked out from its own masks.

A greedy model's next click depends on the clicks so far, not on how many are left: the first K
clicks of a rollout are the rollout of at most K clicks. SegAgent's table 2 (arXiv 2503.08625) is
so made from one run: the mask after K clicks, and the best-scored one of the first K.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hlmat.transforms.core.records import StopReason
from hlmat.transforms.masks.rle import decode_rle, overlap
from hlmat.transforms.metrics.bootstrap import mean_intervals, ratio_interval
from hlmat.transforms.metrics.paired_differences import paired_difference
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
        """Compare each mask with the truth, ignored pixels left out."""
        truth = decode_rle(rollout.truth)
        ignore = None if rollout.ignore is None else decode_rle(rollout.ignore)
        first = rollout.initial_mask
        start = np.zeros_like(truth) if first is None else decode_rle(first)
        masks = [start, *map(decode_rle, rollout.masks)]
        return cls(rollout, tuple(overlap(mask, truth, ignore=ignore) for mask in masks))

    def chosen(self, step: StepChoice, *, clicks: int) -> tuple[int, int]:
        """Return the overlap of the prediction after at most so many clicks."""
        index = choose_mask(truncated(self.rollout, clicks=clicks), step)
        return self.overlaps[0 if index is None else index + 1]

    def best(self, *, clicks: int) -> tuple[int, int]:
        """Return the overlap that a perfect score would choose after at most so many clicks.

        What `choose_mask` may choose from: an empty start only where there is nothing else.
        """
        count = len(truncated(self.rollout, clicks=clicks).masks)
        has_start = self.rollout.initial_mask is not None or not count
        return max(self.overlaps[0 if has_start else 1 : count + 1], key=_iou)


def truncated(rollout: RolledOut, *, clicks: int) -> RolledOut:
    """Return the rollout as it is when no more than so many clicks may be made.

    The score of its last mask is then what the next answer says of it. Steps before the policy's
    first click all stay. Only true of rollouts whose policy looks at no more than the state.

    Args:
        clicks: at least 1.

    Raises:
        ValueError: there would be no click at all.
    """
    if clicks < 1:
        raise ValueError(f"a rollout has at least 1 click to make, got {clicks}")
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
    )


def step_figures(rollouts: Sequence[RolloutOverlaps], *, clicks: int) -> dict[str, Any]:
    """Return what at most so many clicks come to, with and without the model's score.

    Args:
        rollouts: at least one, in any order.

    Returns:
        `clicks`; `last` and `best_scored` with `gIoU` and `cIoU`; `difference` of the best-scored
        mask to the last one, paired; `perfect`, the gIoU that a perfect score would reach. Each
        with its 95 % interval over targets.
    """
    rollouts = sorted(rollouts, key=lambda r: r.rollout.target_id)
    ids = [r.rollout.target_id for r in rollouts]
    last = [r.chosen("last", clicks=clicks) for r in rollouts]
    best_scored = [r.chosen("best-scored", clicks=clicks) for r in rollouts]
    perfect = np.array([[_iou(r.best(clicks=clicks))] for r in rollouts], np.float64)
    return {
        "clicks": clicks,
        "last": _figures(last),
        "best_scored": _figures(best_scored),
        "difference": paired_difference(
            dict(zip(ids, map(_iou, last), strict=True)),
            dict(zip(ids, map(_iou, best_scored), strict=True)),
        ),
        "perfect": mean_intervals(perfect)[0].as_dict(),
    }


def _figures(overlaps: Sequence[tuple[int, int]]) -> dict[str, Any]:
    columns = np.array(overlaps, np.float64)
    ious = np.array([[_iou(pair)] for pair in overlaps], np.float64)
    return {
        "gIoU": mean_intervals(ious)[0].as_dict(),
        "cIoU": ratio_interval(columns[:, 0], columns[:, 1]).as_dict(),
    }


def _iou(pair: tuple[int, int]) -> float:
    intersection, union = pair
    return intersection / union if union else 1.0
