"""Figures of a run: one statistic per trajectory, sums that merge in any order, final values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Click, Reject, Rle, Target, Trajectory
from hlmat.transforms.dataset_io.arrow import row_to_trajectory
from hlmat.transforms.masks.rle import mask_iou, rle_area, rle_common_area

NOC_CLICKS = 20
"""The number of clicks with which the field measures NoC."""

THRESHOLDS = (0.80, 0.85, 0.90)

# IoUs are summed as whole multiples of 2^-60: integers add up alike in any order.
_IOU_UNIT = 1 << 60


@dataclass(frozen=True)
class ClickProtocol:
    """The rules of a run that decide what its figures may be called.

    Attributes:
        max_clicks: clicks that the policy may make.
        stop_on_no_gain: whether a click without gain ends a trajectory.
        target_iou: the IoU that ends a trajectory, or None.
        initial_action: what the segmenter is given before the first click; "none" for nothing.
        stop_at_score: the model's own score of a mask that ends a trajectory, or None.
    """

    max_clicks: int
    stop_on_no_gain: bool
    target_iou: float | None = None
    initial_action: str = "none"
    stop_at_score: float | None = None

    def label(self, name: str, threshold: float) -> str:
        """Return "NoC@85", with a remark in brackets where it is not what the field measures."""
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


@dataclass(frozen=True)
class TrajectoryStatistics:
    """Sums over trajectories and rejects; `+` merges, in any order with the same result.

    Attributes:
        protocol: of the run; statistics of different protocols do not merge.
        trajectories: how many.
        rejects: how many by reason.
        stop_reasons: how many trajectories by reason.
        clicks: recorded clicks of the policy, over all trajectories.
        iou_after_click: sum of IoU after k clicks, k = 0 to max_clicks, in units of 2^-60; an
            ended trajectory keeps its last.
        final_iou: sum of IoU after the last step, in units of 2^-60.
        intersection: pixels, of the last masks with the truth.
        union: pixels, of the last masks with the truth.
        clicks_to_reach: for each of `THRESHOLDS`, the sum of clicks needed, `max_clicks` for a
            trajectory that never gets there.
        never_reached: for each of `THRESHOLDS`, how many never get there.
    """

    protocol: ClickProtocol
    trajectories: int = 0
    rejects: Mapping[str, int] = field(default_factory=dict)
    stop_reasons: Mapping[str, int] = field(default_factory=dict)
    clicks: int = 0
    iou_after_click: tuple[int, ...] = ()
    final_iou: int = 0
    intersection: int = 0
    union: int = 0
    clicks_to_reach: tuple[int, ...] = (0,) * len(THRESHOLDS)
    never_reached: tuple[int, ...] = (0,) * len(THRESHOLDS)

    def __post_init__(self) -> None:
        if not self.iou_after_click:
            empty = (0,) * (self.protocol.max_clicks + 1)
            object.__setattr__(self, "iou_after_click", empty)

    @classmethod
    def from_trajectory(
        cls, trajectory: Trajectory, protocol: ClickProtocol
    ) -> TrajectoryStatistics:
        """Return the statistic of one trajectory.

        Raises:
            ValueError: it has more clicks than the protocol allows.
        """
        if trajectory.num_clicks > protocol.max_clicks:
            raise ValueError(
                f"target {trajectory.target.ref.target_id!r} has {trajectory.num_clicks} clicks, "
                f"more than the {protocol.max_clicks} of the protocol; give the run's own"
            )
        intersection, union = _overlap(trajectory.last_mask, trajectory.target)
        at_start = trajectory.initial_iou
        if trajectory.initial_mask is None and not union:
            at_start = 1.0
        ious = _ious_after_clicks(trajectory, iou_at_start=at_start)
        needed = [
            next((k for k, iou in enumerate(ious) if iou >= threshold), None)
            for threshold in THRESHOLDS
        ]
        ious += [ious[-1]] * (protocol.max_clicks + 1 - len(ious))
        return cls(
            protocol=protocol,
            trajectories=1,
            stop_reasons={trajectory.stop_reason.value: 1},
            clicks=trajectory.num_clicks,
            iou_after_click=tuple(round(iou * _IOU_UNIT) for iou in ious),
            final_iou=round(ious[-1] * _IOU_UNIT),
            intersection=intersection,
            union=union,
            clicks_to_reach=tuple(protocol.max_clicks if n is None else n for n in needed),
            never_reached=tuple(int(n is None) for n in needed),
        )

    @classmethod
    def from_row(cls, row: Mapping[str, Any], protocol: ClickProtocol) -> TrajectoryStatistics:
        """Return the statistic of one row of a trajectory table."""
        return cls.from_trajectory(row_to_trajectory(row), protocol)

    @classmethod
    def from_reject(cls, reject: Reject, protocol: ClickProtocol) -> TrajectoryStatistics:
        """Return the statistic of one reject."""
        return cls(protocol=protocol, rejects={reject.reason.value: 1})

    def __add__(self, other: TrajectoryStatistics) -> TrajectoryStatistics:
        if self.protocol != other.protocol:
            raise ValueError(
                f"figures of different protocols do not add up: {self.protocol} and "
                f"{other.protocol}"
            )
        return TrajectoryStatistics(
            protocol=self.protocol,
            trajectories=self.trajectories + other.trajectories,
            rejects=_merged(self.rejects, other.rejects),
            stop_reasons=_merged(self.stop_reasons, other.stop_reasons),
            clicks=self.clicks + other.clicks,
            iou_after_click=_added(self.iou_after_click, other.iou_after_click),
            final_iou=self.final_iou + other.final_iou,
            intersection=self.intersection + other.intersection,
            union=self.union + other.union,
            clicks_to_reach=_added(self.clicks_to_reach, other.clicks_to_reach),
            never_reached=_added(self.never_reached, other.never_reached),
        )

    def final_values(self) -> dict[str, Any]:
        """Return the figures by name, ready for JSON; means over no trajectory are None.

        `targets`, `trajectories`, `rejected`, `rejects`, `stop_reasons`, `clicks_per_target`,
        `IoU@k` (a list, k = 1 to max_clicks), `IoU@0` (only after an initial action), `gIoU`,
        `cIoU`, `NoC` and `NoF` (by label, see `ClickProtocol.label`).
        """
        rejected = sum(self.rejects.values())
        values: dict[str, Any] = {
            "targets": self.trajectories + rejected,
            "trajectories": self.trajectories,
            "rejected": rejected,
            "rejects": dict(sorted(self.rejects.items())),
            "stop_reasons": dict(sorted(self.stop_reasons.items())),
            "clicks_per_target": self._mean(self.clicks),
            "IoU@k": [self._mean_iou(total) for total in self.iou_after_click[1:]],
            "gIoU": self._mean_iou(self.final_iou),
            "cIoU": self._cumulative_iou(),
            "NoC": {
                self.protocol.label("NoC", threshold): self._mean(total)
                for threshold, total in zip(THRESHOLDS, self.clicks_to_reach, strict=True)
            },
            "NoF": {
                self.protocol.label("NoF", threshold): count
                for threshold, count in zip(THRESHOLDS, self.never_reached, strict=True)
            },
        }
        if self.protocol.initial_action != "none":
            values["IoU@0"] = self._mean_iou(self.iou_after_click[0])
        return values

    def _mean(self, total: int) -> float | None:
        return total / self.trajectories if self.trajectories else None

    def _mean_iou(self, total: int) -> float | None:
        # One division of integers: correctly rounded, whatever the sum's size.
        return total / (self.trajectories * _IOU_UNIT) if self.trajectories else None

    def _cumulative_iou(self) -> float | None:
        if not self.trajectories:
            return None
        return self.intersection / self.union if self.union else 1.0


def sum_statistics(
    statistics: Iterable[TrajectoryStatistics], protocol: ClickProtocol
) -> TrajectoryStatistics:
    """Merge statistics; none at all gives empty sums."""
    total = TrajectoryStatistics(protocol)
    for statistic in statistics:
        total = total + statistic
    return total


def boundary_iou(a: Mask, b: Mask, *, dilation_ratio: float = 0.02) -> float:
    """Return the IoU of the inner contour bands of two masks; 1 if both are empty.

    A band holds the mask's pixels within `dilation_ratio` times the image's diagonal of its
    contour, at least one pixel (3x3 erosions; outside the image is background). After Cheng et
    al., Boundary IoU, CVPR 2021.

    Args:
        a: bool. Shape: (H, W).
        b: bool. Shape: (H, W).
    """
    if a.shape != b.shape:
        raise ValueError(f"two masks of one image have one shape, got {a.shape} and {b.shape}")
    width_px = max(1, round(dilation_ratio * float(np.hypot(*a.shape))))
    return mask_iou(_inner_band(a, width_px), _inner_band(b, width_px))


def _inner_band(mask: Mask, width_px: int) -> Mask:
    padded = cv2.copyMakeBorder(mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    kernel = np.ones((3, 3), dtype=np.uint8)
    core = cv2.erode(padded, kernel, iterations=width_px)[1:-1, 1:-1]
    return mask & (core == 0)


def _ious_after_clicks(trajectory: Trajectory, *, iou_at_start: float) -> list[float]:
    """Return the IoU before the first click of the policy, then after each."""
    ious = [iou_at_start]
    for step in trajectory.steps:
        if isinstance(step.action, Click) and not step.is_initial:
            ious.append(step.iou)
        else:
            ious[-1] = step.iou
    return ious


def _overlap(mask: Rle | None, target: Target) -> tuple[int, int]:
    """Return intersection and union with the truth in pixels, ignored pixels left out."""
    truth_area = rle_area(target.truth) - _common_area(target.truth, target.ignore)
    if mask is None:
        return 0, truth_area
    mask_area = rle_area(mask) - _common_area(mask, target.ignore)
    intersection = _common_area(mask, target.truth) - _common_area(
        mask, target.truth, target.ignore
    )
    return intersection, mask_area + truth_area - intersection


def _common_area(*rles: Rle | None) -> int:
    """Return the pixels that all masks hold; none where one of them is missing."""
    present = [rle for rle in rles if rle is not None]
    return rle_common_area(*present) if len(present) == len(rles) else 0


def _added(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _merged(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    return {key: a.get(key, 0) + b.get(key, 0) for key in a.keys() | b.keys()}
