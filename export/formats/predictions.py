"""Rollouts as the prediction JSON of SegAgent's code, written and read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hlmat.transforms.core.errors import DataError, TargetError
from hlmat.transforms.core.records import (
    Click,
    RejectReason,
    Rle,
    StopReason,
    Trajectory,
    Undo,
    actions_in_effect,
)
from hlmat.transforms.masks.rasterize import segmentation_to_mask
from hlmat.transforms.masks.rle import MAX_PIXELS, encode_mask, rle_to_json
from hlmat.transforms.metrics.target_results import RolledOut
from hlmat.transforms.prompting.predicted_iou import last_predicted_iou


@dataclass(frozen=True)
class PredictedTarget:
    """One entry of a prediction file: an expression with its rollout.

    Attributes:
        expression: the first caption.
        outputs: the model's text of each step, None where the file has none.
        rollout: truth, masks and scores; its target id is the file's or else the entry's number,
            its image the `img_path`.
    """

    expression: str
    outputs: tuple[str | None, ...]
    rollout: RolledOut


def predictions_json(trajectories: Iterable[Trajectory]) -> bytes:
    """Return the content of a prediction file, one entry per trajectory, in order.

    `clicks` are those that a step's mask was made from, oldest first, as
    ``{"coor": [row, column], "is_positive": bool}``; `used_box` is the box, x0 y0 x1 y1 with
    exclusive ends, or null. `target_id`, `ignore_mask`, `last_output`, `stop_reason`, a step's
    `is_initial`, `is_undo` where it is true and, of a rollout that began with a mask,
    `initial_mask` are additions.
    """
    entries = [json.dumps(_entry(t)) for t in trajectories]
    return ("[" + ",".join("\n" + entry for entry in entries) + "\n]\n").encode("ascii")


def read_predictions(path: str) -> list[PredictedTarget]:
    """Read a prediction file of any program.

    Masks may be compressed or uncompressed run lengths or polygons, null for an empty mask.
    Fields that SegAgent's scorer does not need may be missing.

    Raises:
        DataError: the file cannot be read, or an entry is malformed.
    """
    try:
        with open(path, "rb") as f:
            entries = json.load(f)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}; expected a prediction file") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}); regenerate it") from error
    if not isinstance(entries, list) or not entries:
        seen = "an empty list" if entries == [] else f"a JSON {type(entries).__name__}"
        raise DataError(f"{path} holds {seen}; expected a list with an object per expression")
    predicted = [_read_entry(entry, k, path) for k, entry in enumerate(entries)]
    seen_at: dict[str, int] = {}
    for k, one in enumerate(predicted):
        before = seen_at.setdefault(one.rollout.target_id, k)
        if before != k:
            raise DataError(
                f"{path}: entries {before} and {k} have the same target_id, "
                f"{one.rollout.target_id!r}; remove one of them"
            )
    return predicted


def _entry(trajectory: Trajectory) -> dict[str, Any]:
    target = trajectory.target
    steps: list[dict[str, Any]] = []
    for index, step in enumerate(trajectory.steps):
        clicks: list[dict[str, Any]] = []
        box: list[int] | None = None
        for action in actions_in_effect(s.action for s in trajectory.steps[: index + 1]):
            if isinstance(action, Click):
                coor = [action.y, action.x]
                clicks.append({"coor": coor, "is_positive": action.is_positive})
            else:
                box = [action.x0, action.y0, action.x1, action.y1]
        steps.append(
            {
                "click_id": index,
                "mask": rle_to_json(step.mask),
                "outputs": step.answer,
                "clicks": clicks,
                "used_box": box,
                "is_initial": step.is_initial,
                **({"is_undo": True} if isinstance(step.action, Undo) else {}),
            }
        )
    height, width = target.size_hw
    first = trajectory.initial_mask
    return {
        "img_path": target.ref.image_path,
        "height": height,
        "width": width,
        "caption": list(target.ref.expressions),
        "gt_mask": rle_to_json(target.truth),
        "masks": None,
        "click_id": 0,
        "pred_list": steps,
        "target_id": target.ref.target_id,
        "ignore_mask": None if target.ignore is None else rle_to_json(target.ignore),
        "last_output": trajectory.last_answer,
        "stop_reason": trajectory.stop_reason.value,
        **({} if first is None else {"initial_mask": rle_to_json(first)}),
    }


def _read_entry(entry: Any, number: int, path: str) -> PredictedTarget:
    place = f"{path}, entry {number}"
    if not isinstance(entry, dict):
        raise DataError(f"{place} is a {type(entry).__name__}, expected an object")
    size_hw = (_side(entry, "height", place), _side(entry, "width", place))
    steps = entry.get("pred_list")
    if not isinstance(steps, list) or not all(isinstance(s, dict) for s in steps):
        raise DataError(f"{place}: pred_list must be a list of objects, got {_shown(steps)}")
    outputs = [s.get("outputs") for s in steps]
    for k, text in enumerate([*outputs, entry.get("last_output")]):
        if text is not None and not isinstance(text, str):
            raise DataError(f"{place}: the text of step {k} is {_shown(text)}, expected text")
    if entry.get("gt_mask") is None:
        raise DataError(f"{place}: gt_mask is missing; expected the true mask")
    masks = [
        _mask(s.get("mask"), size_hw, f"{place}, the mask of step {k}") for k, s in enumerate(steps)
    ]
    ignore, first = entry.get("ignore_mask"), entry.get("initial_mask")
    is_initial = [_is_initial(s) for s in steps]
    return PredictedTarget(
        expression=_caption(entry, place),
        outputs=tuple(outputs),
        rollout=RolledOut(
            target_id=_target_id(entry, number, place),
            image=_text(entry, "img_path", place),
            truth=_mask(entry["gt_mask"], size_hw, f"{place}, gt_mask"),
            ignore=None if ignore is None else _mask(ignore, size_hw, f"{place}, ignore_mask"),
            masks=tuple(masks),
            predicted_ious=tuple(last_predicted_iou(text) for text in outputs),
            last_predicted_iou=last_predicted_iou(entry.get("last_output")),
            first_click=is_initial.index(False) if False in is_initial else len(is_initial),
            stop_reason=_stop_reason(entry, place),
            undos=sum(s.get("is_undo") is True for s in steps),
            initial_mask=None if first is None else _mask(first, size_hw, f"{place}, initial_mask"),
        ),
    )


def _is_initial(step: dict[str, Any]) -> bool:
    """Return whether a step is initial: our files say so; in others, only a box is."""
    if "is_initial" in step:
        return step["is_initial"] is True
    return bool(step.get("used_box")) and not step.get("clicks")


def _side(entry: dict[str, Any], key: str, place: str) -> int:
    value = entry.get(key)
    if type(value) is not int or value < 1:
        raise DataError(f"{place}: {key} is {_shown(value)}, expected a whole number of pixels")
    return value


def _text(entry: dict[str, Any], key: str, place: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str):
        raise DataError(f"{place}: {key} is {_shown(value)}, expected text")
    return value


def _caption(entry: dict[str, Any], place: str) -> str:
    caption = entry.get("caption")
    texts: Sequence[Any] = [caption] if isinstance(caption, str) else caption or []
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise DataError(f"{place}: caption is {_shown(caption)}, expected a list of strings")
    return texts[0]


def _target_id(entry: dict[str, Any], number: int, place: str) -> str:
    if "target_id" not in entry:
        return f"entry {number:08d}"
    return _text(entry, "target_id", place)


def _stop_reason(entry: dict[str, Any], place: str) -> StopReason | None:
    value = entry.get("stop_reason")
    if value is None:
        return None
    try:
        return StopReason(value)
    except ValueError:
        known = ", ".join(StopReason)
        raise DataError(
            f"{place}: stop_reason is {_shown(value)}, expected one of {known}"
        ) from None


def _mask(segmentation: Any, size_hw: tuple[int, int], name: str) -> Rle:
    if size_hw[0] * size_hw[1] > MAX_PIXELS:
        raise DataError(
            f"{name}: an image of {size_hw[1]} x {size_hw[0]} pixels, expected at most "
            f"{MAX_PIXELS:,} pixels"
        )
    empty = encode_mask(np.zeros(size_hw, np.bool_))
    if segmentation is None:
        return empty
    try:
        return encode_mask(segmentation_to_mask(segmentation, size_hw=size_hw, name=name))
    except TargetError as error:
        if error.reason is RejectReason.EMPTY_MASK:
            return empty
        raise DataError(
            f"{error.message}; the entry gives the image size as {size_hw[1]} x {size_hw[0]} pixels"
        ) from error


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
