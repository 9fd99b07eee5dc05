"""Builders of records, segmenters and policies; keywords override what a test is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hlmat.transforms.core.protocols import Image, Mask, Prediction, Request, State
from hlmat.transforms.core.records import (
    Box,
    Click,
    Provenance,
    Rle,
    Step,
    StopReason,
    Target,
    TargetRef,
    Trajectory,
)
from hlmat.transforms.masks.rle import encode_mask, mask_iou

FIRST_CLICK = Click(0, 0, True)


def columns(count: int, *, size_hw: tuple[int, int]) -> Mask:
    """Build a mask of the first `count` columns. Shape: `size_hw`, bool."""
    mask = np.zeros(size_hw, np.bool_)
    mask[:, :count] = True
    return mask


def _as_rle(mask: Mask | Rle) -> Rle:
    return mask if isinstance(mask, Rle) else encode_mask(mask)


def target_ref(target_id: str = "t", *expressions: str, **changes: Any) -> TargetRef:
    """Build a reference to a target; `image_name` follows `image_path`.

    Args:
        expressions: "cup" if none is given.
        changes: further fields of the reference.
    """
    fields: dict[str, Any] = {
        "dataset": "d",
        "split": "s",
        "image_path": "a.jpg",
        "image_id": None,
        "object_id": 0,
        "expressions": expressions or ("cup",),
        "truth_ref": "{}",
        "license": "CC BY 4.0",
        **changes,
    }
    fields.setdefault("image_name", fields["image_path"])
    return TargetRef(target_id, **fields)


def target(
    truth: Mask | Rle,
    target_id: str = "t",
    *expressions: str,
    ignore: Mask | Rle | None = None,
    **changes: Any,
) -> Target:
    """Build a target with its mask; the rest is as for `target_ref`."""
    ref = target_ref(target_id, *expressions, **changes)
    return Target(ref, _as_rle(truth), None if ignore is None else _as_rle(ignore))


def provenance(
    segmenter: str = "graphcut", policy: str = "oracle", *, fingerprint: str = "f00"
) -> Provenance:
    """Build what made a trajectory: a segmenter without weights, and seed 0."""
    return Provenance(segmenter, "", policy, 0, fingerprint)


def step(
    mask: Mask | Rle,
    action: Click | Box = FIRST_CLICK,
    iou: float = 0.5,
    gain: float = 0.0,
    **changes: Any,
) -> Step:
    """Build a step; a box is an initial one."""
    changes.setdefault("is_initial", isinstance(action, Box))
    return Step(action, _as_rle(mask), iou, gain, **changes)


def steps(
    truth: Mask, *answers: tuple[Click | Box, Mask], ignore: Mask | None = None
) -> tuple[Step, ...]:
    """Build steps whose IoU and gain over the step before are those of the masks.

    Args:
        answers: each action with the mask after it.
    """
    built: list[Step] = []
    for action, mask in answers:
        iou = mask_iou(mask, truth, ignore=ignore)
        built.append(step(mask, action, iou, iou - (built[-1].iou if built else 0.0)))
    return tuple(built)


def trajectory(of: Target, *steps: Step, **changes: Any) -> Trajectory:
    """Build a trajectory that the policy finished.

    Args:
        changes: further fields of the trajectory.
    """
    fields = {"stop_reason": StopReason.FINISHED, "provenance": provenance(), **changes}
    return Trajectory(target=of, steps=steps, **fields)


class ScriptedSegmenter:
    """Answer the n-th action with the n-th mask; `asked` holds the requests."""

    def __init__(self, masks: Sequence[Mask]) -> None:
        self.masks = masks
        self.asked: list[Request] = []

    def set_image(self, image: Image) -> None: ...

    def predict(
        self, *, clicks: Sequence[Click], box: Box | None = None, feedback: Any = None
    ) -> Prediction:
        self.asked.append(Request(tuple(clicks), box, feedback))
        number = len(clicks) - (box is None)
        return Prediction(self.masks[number], score=0.5, feedback=("after", number))


class ColumnSegmenter:
    """Mask all columns up to the last click's; a click in the column `fails_at` raises."""

    def __init__(self, size_hw: tuple[int, int], *, fails_at: int | None = None) -> None:
        self.size_hw = size_hw
        self.fails_at = fails_at

    def set_image(self, image: Image) -> None: ...

    def predict(
        self, *, clicks: Sequence[Click], box: Box | None = None, feedback: Any = None
    ) -> Prediction:
        x = clicks[-1].x
        if x == self.fails_at:
            raise ValueError(f"column {x}")
        return Prediction(columns(x + 1, size_hw=self.size_hw))


class ScriptedPolicy:
    """Do what a script says of a state; where it says nothing, click (clicks so far, 0).

    Args:
        script: an action by the number of clicks so far, or a function of the state.
        initial: the initial clicks.
    """

    def __init__(
        self,
        script: Mapping[int, Any] | Callable[[State], Any] | None = None,
        *,
        name: str = "scripted",
        initial: tuple[Click, ...] = (),
    ) -> None:
        self.script = script or {}
        self.name = name
        self.initial = initial

    def initial_clicks(self, state: State) -> tuple[Click, ...]:
        return self.initial

    def next_actions(self, states: Sequence[State]) -> list[Any]:
        return [self.decide(state) for state in states]

    def decide(self, state: State) -> Any:
        count = len(state.clicks)
        if isinstance(self.script, Mapping):
            return self.script.get(count, Click(count, 0, True))
        return self.script(state)
