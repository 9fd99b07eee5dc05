"""Generated scenes with everything that the pre-training of the small model learns from.

Each scene comes with masks that a fine-tuned model could be shown: good and corrupted masks of its
objects, and some of two objects or of the ground. So every text has several answers: the first
click, and what to do about each mask.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.protocols import Image, Mask
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.masks.corruption import corrupted_to_iou
from hlmat.transforms.masks.rle import mask_iou
from hlmat.transforms.oracle.click import oracle_click
from hlmat.transforms.readers.shapes.drawing import paint_scene
from hlmat.transforms.readers.shapes.expressions import (
    MAX_EXPRESSIONS,
    SceneFacts,
    describe_object,
)
from hlmat.transforms.readers.shapes.kinds import KINDS
from hlmat.transforms.readers.shapes.scene import (
    COLOURS,
    Pattern,
    Scene,
    ShapesOptions,
    compose_scene,
)

ATTRIBUTES: tuple[tuple[str, ...], ...] = (tuple(COLOURS), tuple(KINDS), get_args(Pattern))
"""The words of each attribute of an object: colour, kind, pattern."""

POSITIVE, NEGATIVE, FINISH = range(3)
"""What an answer does."""

FINISH_IOU = 0.85
"""A shown mask of this IoU or more needs no further click."""

_JOINED_SHARE, _GROUND_SHARE = 0.15, 0.15

ANGLES = 32
"""Directions in which an outline's reach is measured."""

MASKS = 3
"""Masks of each scene; only answers with scores show any of them, others the first."""

WORDS = 14
"""Tokens kept of a text."""


@dataclass(frozen=True)
class LabelledScenes:
    """Scenes and their labels, stacked. N scenes of at most K objects and T texts, sides S.

    Attributes:
        images: uint8 RGB. Shape: (N, S, S, 3).
        labels: uint8, 0 for the ground, k + 1 for object k. Shape: (N, S, S).
        masks: bool, the masks to be shown. Shape: (N, MASKS, S, S).
        ious: float32, of each mask with each object. Shape: (N, MASKS, K).
        names: int64, the classes of `ATTRIBUTES`. Shape: (N, K, 3).
        answers: int64, (action, x, y) for each object as the target, first without a mask, then
            with each; pixels. Shape: (N, 1 + MASKS, K, 3).
        reach: float32, the outline's distance from the centroid in quarters of the image's side,
            by direction; row 0 is for the ground. Shape: (N, K + 1, ANGLES).
        texts: int64 tokens of the expressions, 0 after the end. Shape: (N, T, WORDS).
        targets: int64, the object that each text names; -1 where there is no text. Shape: (N, T).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    ious: NDArray[np.float32]
    names: NDArray[np.int64]
    answers: NDArray[np.int64]
    reach: NDArray[np.float32]
    texts: NDArray[np.int64]
    targets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)


def label_scenes(options: ShapesOptions, *, split: str, tokenizer: Any) -> LabelledScenes:
    """Draw and label every scene of a generated split.

    Args:
        options: how many scenes, and of which size; square.
        split: "train", "val" or "test".
        tokenizer: of the small model.
    """
    rows = [
        label_scene(
            compose_scene(options, split=split, index=i),
            objects=options.objects_max,
            tokenizer=tokenizer,
        )
        for i in range(options.count)
    ]
    columns = zip(*rows, strict=True)
    names = (field.name for field in fields(LabelledScenes))
    return LabelledScenes(**{n: np.stack(c) for n, c in zip(names, columns, strict=True)})


def label_scene(scene: Scene, *, objects: int, tokenizer: Any) -> tuple[NDArray[Any], ...]:
    """Return one scene's row of each array of `LabelledScenes`, with room for `objects` objects.

    Raises:
        ValueError: an object has no visible pixel.
    """
    side = scene.labels.shape[0]
    count = len(scene.things)
    truths = [scene.mask(k) for k in range(count)]
    shown = _masks_to_show(scene, truths)
    ious = np.zeros((MASKS, objects), np.float32)
    names = np.zeros((objects, len(ATTRIBUTES)), np.int64)
    answers = np.zeros((1 + MASKS, objects, 3), np.int64)
    reach = np.zeros((objects + 1, ANGLES), np.float32)
    texts = np.zeros((objects * MAX_EXPRESSIONS, WORDS), np.int64)
    targets = np.full(objects * MAX_EXPRESSIONS, -1, np.int64)
    facts, rng = SceneFacts(scene), target_rng(0, scene.paint_key, "expressions")
    row = 0
    for k, (thing, truth) in enumerate(zip(scene.things, truths, strict=True)):
        values = (thing.colour_name, thing.kind, thing.pattern)
        names[k] = [words.index(v) for words, v in zip(ATTRIBUTES, values, strict=True)]
        answers[:, k] = [_answer(mask, truth) for mask in (np.zeros_like(truth), *shown)]
        ious[:, k] = [mask_iou(mask, truth) for mask in shown]
        reach[k + 1] = _reach(truth) * 4 / side
        for description in describe_object(facts, k, rng=rng):
            ids = tokenizer(description.text())["input_ids"][:WORDS]
            texts[row, : len(ids)], targets[row] = ids, k
            row += 1
    image: Image = paint_scene(scene)
    return image, scene.labels, np.stack(shown), ious, names, answers, reach, texts, targets


def _answer(shown: Mask, truth: Mask) -> tuple[int, int, int]:
    if mask_iou(shown, truth) >= FINISH_IOU:
        return FINISH, 0, 0
    click = oracle_click(shown, truth)
    if click is None:
        raise ValueError("an object of the scene has no visible pixel")
    return (POSITIVE if click.is_positive else NEGATIVE), click.x, click.y


def _masks_to_show(scene: Scene, truths: list[Mask]) -> list[Mask]:
    """Return masks of one object, of every quality; some of two objects, some of the ground."""
    rng = target_rng(0, scene.paint_key, "shown mask")
    truth = truths[int(rng.integers(len(truths)))]
    masks = [_corrupted(truth, 0.2, is_good=rng.random() < 0.25, rng=rng)]
    for number in range(1, MASKS):
        rng = target_rng(0, scene.paint_key, f"shown mask {number}")
        order = rng.permutation(len(truths))
        truth = truths[int(order[0])]
        mask = _corrupted(truth, 0.02, is_good=rng.random() < 0.4, rng=rng)
        if len(truths) > 1 and rng.random() < _JOINED_SHARE:
            mask = mask | truths[int(order[1])]
        elif rng.random() < _GROUND_SHARE:
            mask = _ellipse(truth.shape[0], rng=rng) & (scene.labels == 0)
        masks.append(mask)
    return masks


def _ellipse(side: int, *, rng: np.random.Generator) -> Mask:
    """Return an upright ellipse anywhere in a square."""
    (x, y), (a, b) = rng.uniform(0, side, 2), rng.uniform(0.1, 0.4, 2) * side
    ys, xs = np.mgrid[:side, :side]
    return ((xs - x) / a) ** 2 + ((ys - y) / b) ** 2 < 1


def _corrupted(truth: Mask, low: float, *, is_good: bool, rng: np.random.Generator) -> Mask:
    """Return a mask good enough to finish, or one from `low` up to that; else the truth."""
    low, high = (FINISH_IOU, 1.0) if is_good else (low, FINISH_IOU)
    wrong = corrupted_to_iou(truth, low=low, high=high, rng=rng)
    return truth if wrong is None else wrong.mask


def _reach(truth: Mask) -> NDArray[np.float32]:
    """Return how far a mask extends from its centroid, in pixels. Shape: (ANGLES,)."""
    ys, xs = np.nonzero(truth)
    dy, dx = ys - ys.mean(), xs - xs.mean()
    angle = (np.arctan2(dy, dx) / (2 * np.pi) * ANGLES).astype(int) % ANGLES
    reach = np.zeros(ANGLES, np.float32)
    np.maximum.at(reach, angle, np.hypot(dx, dy))
    return reach
