"""Compare two runs over the targets that they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.metrics.bootstrap import bootstrap_intervals, change_of, ratios
from hlmat.transforms.metrics.target_results import TargetResult


def compare_results(
    before: Mapping[str, TargetResult], after: Mapping[str, TargetResult]
) -> dict[str, Any] | None:
    """Return the changes from one run to another, over the targets that both have.

    Returns:
        `gIoU` and `cIoU`, each with `value`, `low`, `high` of the difference and `change` as a
        word; `targets` and `images` compared; `unpaired`, the targets that only one of the two has.
        None if they share no target.
    """
    shared = sorted(before.keys() & after.keys())
    if not shared:
        return None
    pairs = [(before[key], after[key]) for key in shared]
    columns = np.array(
        [[1, b.iou - a.iou, a.intersection, a.union, b.intersection, b.union] for a, b in pairs],
        np.float64,
    )
    images = [a.image for a, _ in pairs]
    intervals = bootstrap_intervals(columns, images, _differences)
    figures = {}
    for name, interval in zip(("gIoU", "cIoU"), intervals, strict=True):
        figure = interval.as_dict()
        figures[name] = {**figure, "change": str(change_of(figure))}
    return {
        **figures,
        "targets": len(shared),
        "images": len(set(images)),
        "unpaired": len(before.keys() ^ after.keys()),
    }


def _differences(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    count, gain, *overlaps = sums.T
    ciou_before, ciou_after = ratios(overlaps[0], overlaps[1]), ratios(overlaps[2], overlaps[3])
    return np.column_stack([gain / count, ciou_after - ciou_before])
