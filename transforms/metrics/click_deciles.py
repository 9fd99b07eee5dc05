"""Figures over the deciles of people's clicks: their mean, and how far likely and unlikely differ.

Each decile has a tenth of the probability of every click, so the mean over deciles estimates what
people get; the difference between deciles and the spread of a target over them measure how robust
a segmenter is to where people click (after RClicks, Antonov et al., NeurIPS 2024, which groups
clicks by deciles too).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.metrics.bootstrap import change_of, mean_intervals
from hlmat.transforms.metrics.click_curves import ClickProtocol, clicks_to_reach
from hlmat.transforms.metrics.target_results import TargetResult


def decile_figures(
    deciles: Sequence[Mapping[str, TargetResult]], protocol: ClickProtocol
) -> dict[str, Any]:
    """Return figures over the targets that all deciles share, with intervals by image.

    Args:
        deciles: the results of each by target, the least likely clicks first; at least 2.
        protocol: the rules of their runs.

    Returns:
        `figures`: by name (`gIoU`, `IoU@1` and so on, `NoC@80` and so on) `deciles`, the mean over
        targets of each; `mean` over all of them; `likely_minus_unlikely`, the last decile's less
        the first's, with `change` as a word; and `spread`, the mean over targets of the standard
        deviation over deciles. `targets` and `images` compared, and `unpaired`, the targets that
        some decile lacks.

    Raises:
        ValueError: fewer than two deciles, or no target that they share.
    """
    if len(deciles) < 2:
        raise ValueError(f"expected at least 2 deciles, got {len(deciles)}")
    shared = sorted(set.intersection(*(set(each) for each in deciles)))
    if not shared:
        raise ValueError("the deciles share no target")
    rows = [[each[key] for each in deciles] for key in shared]
    images = [row[0].image for row in rows]
    return {
        "figures": {
            name: _over_deciles(values, images) for name, values in _figures(rows, protocol).items()
        },
        "targets": len(shared),
        "images": len(set(images)),
        "unpaired": len(set.union(*(set(each) for each in deciles))) - len(shared),
    }


def _figures(
    rows: Sequence[Sequence[TargetResult]], protocol: ClickProtocol
) -> dict[str, NDArray[np.float64]]:
    """Return each figure's value per target and decile. Shapes: (N, D)."""
    after = np.array([[r.iou_after_click for r in row] for row in rows])
    found = {"gIoU": np.array([[r.iou for r in row] for row in rows])}
    found |= {f"IoU@{k}": after[:, :, k] for k in range(1, protocol.max_clicks + 1)}
    for threshold in protocol.thresholds:
        found[protocol.label("NoC", threshold)] = np.array(
            [[_needed(r, threshold, protocol) for r in row] for row in rows], np.float64
        )
    return found


def _needed(result: TargetResult, threshold: float, protocol: ClickProtocol) -> int:
    needed = clicks_to_reach(result.iou_after_click, threshold)
    return protocol.max_clicks if needed is None else needed


def _over_deciles(values: NDArray[np.float64], images: Sequence[str]) -> dict[str, Any]:
    columns = np.column_stack(
        [values, values.mean(axis=1), values[:, -1] - values[:, 0], values.std(axis=1)]
    )
    intervals = [interval.as_dict() for interval in mean_intervals(columns, images)]
    *deciles, mean, difference, spread = intervals
    return {
        "deciles": deciles,
        "mean": mean,
        "likely_minus_unlikely": {**difference, "change": str(change_of(difference))},
        "spread": spread,
    }
