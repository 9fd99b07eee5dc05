"""The records of a click trace JSON, the SegAgent reference's format, as trajectories.

One record is one target: `image_name`, `height`, `width`, `gt_ann` (`object_id`, `caption`,
`segmentation`, `bbox`, `area`) and `clicks_list` (`idx`, `coor` as [row, column], `is_positive`,
`mask`, `box`, `area`, `iou`). What that format has no field for stands under the key `hlmat`, which
its own readers pass over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from hlmat.transforms.core.errors import DataError, TargetError
from hlmat.transforms.core.records import (
    Click,
    Provenance,
    RejectReason,
    Rle,
    Step,
    StopReason,
    Target,
    TargetRef,
    Trajectory,
    Undo,
)
from hlmat.transforms.dataset_io.arrow import Row, row_to_trajectory
from hlmat.transforms.dataset_io.schemas import READABLE_VERSIONS, SCHEMA_VERSION, present_names
from hlmat.transforms.masks.rle import rle_area, rle_box_xywh, rle_problem, rle_to_json
from hlmat.transforms.readers.trace.json_diff import difference

PRIVATE_KEY = "hlmat"

UNKNOWN_PROVENANCE = Provenance(
    segmenter="", weights_sha256="", policy="", seed=0, config_fingerprint=""
)


def iter_trace_records(data: bytes, *, name: str) -> Iterator[dict[str, Any] | TargetError]:
    """Read the records of a trace, each checked; a malformed one comes as the error it is.

    Args:
        data: the file's content.
        name: of the file, for messages.

    Raises:
        DataError: the file as a whole is not a trace.
    """
    for index, record in enumerate(_records(data, name)):
        try:
            check_record(record, where=f"{name}: data[{index}]")
        except TargetError as error:
            yield error
        else:
            yield record


def check_record(record: Any, *, where: str) -> None:
    """Check one record.

    Args:
        where: file and index, for messages.

    Raises:
        TargetError: MALFORMED_ENTRY, MALFORMED_SEGMENTATION or SIZE_MISMATCH, naming the key.
    """
    entry = _Entry(record, where)
    image_name = entry.need("image_name", int, str)
    if isinstance(image_name, int) and not 0 <= image_name < 1 << 63:
        raise _malformed(f"{where}.image_name is {image_name}, expected an image id or a file name")
    size_hw = (entry.need("height", int), entry.need("width", int))
    if min(size_hw) < 1:
        raise _malformed(f"{where}: height and width are {size_hw}, expected at least 1")
    truth = _Entry(entry.need("gt_ann", dict), f"{where}.gt_ann")
    caption = truth.need("caption", list, str)
    texts = caption if isinstance(caption, list) else [caption]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise _malformed(
            f"{where}.gt_ann.caption is {caption!r:.80}, expected a text or a list of texts"
        )
    if "object_id" in truth.content and not 0 <= truth.need("object_id", int) < 1 << 31:
        raise _malformed(
            f"{where}.gt_ann.object_id is {truth.content['object_id']}, expected an index from 0"
        )
    _check_rle(truth.need("segmentation", dict), f"{where}.gt_ann.segmentation", size_hw)
    for index, click in enumerate(entry.need("clicks_list", list)):
        _check_click(click, f"{where}.clicks_list[{index}]", size_hw)


def record_to_trajectory(
    record: Mapping[str, Any],
    *,
    dataset: str = "trace",
    split: str = "",
    provenance: Provenance = UNKNOWN_PROVENANCE,
    image_path: str | None = None,
) -> Trajectory:
    """Turn a checked record into a trajectory.

    The arguments serve records that others wrote; a record with the key `hlmat` carries its own.
    Others' records give no reason for the end (`StopReason.UNRECORDED`), and what they hold beyond
    a trajectory is kept in `truth_ref`: `hlmat.export.formats.trace` writes them as they were.

    Args:
        record: a record that `check_record` let pass.
        dataset: name of the data set.
        split: name of the split.
        provenance: what made the trace.
        image_path: of the image, relative to the data root; the record's `image_name` if None.

    Raises:
        TargetError: MALFORMED_ENTRY, the content of `hlmat` is not as it was written.
    """
    if PRIVATE_KEY in record:
        return _own_trajectory(record)
    image_name = record["image_name"]
    truth = record["gt_ann"]
    caption = truth["caption"]
    object_id = truth.get("object_id", 0)
    steps: list[Step] = []
    for click in record["clicks_list"]:
        before = steps[-1].iou if steps else 0.0
        row, column = click["coor"]
        steps.append(
            Step(
                action=Click(x=column, y=row, is_positive=bool(click["is_positive"])),
                mask=_rle(click["mask"]),
                iou=float(click["iou"]),
                gain=float(click["iou"]) - before,
            )
        )
    trajectory = Trajectory(
        target=Target(
            ref=TargetRef(
                target_id=f"{image_name}/{object_id}",
                dataset=dataset,
                split=split,
                image_path=str(image_name) if image_path is None else image_path,
                image_name=str(image_name),
                image_id=image_name if isinstance(image_name, int) else None,
                object_id=object_id,
                expressions=(caption,) if isinstance(caption, str) else tuple(caption),
                truth_ref="",
                license="",
            ),
            truth=_rle(truth["segmentation"]),
        ),
        steps=tuple(steps),
        stop_reason=StopReason.UNRECORDED,
        provenance=provenance,
    )
    rest = difference(trajectory_to_plain_record(trajectory), record)
    truth_ref = json.dumps({"record": rest}, sort_keys=True, ensure_ascii=False)
    ref = replace(trajectory.target.ref, truth_ref=truth_ref)
    return replace(trajectory, target=replace(trajectory.target, ref=ref))


def trajectory_to_plain_record(trajectory: Trajectory) -> dict[str, Any]:
    """Return a trajectory as a record without the key `hlmat`; boxes have no place in it.

    Raises:
        DataError: the policy took an action back: each mask of a trace comes from every click
            before it.
    """
    target = trajectory.target
    for number, step in enumerate(trajectory.steps, start=1):
        if isinstance(step.action, Undo):
            raise DataError(
                f"target {target.ref.target_id!r} takes an action back in step {number}, which a "
                "trace cannot say; leave the target out with --exclude, or export another format"
            )
    height, width = target.size_hw
    ref = target.ref
    steps = [step for step in trajectory.steps if isinstance(step.action, Click)]
    return {
        "image_name": ref.image_name if ref.image_id is None else ref.image_id,
        "height": height,
        "width": width,
        "gt_ann": {
            "object_id": ref.object_id,
            "caption": list(ref.expressions),
            "segmentation": rle_to_json(target.truth),
            **_extent(target.truth, key="bbox"),
        },
        "clicks_list": [_click_content(index, step) for index, step in enumerate(steps)],
    }


def _records(data: bytes, name: str) -> list[Any]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{name} is not JSON ({error}); a trace is {{'info': ..., 'data': [...]}}"
        ) from error
    records = content.get("data") if isinstance(content, dict) else None
    if not isinstance(records, list):
        seen = f"keys {sorted(content)[:8]}" if isinstance(content, dict) else type(content)
        raise DataError(
            f"{name} is not a trace: found {seen}, expected an object with a list under 'data'"
        )
    return records


class _Entry:
    """A JSON object whose keys are asked for by type."""

    def __init__(self, content: Any, where: str) -> None:
        if not isinstance(content, dict):
            raise _malformed(f"{where} is {content!r:.80}, expected an object")
        self.content = content
        self._where = where

    def need(self, key: str, *kinds: type) -> Any:
        if key not in self.content:
            raise _malformed(f"{self._where}.{key} is missing")
        value = self.content[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise _malformed(f"{self._where}.{key} is {value!r:.80}, expected {wanted}")
        return value


def _check_click(content: Any, where: str, size_hw: tuple[int, int]) -> None:
    click = _Entry(content, where)
    point = click.need("coor", list)
    if len(point) != 2 or not all(type(value) is int for value in point):
        raise _malformed(f"{where}.coor is {point!r:.80}, expected [row, column] in whole pixels")
    if not (0 <= point[0] < size_hw[0] and 0 <= point[1] < size_hw[1]):
        raise _malformed(
            f"{where}.coor is {point}, outside the image of {list(size_hw)} (height, width)"
        )
    click.need("is_positive", bool, int)
    iou = click.need("iou", float, int)
    if not 0 <= iou <= 1:
        raise _malformed(f"{where}.iou is {iou}, expected a number from 0 to 1")
    _check_rle(click.need("mask", dict), f"{where}.mask", size_hw)


def _check_rle(content: dict[str, Any], where: str, size_hw: tuple[int, int]) -> None:
    entry = _Entry(content, where)
    counts = entry.need("counts", str)
    size = entry.need("size", list)
    if size != list(size_hw):
        raise TargetError(
            RejectReason.SIZE_MISMATCH,
            f"{where}.size is {size!r:.80}, expected {list(size_hw)} (height, width)",
        )
    problem = rle_problem(counts, size_hw)
    if problem is not None:
        raise TargetError(RejectReason.MALFORMED_SEGMENTATION, f"{where}: {problem}")


def _malformed(message: str) -> TargetError:
    return TargetError(RejectReason.MALFORMED_ENTRY, message)


def _rle(content: Mapping[str, Any]) -> Rle:
    height, width = content["size"]
    return Rle(content["counts"], (height, width))


def _extent(rle: Rle, *, key: str) -> dict[str, Any]:
    """Return the xywh box and the area of a mask."""
    return {key: list(rle_box_xywh(rle)), "area": rle_area(rle)}


def _click_content(index: int, step: Step) -> dict[str, Any]:
    click = step.action
    if not isinstance(click, Click):
        raise TypeError(f"only clicks have a place in clicks_list, got {click}")
    return {
        "idx": index,
        "coor": [click.y, click.x],
        "is_positive": click.is_positive,
        "mask": rle_to_json(step.mask),
        **_extent(step.mask, key="box"),
        "iou": step.iou,
    }


def _own_trajectory(record: Mapping[str, Any]) -> Trajectory:
    try:
        truth = record["gt_ann"]
        private = record[PRIVATE_KEY]
        private = dict(zip(present_names(private), private.values(), strict=True))
        if private["schema_version"] not in READABLE_VERSIONS:
            raise DataError(
                f"schema version {private['schema_version']!r}, expected {SCHEMA_VERSION}"
            )
        size_hw = (record["height"], record["width"])
        clicks = list(record["clicks_list"])
        steps = [
            _click_row(step, clicks.pop(0)) if step["kind"] == "click" else step
            for step in private["steps"]
        ]
        if clicks:
            raise DataError(f"{len(clicks)} of the clicks in clicks_list have no step")
        masks = (private["ignore_rle"], private["initial_rle"], *(s["mask_rle"] for s in steps))
        for counts in masks:
            if counts is not None and (problem := rle_problem(counts, size_hw)):
                raise DataError(f"a mask cannot be used: {problem}")
        row: Row = {
            **private,
            "object_id": truth["object_id"],
            "expressions": truth["caption"],
            "height": record["height"],
            "width": record["width"],
            "truth_rle": truth["segmentation"]["counts"],
            "steps": steps,
        }
        return row_to_trajectory(row)
    except (KeyError, TypeError, IndexError, AttributeError, DataError) as error:
        raise _malformed(
            f"the record of image {record['image_name']!r} has a key {PRIVATE_KEY!r} that is not "
            f"as it was written ({type(error).__name__}: {error}); remove the key to read the rest"
        ) from error


def _click_row(step: Row, click: Mapping[str, Any]) -> Row:
    row, column = click["coor"]
    return {
        **step,
        **dict.fromkeys(("x0", "y0", "x1", "y1")),
        "x": column,
        "y": row,
        "is_positive": click["is_positive"],
        "mask_rle": click["mask"]["counts"],
        "iou": click["iou"],
    }
