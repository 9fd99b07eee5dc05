"""FiftyOne's documents of an image: the sample, and its targets, masks and clicks as labels."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hlmat.export.fiftyone.schema import (
    ALWAYS,
    BOXES,
    CLICKS,
    GROUND_TRUTH,
    NO_OBJECT,
    PREDICTIONS,
    list_class,
)
from hlmat.transforms.core.records import Box, Click, Rle, Step, Trajectory, Undo
from hlmat.transforms.dataset_io.arrow import target_ref_to_row
from hlmat.transforms.masks.rle import decode_rle, mask_box


@dataclass(frozen=True)
class StoredImage:
    """An image of the data set.

    Attributes:
        name: below the data set's folder.
        size_bytes: of its file.
        mime_type: such as image/jpeg.
    """

    name: str
    size_bytes: int
    mime_type: str


def sample_document(trajectories: Sequence[Trajectory], image: StoredImage) -> dict[str, Any]:
    """Return the sample of an image.

    Args:
        trajectories: of the targets of one image and split, at least one.
        image: where it is stored.
    """
    first = trajectories[0].target
    stored = target_ref_to_row(first.ref)
    height, width = first.size_hw
    identity = _digest("sample", first.ref.dataset, first.ref.split, first.ref.target_id)
    labels: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for index, trajectory in enumerate(trajectories):
        for name, each in _labels_of(trajectory, index=index):
            labels[name].append(each)
    return {
        "_id": {"$oid": identity[:24]},
        "_media_type": "image",
        "_rand": int(identity[24:37], 16) / 16**13,
        "filepath": image.name,
        "tags": [stored["split"]],
        "metadata": {
            "_cls": "ImageMetadata",
            "size_bytes": image.size_bytes,
            "mime_type": image.mime_type,
            "width": width,
            "height": height,
            "num_channels": 3,
        },
        "dataset": stored["dataset"],
        "image_path": stored["image_path"],
        **{
            name: _listed(name, labels[name])
            for name in (*ALWAYS, BOXES, NO_OBJECT)
            if name in ALWAYS or labels[name]
        },
    }


def used_fields(sample: Mapping[str, Any]) -> set[str]:
    """Return the fields with labels that a sample has besides those that all have."""
    return sample.keys() & {BOXES, NO_OBJECT}


def _labels_of(trajectory: Trajectory, *, index: int) -> list[tuple[str, dict[str, Any]]]:
    target = trajectory.target
    stored = target_ref_to_row(target.ref)
    label = stored["expressions"][0]
    own = {"target_id": stored["target_id"], "iou": trajectory.final_iou}
    of_target = {
        **own,
        "expressions": stored["expressions"],
        "num_clicks": trajectory.num_clicks,
        "stop_reason": trajectory.stop_reason.value,
    }
    found = []

    def add(name: str, text: str, content: Mapping[str, Any], *, part: str = "") -> None:
        ref = target.ref
        identity = _digest(name, ref.dataset, ref.split, ref.target_id, part)
        document = {
            "_id": {"$oid": identity[:24]},
            "_cls": list_class(name)[2],
            "tags": [],
            "label": text,
            **content,
        }
        found.append((name, document))

    truth = _region(target.truth)
    if truth is None:
        add(NO_OBJECT, label, of_target)
    else:
        add(GROUND_TRUTH, label, {**truth, "index": index, **of_target})
    last = None if trajectory.last_mask is None else _region(trajectory.last_mask)
    if last is not None:
        confidence = _confidence(trajectory)
        add(PREDICTIONS, label, {**last, "confidence": confidence, "index": index, **own})
    clicks: dict[str, list[tuple[int, list[float], float]]] = {"positive": [], "negative": []}
    height, width = target.size_hw
    for number, step in _steps_in_effect(trajectory):
        action = step.action
        if isinstance(action, Box):
            box = _box(action, target.size_hw)
            content = {"bounding_box": box, "index": index, **own, "iou": step.iou, "step": number}
            add(BOXES, label, content, part=str(number))
        if not isinstance(action, Click):
            continue
        point = [(action.x + 0.5) / width, (action.y + 0.5) / height]
        sign = "positive" if action.is_positive else "negative"
        clicks[sign].append((number, point, step.iou))
    for sign, made in clicks.items():
        if made:
            content = {
                "points": [point for _, point, _ in made],
                "index": index,
                "target_id": own["target_id"],
                "step": [number for number, _, _ in made],
                "iou": [iou for _, _, iou in made],
            }
            add(CLICKS, sign, content, part=sign)
    return found


def _steps_in_effect(trajectory: Trajectory) -> list[tuple[int, Step]]:
    """Return the steps that no later undo took back, each with its number."""
    left: list[tuple[int, Step]] = []
    for number, step in enumerate(trajectory.steps):
        if isinstance(step.action, Undo):
            left.pop()
        else:
            left.append((number, step))
    return left


def _listed(name: str, labels: list[dict[str, Any]]) -> dict[str, Any]:
    kind, items, _ = list_class(name)
    return {"_cls": kind, items: labels}


def _confidence(trajectory: Trajectory) -> float | None:
    """Return the estimate of the last mask's IoU that needs no ground truth, if there is one."""
    if trajectory.last_predicted_iou is not None:
        return trajectory.last_predicted_iou
    return trajectory.steps[-1].score if trajectory.steps else None


def _region(mask: Rle) -> dict[str, Any] | None:
    """Return the box and the mask inside it, as FiftyOne stores them; None for an empty mask."""
    pixels = decode_rle(mask)
    box = mask_box(pixels)
    if box is None:
        return None
    inside = np.ascontiguousarray(pixels[box.y0 : box.y1, box.x0 : box.x1])
    with io.BytesIO() as file:
        np.save(file, inside, allow_pickle=False)
        packed = base64.b64encode(zlib.compress(file.getvalue())).decode("ascii")
    return {
        "bounding_box": _box(box, mask.size_hw),
        "mask": {"$binary": {"base64": packed, "subType": "00"}},
    }


def _box(box: Box, size_hw: tuple[int, int]) -> list[float]:
    """Return a box as FiftyOne writes it: left, top, width, height, as shares of the image."""
    height, width = size_hw
    (left, wide), (top, high) = shares(box.x0, box.x1, width), shares(box.y0, box.y1, height)
    return [left, top, wide, high]


def shares(start: int, end: int, size: int) -> tuple[float, float]:
    """Return start and extent of some pixels as shares of a side, for FiftyOne's own arithmetic.

    It multiplies both ends by the side and cuts off the fraction, so a share that is too small by
    a rounding error would move the mask by a pixel.

    Args:
        start: the first pixel.
        end: the pixel after the last, more than `start`.
        size: of the side, at least `end`.

    >>> 49 * (1 / 49)
    0.9999999999999999
    >>> first, extent = shares(1, 5, 49)
    >>> int(49 * first), int(49 * (first + extent))
    (1, 5)
    """
    first = start / size
    while int(size * first) < start:
        first = math.nextafter(first, 2.0)
    extent = (end - start) / size
    while int(size * (first + extent)) < end:
        extent = math.nextafter(extent, 2.0)
    return first, extent


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
