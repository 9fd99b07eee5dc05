"""What the trajectories of a part of a data set look like: clicks, IoU, areas, first clicks."""

from __future__ import annotations

from collections import Counter
from typing import Any

import cv2
import numpy as np

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Click, Trajectory
from hlmat.transforms.masks.rle import decode_rle, mask_box

GRID = 10
"""Cells of the object's box on each side, for the first click."""
AREA_EDGES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
"""Shares of the image that divide areas."""
_LEVELS = 100
_QUARTILES = {"low": 0.25, "median": 0.5, "high": 0.75}


class PartStatistics:
    """Counts over the trajectories of one data set and split; memory does not grow with them.

    Args:
        max_clicks: clicks that the policy may make.
    """

    def __init__(self, max_clicks: int) -> None:
        self._targets = 0
        self._clicks: Counter[int] = Counter()
        self._stops: Counter[str] = Counter()
        # IoU by click: exact sums, and counts by hundredth.
        self._iou_sums = np.zeros(max_clicks + 1)
        self._iou_counts = np.zeros((max_clicks + 1, _LEVELS + 1), np.int64)
        self._areas = np.zeros(len(AREA_EDGES) + 1, np.int64)
        self._first = np.zeros((GRID, GRID), np.int64)
        self._first_outside = 0
        self._depths = np.zeros(GRID, np.int64)
        self._positive = np.zeros((max_clicks, 2), np.int64)
        self._calls: dict[str, list[int]] = {"model_calls": [], "decoder_calls": []}

    def add(self, trajectory: Trajectory) -> None:
        """Add a trajectory.

        Raises:
            ValueError: it has more clicks than the policy may make.
        """
        clicks = [
            step.action
            for step in trajectory.steps
            if isinstance(step.action, Click) and not step.is_initial
        ]
        count = trajectory.num_clicks
        if count > len(self._positive):
            raise ValueError(
                f"target {trajectory.target.ref.target_id!r} has {count} clicks, the run "
                f"allows {len(self._positive)}"
            )
        self._targets += 1
        self._clicks[count] += 1
        self._stops[trajectory.stop_reason.value] += 1
        self._add_ious(trajectory)
        for place, click in enumerate(clicks):
            self._positive[place] += (click.is_positive, 1)
        truth = decode_rle(trajectory.target.truth)
        share = np.count_nonzero(truth) / max(1, truth.size)
        self._areas[int(np.searchsorted(AREA_EDGES, share, side="right"))] += 1
        if clicks:
            self._add_first(clicks[0], truth)
        for name, known in self._calls.items():
            if (count := getattr(trajectory, name)) is not None:
                known[:] = [sum(known[:1]) + count, sum(known[1:]) + 1]

    def values(self) -> dict[str, Any]:
        """Return the statistics as plain JSON values.

        Returns:
            `targets`; `clicks` and `stop_reasons`, targets by number of clicks and by reason;
            `iou_by_click`, a list of `mean`, `low`, `median`, `high` (quartiles, in hundredths)
            before the first click and after each, where an ended trajectory keeps its last mask;
            `areas`, targets between the shares of the image in `area_edges`; `first_click`: `grid`,
            counts by row and column of the object's box, `outside` the box, and `depth`, counts by
            tenth of the largest distance to the outside, on the object alone; `positive_by_click`,
            shares, None where no target has the click; `model_calls` and `decoder_calls` per
            target, None where they were not counted.
        """
        return {
            "targets": self._targets,
            "clicks": {str(count): self._clicks[count] for count in sorted(self._clicks)},
            "stop_reasons": dict(sorted(self._stops.items())),
            "iou_by_click": [
                {"mean": total / self._targets, **_quartiles(counts)}
                for total, counts in zip(self._iou_sums.tolist(), self._iou_counts, strict=True)
            ]
            if self._targets
            else [],
            "area_edges": list(AREA_EDGES),
            "areas": self._areas.tolist(),
            "first_click": {
                "grid": self._first.tolist(),
                "outside": self._first_outside,
                "depth": self._depths.tolist(),
            },
            "positive_by_click": [
                positive / count if count else None for positive, count in self._positive.tolist()
            ],
            **{
                name: known[0] / known[1] if known and known[1] == self._targets else None
                for name, known in self._calls.items()
            },
        }

    def _add_ious(self, trajectory: Trajectory) -> None:
        ious = [trajectory.initial_iou]
        for step in trajectory.steps:
            if step.is_initial:
                ious[-1] = step.iou
            else:
                ious.append(step.iou)
        for place in range(len(self._iou_sums)):
            iou = ious[min(place, len(ious) - 1)]
            self._iou_sums[place] += iou
            self._iou_counts[place, int(iou * _LEVELS)] += 1

    def _add_first(self, click: Click, truth: Mask) -> None:
        box = mask_box(truth)
        if box is None:
            self._first_outside += 1
            return
        x = (click.x + 0.5 - box.x0) / (box.x1 - box.x0)
        y = (click.y + 0.5 - box.y0) / (box.y1 - box.y0)
        if 0 <= x < 1 and 0 <= y < 1:
            self._first[int(y * GRID), int(x * GRID)] += 1
        else:
            self._first_outside += 1
        if truth[click.y, click.x]:
            part = np.pad(truth[box.y0 : box.y1, box.x0 : box.x1], 1).view(np.uint8)
            depth = cv2.distanceTransform(part, cv2.DIST_L2, 5)
            share = depth[click.y - box.y0 + 1, click.x - box.x0 + 1] / depth.max()
            self._depths[min(GRID - 1, int(share * GRID))] += 1


def _quartiles(counts: np.ndarray) -> dict[str, float]:
    total = np.cumsum(counts)
    return {
        name: int(np.searchsorted(total, share * total[-1])) / _LEVELS
        for name, share in _QUARTILES.items()
    }
