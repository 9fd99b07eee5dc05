"""The rules of a run that determine the names of its figures over clicks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NOC_CLICKS = 20
"""The number of clicks with which the field measures NoC."""

THRESHOLDS = (0.80, 0.85, 0.90)
"""The usual IoUs of NoC and NoF."""


@dataclass(frozen=True)
class ClickProtocol:
    """The rules of a run that determine the names of its figures.

    Attributes:
        max_clicks: clicks that the policy may make.
        stop_on_no_gain: whether a click without gain ends a trajectory.
        target_iou: the IoU that ends a trajectory, or None.
        initial_action: what the segmenter gets before the first click; "none" for nothing.
        stop_at_score: the model's own score of a mask that ends a trajectory, or None.
        thresholds: IoUs of NoC and NoF.
        has_boundary: whether the boundary IoU is measured after every click too.
    """

    max_clicks: int
    stop_on_no_gain: bool
    target_iou: float | None = None
    initial_action: str = "none"
    stop_at_score: float | None = None
    thresholds: tuple[float, ...] = THRESHOLDS
    has_boundary: bool = False

    @property
    def first_click(self) -> int:
        """Which IoU of a curve belongs to the first click of all: 0 for an initial one."""
        return 0 if self.initial_action == "wrong-click" else 1

    def label(self, name: str, threshold: float) -> str:
        """Return "NoC@85", with a remark in brackets if the field measures it differently.

        >>> ClickProtocol(max_clicks=5, stop_on_no_gain=False).label("NoC", 0.85)
        'NoC@85 (max 5 clicks)'
        """
        remarks = []
        if self.stop_on_no_gain:
            remarks.append("no-gain stop")
        if self.max_clicks != NOC_CLICKS:
            remarks.append(f"max {self.max_clicks} clicks")
        if self.target_iou is not None and self.target_iou < threshold:
            remarks.append(f"stop at IoU {self.target_iou:g}")
        if self.stop_at_score is not None:
            remarks.append(f"stop at score {self.stop_at_score:g}")
        if self.initial_action != "none":
            remarks.append(f"after {self.initial_action}")
        plain = f"{name}@{threshold * 100:g}"
        return f"{plain} ({', '.join(remarks)})" if remarks else plain


def clicks_to_reach(iou_after_click: Sequence[float], threshold: float) -> int | None:
    """Return the first number of clicks whose IoU reaches the threshold; None if none does.

    Args:
        iou_after_click: the IoU after 0, 1, 2, ... clicks.

    >>> clicks_to_reach([0.0, 0.7, 0.92, 0.91], 0.9)
    2
    """
    return next((k for k, iou in enumerate(iou_after_click) if iou >= threshold), None)


def clicks_at_most(iou_after_click: Sequence[float], threshold: float, *, max_clicks: int) -> int:
    """Return a target's clicks as NoC counts them: `max_clicks` if it never reaches the IoU.

    >>> clicks_at_most([0.0, 0.7], 0.9, max_clicks=20)
    20
    """
    clicks = clicks_to_reach(iou_after_click, threshold)
    return max_clicks if clicks is None else clicks
