"""Trajectories of one small image, for tests of what is made from trajectories."""

from __future__ import annotations

from typing import Any

import numpy as np

import builders
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.transforms.core.protocols import Image, Mask
from hlmat.transforms.core.records import Box, Click, StopReason, Trajectory
from hlmat.transforms.prompting.actions import TurnFormat
from hlmat.transforms.prompting.coordinates import build_codec

HEIGHT, WIDTH = 100, 200
TRUTH = np.zeros((HEIGHT, WIDTH), bool)
TRUTH[20:80, 50:150] = True
HALF = TRUTH.copy()
HALF[:, :100] = False


def make_trajectory(
    target_id: str = "t/1 #é",
    *,
    image_path: str = "a/1#x é.jpg",
    stop_reason: StopReason = StopReason.REACHED_IOU,
    boxed: bool = False,
    expressions: tuple[str, ...] = ("left cup", "an <image> of {colour}"),
    truth: Mask = TRUTH,
    clicks: tuple[tuple[Click, Mask], ...] = (
        (Click(100, 50, True), HALF),
        (Click(199, 99, False), TRUTH),
    ),
) -> Trajectory:
    """Make a trajectory; by default the first click finds half of the truth, the second the rest.

    Args:
        boxed: a box comes first, and finds half of the truth.
        clicks: each with the mask after it.
    """
    target = builders.target(
        truth, target_id, *expressions, image_path=image_path, image_name="1", split="train"
    )
    box = ((Box(50, 20, 150, 80), HALF),) if boxed else ()
    steps = builders.steps(truth, *box, *clicks)
    return builders.trajectory(target, *steps, stop_reason=stop_reason)


def load_image(image_path: str, *, size_hw: tuple[int, int]) -> Image:
    assert size_hw == (HEIGHT, WIDTH)
    return np.full((*size_hw, 3), 100, np.uint8)


def thousandths(**changes: Any) -> LlamaFactoryOptions:
    """Return options that write whole thousandths; `turn_format` holds changes of it."""
    turn_format = TurnFormat(build_codec("thousandths"), **changes.pop("turn_format", {}))
    return LlamaFactoryOptions(turn_format=turn_format, **changes)
