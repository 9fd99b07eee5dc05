"""The page's index: short values of every target, by column, before its details are loaded."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from hlmat.export.view.run_rows import RunRows
from hlmat.transforms.metrics.click_curves import THRESHOLDS

_TARGET = ("target_id", "dataset", "split", "image_path", "height", "width")
_OUTCOME = ("initial_iou", "num_clicks", "final_iou", "stop_reason", "last_predicted_iou")
_STEP = ("steps.kind", "steps.is_initial", "steps.iou", "steps.score")
_DIGITS = 4
_ROWS_AT_ONCE = 5000

Key = tuple[str, str, str]
"""Data set, split and target id: they identify a target across runs."""


def index_columns(rows: RunRows, first: int, count: int) -> dict[str, list[Any]]:
    """Return the columns of some targets, one value per target.

    `curve` is the IoU before the policy's first click and after each; `image` is the number of the
    first of adjacent targets that show the same image.
    """
    table = rows.columns(first, count, [*_TARGET, *_OUTCOME, *_STEP, "expressions"])
    curves, scores = _of_steps(table)
    return {
        **_names_of(table, first),
        "iou": _rounded(table["final_iou"]),
        "start": [curve[0] for curve in curves],
        "clicks": table["num_clicks"].to_pylist(),
        "stop": table["stop_reason"].to_pylist(),
        "segmenterScore": scores,
        "modelScore": _rounded(table["last_predicted_iou"]),
        "curve": curves,
    }


def reject_columns(rows: RunRows, first: int, count: int) -> dict[str, list[Any]]:
    """Return the columns of some rejects."""
    names = ["target_id", "dataset", "split", "image_path", "expressions", "reason", "message"]
    table = rows.columns(first, count, names)
    return {
        "id": table["target_id"].to_pylist(),
        "dataset": table["dataset"].to_pylist(),
        "split": table["split"].to_pylist(),
        "texts": table["expressions"].to_pylist(),
        "reason": table["reason"].to_pylist(),
        "message": table["message"].to_pylist(),
    }


def row_numbers(rows: RunRows) -> dict[Key, int]:
    """Return the number of each target's row."""
    table = rows.columns(0, rows.count, ["dataset", "split", "target_id"])
    keys = zip(*(table[n].to_pylist() for n in ("dataset", "split", "target_id")), strict=True)
    return {key: number for number, key in enumerate(keys)}


def paired_columns(
    columns: Mapping[str, Sequence[Any]], numbers: Mapping[Key, int], outcomes: pa.Table
) -> dict[str, list[Any]]:
    """Return another run's outcomes for the targets of an index; None if it lacks a target.

    Args:
        columns: result of `index_columns`.
        numbers: the other run's result of `row_numbers`.
        outcomes: the other run's result of `outcomes_of`.
    """
    keys = zip(columns["dataset"], columns["split"], columns["id"], strict=True)
    found = [numbers.get(key) for key in keys]
    taken = outcomes.take(pa.array(found, pa.int64()))
    return {
        "other": found,
        "otherIou": _rounded(taken["final_iou"]),
        "otherClicks": taken["num_clicks"].to_pylist(),
        "otherStop": taken["stop_reason"].to_pylist(),
        "otherCurve": taken["curve"].to_pylist(),
    }


def outcomes_of(rows: RunRows) -> pa.Table:
    """Return the outcome of every target of a run, for `paired_columns`."""
    names = ["final_iou", "num_clicks", "stop_reason"]
    curves: list[list[float]] = []
    for first in range(0, rows.count, _ROWS_AT_ONCE):
        steps = rows.columns(first, _ROWS_AT_ONCE, ["initial_iou", *_STEP])
        curves += _of_steps(steps)[0]
    table = rows.columns(0, rows.count, names)
    return table.append_column("curve", pa.array(curves, pa.list_(pa.float64())))


def _names_of(table: pa.Table, first: int) -> dict[str, list[Any]]:
    columns = {name: table[name].to_pylist() for name in _TARGET}
    images: list[int] = []
    shown = None
    for place, key in enumerate(
        zip(*(columns[n] for n in ("dataset", "image_path", "height", "width")), strict=True)
    ):
        images.append(images[-1] if key == shown else first + place)
        shown = key
    return {
        "id": columns["target_id"],
        "dataset": columns["dataset"],
        "split": columns["split"],
        "texts": table["expressions"].to_pylist(),
        "image": images,
    }


def _of_steps(table: pa.Table) -> tuple[list[list[float]], list[float | None]]:
    """Return the IoU curve of each target, and the segmenter's score of its last mask."""
    starts = _rounded_short_of(table["initial_iou"])
    curves: list[list[float]] = []
    scores: list[float | None] = []
    for chunk in table["steps"].chunks:
        offsets = chunk.offsets.to_pylist()
        base = offsets[0] if offsets else 0
        fields = chunk.flatten()
        ious = _rounded_short_of(fields.field("iou"))
        given = _rounded(fields.field("score"))
        initial = fields.field("is_initial").to_pylist()
        for start, end in itertools.pairwise(offsets):
            low, high = start - base, end - base
            first = low
            while first < high and initial[first]:
                first += 1
            before = ious[first - 1] if first > low else starts[len(curves)]
            curves.append([before, *ious[first:high]])
            scores.append(given[high - 1] if high > low else None)
    return curves, scores


def _rounded_short_of(values: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Round IoUs, but to no threshold of the clicks to reach it that they fall short of."""
    return [
        round(value - 10**-_DIGITS, _DIGITS) if exact < value in THRESHOLDS else value
        for exact, value in zip(values.to_pylist(), _rounded(values), strict=True)
    ]


def _rounded(values: pa.Array | pa.ChunkedArray) -> list[Any]:
    return pc.call_function("round", [values], pc.RoundOptions(ndigits=_DIGITS)).to_pylist()
