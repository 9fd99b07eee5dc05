"""Figures of rollouts at click budgets: curves, their areas, stop regret and overshoot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.records import StopReason
from hlmat.transforms.metrics.bootstrap import bootstrap_intervals, ratios
from hlmat.transforms.metrics.target_results import (
    RolledOut,
    StepChoice,
    TargetResult,
    measure_rollout,
)

BUDGETS = (1, 3, 5, 7)
"""Numbers of clicks at which figures are reported."""

MAX_CLICKS = max(BUDGETS)


@dataclass(frozen=True)
class BudgetResult:
    """What a target adds to the figures.

    Attributes:
        at: the result if at most 1, 2, ..., `MAX_CLICKS` clicks are allowed.
        stopped: the result of the mask that the rollout ended with, or of the one it chose.
        best_iou: of the rollout's masks, the one that it began with included.
        overshoot: clicks after the first mask with that IoU.
        segmenter_calls: requests that the segmenter answered.
    """

    at: tuple[TargetResult, ...]
    stopped: TargetResult
    best_iou: float
    overshoot: int
    segmenter_calls: int

    @property
    def stop_regret(self) -> float:
        """What another choice of the last click would have gained: best minus stopped IoU."""
        return self.best_iou - self.stopped.iou


def measure_budgets(rollout: RolledOut, *, step: StepChoice) -> BudgetResult:
    """Return what a rollout adds to the figures.

    Args:
        rollout: of at most `MAX_CLICKS` clicks.
        step: which mask is the prediction where nothing limits the clicks.

    Raises:
        ValueError: the rollout has more clicks.
    """
    clicks = len(rollout.masks) - rollout.first_click
    if clicks > MAX_CLICKS:
        raise ValueError(
            f"target {rollout.target_id!r} has {clicks} clicks; at most {MAX_CLICKS} are allowed"
        )
    stopped = measure_rollout(rollout, step=step, max_clicks=MAX_CLICKS)
    ious = (*stopped.iou_after_click, stopped.iou)
    best = max(ious)
    return BudgetResult(
        at=tuple(
            measure_rollout(rollout, step=k, max_clicks=MAX_CLICKS)
            for k in range(1, MAX_CLICKS + 1)
        ),
        stopped=stopped,
        best_iou=best,
        overshoot=max(0, clicks - ious.index(best)),
        segmenter_calls=len(rollout.masks) - rollout.undos,
    )


def budget_figures(results: Sequence[BudgetResult]) -> dict[str, Any]:
    """Return the figures with 95 % intervals that resample images, as plain JSON values.

    Args:
        results: at least one.

    Returns:
        `gIoU@k` and `cIoU@k`, by k of `BUDGETS`; `AUC` of both, the means over 1 to `MAX_CLICKS`
        clicks; `gIoU` and `cIoU` of the stopped rollouts; `stop_regret`, `overshoot`,
        `invalid_rate`, `clicks` and `segmenter_calls`, means over the targets; where there are
        targets without an object `N-acc`, and `T-acc` if others have one; `targets`, `images`.
    """
    columns: dict[str, list[float]] = {name: [] for name in _column_names()}
    for result in results:
        for name, value in zip(columns, _column_values(result), strict=True):
            columns[name].append(float(value))
    figures = _figure_terms(columns)
    names = list(columns)
    index = {name: place for place, name in enumerate(names)}

    def statistic(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(
            [
                np.mean([ratios(sums[:, index[t]], sums[:, index[b]]) for t, b in terms], axis=0)
                for terms in figures.values()
            ]
        )

    table = np.array([columns[name] for name in names]).T
    images = [result.stopped.image for result in results]
    intervals = bootstrap_intervals(table, images, statistic)
    shown: dict[str, Any] = {"gIoU@k": {}, "cIoU@k": {}, "AUC": {}}
    for (group, label), interval in zip(figures, intervals, strict=True):
        (shown[group] if group else shown)[label] = interval.as_dict()
    return {**shown, "targets": len(results), "images": len(set(images))}


def _column_names() -> list[str]:
    ks = range(1, MAX_CLICKS + 1)
    return [
        *(f"{kind} {k}" for k in ks for kind in ("iou", "intersection", "union")),
        *("iou", "intersection", "union", "regret", "overshoot", "invalid", "clicks", "calls"),
        *("targets", "object", "object found", "absent", "absent found"),
    ]


def _column_values(result: BudgetResult) -> list[float]:
    stopped = result.stopped
    has, says = stopped.has_object, stopped.predicts_object
    return [
        *(value for r in result.at for value in (r.iou, r.intersection, r.union)),
        *(stopped.iou, stopped.intersection, stopped.union),
        result.stop_regret,
        result.overshoot,
        stopped.stop_reason is StopReason.INVALID_ACTION,
        stopped.clicks,
        result.segmenter_calls,
        *(1, has, has and says, not has, not has and not says),
    ]


def _figure_terms(
    columns: Mapping[str, Sequence[float]],
) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Return for each figure, by group and label, the ratios of sums whose mean it is."""
    ks = range(1, MAX_CLICKS + 1)
    terms: dict[tuple[str, str], list[tuple[str, str]]] = {
        ("AUC", "gIoU"): [(f"iou {k}", "targets") for k in ks],
        ("AUC", "cIoU"): [(f"intersection {k}", f"union {k}") for k in ks],
        ("", "gIoU"): [("iou", "targets")],
        ("", "cIoU"): [("intersection", "union")],
        ("", "stop_regret"): [("regret", "targets")],
        ("", "overshoot"): [("overshoot", "targets")],
        ("", "invalid_rate"): [("invalid", "targets")],
        ("", "clicks"): [("clicks", "targets")],
        ("", "segmenter_calls"): [("calls", "targets")],
    }
    for k in BUDGETS:
        terms["gIoU@k", str(k)] = [(f"iou {k}", "targets")]
        terms["cIoU@k", str(k)] = [(f"intersection {k}", f"union {k}")]
    if any(columns["absent"]):
        terms["", "N-acc"] = [("absent found", "absent")]
        if any(columns["object"]):
            terms["", "T-acc"] = [("object found", "object")]
    return terms
