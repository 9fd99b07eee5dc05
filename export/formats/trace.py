"""Trajectories as click trace JSON that SegAgent's tools read, without loss."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hlmat.transforms.core.atomic_files import atomic_file
from hlmat.transforms.core.errors import DataError, OutputError
from hlmat.transforms.core.records import StopReason, Trajectory
from hlmat.transforms.dataset_io.arrow import Row, trajectory_to_row
from hlmat.transforms.readers.trace.json_diff import apply_difference
from hlmat.transforms.readers.trace.records import PRIVATE_KEY, trajectory_to_plain_record

# Columns that a record's own fields already hold.
_SAID_ELSEWHERE = (
    "object_id",
    "expressions",
    "height",
    "width",
    "truth_rle",
    "truth_area",
    "num_clicks",
    "final_iou",
)
_STEP_KEYS = ("kind", "is_initial", "gain", "score", "answer", "predicted_iou")
_BOX_KEYS = ("x", "y", "is_positive", "x0", "y0", "x1", "y1", "mask_rle", "iou")


def trajectory_to_record(trajectory: Trajectory) -> dict[str, Any]:
    """Return a trajectory as a record of a trace.

    `clicks_list` holds every click, initial ones included. Everything without a field in the format
    (identity, boxes, gains, scores, stop reason, provenance) is under `hlmat`. A trajectory that
    was read from another tool's trace is written as it was, including unknown keys and without
    `hlmat`.

    Raises:
        DataError: it is marked as read from another tool's trace, but its `truth_ref` does not fit.

    >>> import numpy as np
    >>> from hlmat import load_segmenter, build_target, roll_out
    >>> truth = np.zeros((48, 64), dtype=bool)
    >>> truth[10:40, 20:50] = True
    >>> image = np.where(truth[..., None], (200, 60, 40), (30, 90, 160)).astype(np.uint8)
    >>> trajectory = roll_out(build_target(truth), image, segmenter=load_segmenter())
    >>> sorted(trajectory_to_record(trajectory))
    ['clicks_list', 'gt_ann', 'height', 'hlmat', 'image_name', 'width']
    """
    record = trajectory_to_plain_record(trajectory)
    if trajectory.stop_reason is StopReason.UNRECORDED:
        return _as_it_was(record, trajectory)
    row = trajectory_to_row(trajectory)
    private: Row = {key: value for key, value in row.items() if key not in _SAID_ELSEWHERE}
    private["steps"] = [_step_rest(step) for step in row["steps"]]
    return {**record, PRIVATE_KEY: private}


def write_trace(
    trajectories: Iterable[Trajectory], path: str, *, info: Mapping[str, Any] | None = None
) -> int:
    """Write a trace atomically, with one record in memory at a time.

    Args:
        trajectories: the targets of one image are adjacent, as SegAgent's
            evaluator needs them.
        path: of the JSON file, on the local disk.
        info: what goes under `info.args`.

    Returns:
        The number of records.

    Raises:
        OutputError: the file cannot be written, or an image's targets are not adjacent.
    """
    count = 0
    arguments = json.dumps(dict(info or {}), sort_keys=True)
    try:
        with atomic_file(path) as f:
            f.write(f'{{"info": {{"args": {arguments}}},\n"data": ['.encode("ascii"))
            for count, trajectory in enumerate(_image_by_image(trajectories), start=1):
                record = json.dumps(trajectory_to_record(trajectory))
                f.write((("\n" if count == 1 else ",\n") + record).encode("ascii"))
            f.write(b"\n]}\n")
    except OSError as error:
        raise OutputError(
            f"cannot write the trace {path}: {error}; give a path in a folder that can be written "
            "to, with enough room"
        ) from error
    return count


def _image_by_image(trajectories: Iterable[Trajectory]) -> Iterator[Trajectory]:
    done: set[tuple[str, str]] = set()
    current: tuple[str, str] | None = None
    for trajectory in trajectories:
        ref = trajectory.target.ref
        image = (ref.dataset, ref.image_path)
        if image != current:
            if image in done:
                raise OutputError(
                    f"the targets of image {ref.image_path!r} are not adjacent "
                    f"(target {ref.target_id!r} comes after another image's), but readers of a "
                    "trace rely on it; sort the trajectories by image"
                )
            done.add(image)
            current = image
        yield trajectory


def _as_it_was(record: dict[str, Any], trajectory: Trajectory) -> dict[str, Any]:
    try:
        return apply_difference(record, json.loads(trajectory.target.ref.truth_ref)["record"])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise DataError(
            f"target {trajectory.target.ref.target_id!r} is marked as read from a trace "
            f"({StopReason.UNRECORDED.value}), but its truth_ref does not fit it "
            f"({type(error).__name__}: {error}); read the trace again"
        ) from error


def _step_rest(step: Row) -> Row:
    keys = _STEP_KEYS if step["kind"] == "click" else (*_STEP_KEYS, *_BOX_KEYS)
    return {key: step[key] for key in keys}
