"""Builders of records, segmenters and policies; keywords override what a test is about."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
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
    Undo,
)
from hlmat.transforms.masks.rle import encode_mask, mask_iou
from hlmat.transforms.segmenters.disc import DiscSegmenter

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
    of: TargetRef | str = "t",
    *expressions: str,
    ignore: Mask | Rle | None = None,
    **changes: Any,
) -> Target:
    """Build a target with its mask.

    Args:
        of: its reference, or the id of a new one; `expressions` and `changes` are then as for
            `target_ref`.
    """
    ref = of if isinstance(of, TargetRef) else target_ref(of, *expressions, **changes)
    return Target(ref, _as_rle(truth), None if ignore is None else _as_rle(ignore))


def state(
    truth: Mask,
    of: TargetRef | str = "t",
    *expressions: str,
    image: Image | None = None,
    mask: Mask | None = None,
    clicks: tuple[Click, ...] = (),
    ignore: Mask | None = None,
    image_truths: Sequence[Mask] = (),
) -> State:
    """Build what a policy sees of a target, each of its clicks one that the policy made.

    Args:
        of: as for `target`.
        image: black if not given.
        mask: empty if not given.
    """
    return State(
        target(truth, of, *expressions, ignore=ignore),
        np.zeros((*truth.shape, 3), np.uint8) if image is None else image,
        np.zeros_like(truth) if mask is None else mask,
        clicks,
        truth,
        ignore,
        image_truths=image_truths,
        turn=len(clicks),
    )


def provenance(
    segmenter: str = "graphcut", policy: str = "oracle", *, fingerprint: str = "f00"
) -> Provenance:
    """Build what made a trajectory: a segmenter without weights, and seed 0."""
    return Provenance(segmenter, "", policy, 0, fingerprint)


def step(
    mask: Mask | Rle,
    action: Click | Box | Undo = FIRST_CLICK,
    iou: float = 0.5,
    gain: float = 0.0,
    **changes: Any,
) -> Step:
    """Build a step; a box is an initial one."""
    changes.setdefault("is_initial", isinstance(action, Box))
    return Step(action, _as_rle(mask), iou, gain, **changes)


def steps(
    truth: Mask, *answers: tuple[Click | Box | Undo, Mask], ignore: Mask | None = None
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


class RecordingDiscs(DiscSegmenter):
    """Discs; `num_images` and `asked` are what came in; feedback is the last click."""

    def __init__(self) -> None:
        super().__init__()
        self.num_images = 0
        self.asked: list[Request] = []

    def set_image(self, image: Image) -> None:
        self.num_images += 1
        super().set_image(image)

    def predict(
        self, *, clicks: Sequence[Click], box: Box | None = None, feedback: Any = None
    ) -> Prediction:
        self.asked.append(Request(tuple(clicks), box, feedback))
        return Prediction(super().predict(clicks=clicks, box=box).mask, feedback=clicks[-1])


class FailingDiscs(DiscSegmenter):
    """Discs; raises an error when it takes an image or when it is asked for a mask."""

    def __init__(self, *, on_image: Exception | None = None, on_click: Exception | None = None):
        super().__init__()
        self.on_image = on_image
        self.on_click = on_click

    def set_image(self, image: Image) -> None:
        if self.on_image:
            raise self.on_image
        super().set_image(image)

    def predict(
        self, *, clicks: Sequence[Click], box: Box | None = None, feedback: Any = None
    ) -> Prediction:
        if self.on_click:
            raise self.on_click
        return super().predict(clicks=clicks, box=box, feedback=feedback)


class ManyDiscs(DiscSegmenter):
    """Discs for the targets of many images at once.

    Args:
        bad_images: images that it cannot encode, by the value of their first pixel.
        fails_at: the column in which a click makes it fail.

    Attributes:
        calls: "encode" with the images' first pixels, "answer" with the requests' numbers of
            clicks.
        threads: the threads that encoded.
    """

    def __init__(
        self,
        *,
        leaves_cpu_free: bool = False,
        bad_images: Collection[int] = (),
        fails_at: int | None = None,
    ) -> None:
        super().__init__()
        self.leaves_cpu_free = leaves_cpu_free
        self.bad_images = bad_images
        self.fails_at = fails_at
        self.calls: list[tuple[str, list[int]]] = []
        self.threads: set[int] = set()

    def predict_batch(self, requests: Sequence[Request]) -> list[Prediction]:
        raise AssertionError("requests come in pairs with their image")

    def encode_images(self, images: Sequence[Image]) -> list[Any]:
        first_pixels = [int(image[0, 0, 0]) for image in images]
        if set(first_pixels) & set(self.bad_images):
            raise MemoryError("too large")
        self.calls.append(("encode", first_pixels))
        self.threads.add(threading.get_ident())
        return [image.shape[:2] for image in images]

    def predict_many(self, pairs: Sequence[tuple[Any, Request]]) -> list[Prediction]:
        self.calls.append(("answer", [len(request.clicks) for _, request in pairs]))
        if any(click.x == self.fails_at for _, request in pairs for click in request.clicks):
            raise ValueError(f"column {self.fails_at}")
        answers = []
        for size_hw, request in pairs:
            self.set_image(np.zeros((*size_hw, 3), np.uint8))
            answers.append(self.predict(clicks=request.clicks, box=request.box))
        return answers

    def called(self, name: str) -> list[list[int]]:
        """Return what `calls` says of one kind of call."""
        return [values for each, values in self.calls if each == name]


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
