"""Training labels for each cell of an image: the object there and the click on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.protocols import Image
from hlmat.transforms.oracle.click import oracle_click
from hlmat.transforms.prompting.coordinates import CoordinateCodec
from hlmat.transforms.readers.shapes.drawing import paint_scene
from hlmat.transforms.readers.shapes.kinds import KINDS
from hlmat.transforms.readers.shapes.scene import (
    COLOURS,
    Pattern,
    Scene,
    ShapesOptions,
    compose_scene,
)

ATTRIBUTES: tuple[tuple[str, ...], ...] = (tuple(COLOURS), tuple(KINDS), get_args(Pattern))
"""The words of each attribute; class 0 of an attribute is "no object"."""

DIGITS = 4
"""Digits of a click: two decimals of x, then two of y."""

UNKNOWN = -100
"""Class of a digit without an object; the loss ignores it."""

_COVERED_SHARE = 0.3


@dataclass(frozen=True)
class LabelledImage:
    """An image and the labels of its cells.

    Attributes:
        image: uint8 RGB. Shape: (S, S, 3).
        classes: int64, by cell in row-major order: one class per attribute, then the digits of
            the object's first click. Shape: (grid * grid, 3 + DIGITS).
    """

    image: Image
    classes: NDArray[np.int64]


def label_scene(scene: Scene, *, grid: int, codec: CoordinateCodec) -> LabelledImage:
    """Paint a scene and label its cells.

    A cell belongs to the object that covers the largest part of it, if at least 30 percent.

    Args:
        scene: square; its side is a multiple of `grid`.
        grid: cells along one side.
        codec: writes two decimals per axis, as "(0.12, 0.34)".

    Raises:
        ValueError: an object has no visible pixel.
    """
    side = scene.labels.shape[0]
    cell = side // grid
    cells = scene.labels.reshape(grid, cell, grid, cell).swapaxes(1, 2).reshape(grid * grid, -1)
    things = range(len(scene.things))
    covered = np.stack([(cells == 0).sum(1) * 0, *((cells == k + 1).sum(1) for k in things)], 1)
    owner = covered.argmax(1)
    owner[covered.max(1) < _COVERED_SHARE * cell * cell] = 0
    rows = [_no_object(), *(_object_classes(scene, k, codec=codec) for k in things)]
    return LabelledImage(paint_scene(scene), np.array(rows, dtype=np.int64)[owner])


def labelled_images(
    options: ShapesOptions, *, split: str, grid: int, codec: CoordinateCodec
) -> list[LabelledImage]:
    """Return every image of a generated split with its labels."""
    return [
        label_scene(compose_scene(options, split=split, index=i), grid=grid, codec=codec)
        for i in range(options.count)
    ]


def _no_object() -> list[int]:
    return [0] * len(ATTRIBUTES) + [UNKNOWN] * DIGITS


def _object_classes(scene: Scene, index: int, *, codec: CoordinateCodec) -> list[int]:
    thing = scene.things[index]
    values = (thing.colour_name, thing.kind, thing.pattern)
    classes = [words.index(value) + 1 for words, value in zip(ATTRIBUTES, values, strict=True)]
    truth = scene.mask(index)
    click = oracle_click(np.zeros_like(truth), truth)
    if click is None:
        raise ValueError(f"object {index} of the scene has no visible pixel")
    size_hw = (truth.shape[0], truth.shape[1])
    text = codec.render(click.x, click.y, size_hw=size_hw)
    digits = [int(part[-2:][k]) for part in text.strip("()").split(", ") for k in (0, 1)]
    return classes + digits
