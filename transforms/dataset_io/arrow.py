"""Trajectories and rejects as Arrow tables: exact conversion both ways, and Parquet bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import (
    Box,
    Click,
    Provenance,
    Reject,
    RejectReason,
    Rle,
    Step,
    StopReason,
    Target,
    TargetRef,
    Trajectory,
    Undo,
    actions_in_effect,
)
from hlmat.transforms.dataset_io.schemas import (
    REJECT_SCHEMA,
    SCHEMA_VERSION,
    TRAJECTORY_SCHEMA,
    UNIT_SCHEMA,
    check_schema,
    present_names,
)
from hlmat.transforms.masks.rle import rle_area

Row = dict[str, Any]

ROW_GROUP_ROWS = 1024
ROW_GROUP_TEXT_BYTES = 2**31 - 1
"""Most bytes of one column's text in a row group: what Arrow's 32-bit offsets can address."""

_REF_COLUMNS = tuple(field.name for field in fields(TargetRef))
_CLICK_COLUMNS = tuple(field.name for field in fields(Click))
_BOX_COLUMNS = tuple(field.name for field in fields(Box))
_KINDS: Mapping[type, tuple[str, tuple[str, ...]]] = {
    Click: ("click", _CLICK_COLUMNS),
    Box: ("box", _BOX_COLUMNS),
    Undo: ("undo", ()),
}
"""The name of each kind of step, and its columns."""
_PROVENANCE_COLUMNS = tuple(field.name for field in fields(Provenance))


def target_ref_to_row(ref: TargetRef) -> Row:
    """Return the columns that identify a target.

    Text that is not valid Unicode (file names that no encoding explains) is written with
    backslash escapes, since no table can hold it.
    """
    row = {name: _storable(getattr(ref, name)) for name in _REF_COLUMNS}
    row["expressions"] = [_storable(text) for text in ref.expressions]
    return row


def row_to_target_ref(row: Mapping[str, Any]) -> TargetRef:
    """Return the target that a trajectory's or a reject's row is about."""
    return TargetRef(
        target_id=row["target_id"],
        dataset=row["dataset"],
        split=row["split"],
        image_path=row["image_path"],
        image_name=row["image_name"],
        image_id=row["image_id"],
        object_id=row["object_id"],
        expressions=tuple(row["expressions"]),
        truth_ref=row["truth_ref"],
        license=row["license"],
    )


def trajectory_to_row(trajectory: Trajectory) -> Row:
    """Return a trajectory as a row of `TRAJECTORY_SCHEMA`.

    Raises:
        ValueError: a mask's size is not the target's.
    """
    target = trajectory.target
    height, width = target.size_hw
    return {
        "schema_version": SCHEMA_VERSION,
        **target_ref_to_row(target.ref),
        "height": height,
        "width": width,
        "image_digest": target.image_digest,
        "truth_rle": target.truth.counts,
        "truth_area": rle_area(target.truth),
        "ignore_rle": _counts_or_none(target.ignore, target),
        "initial_rle": _counts_or_none(trajectory.initial_mask, target),
        "initial_iou": trajectory.initial_iou,
        "steps": [_step_to_row(step, target) for step in trajectory.steps],
        "num_clicks": trajectory.num_clicks,
        "final_iou": trajectory.final_iou,
        "stop_reason": trajectory.stop_reason.value,
        "stop_detail": _storable(trajectory.stop_detail),
        "last_answer": _storable(trajectory.last_answer),
        "last_predicted_iou": trajectory.last_predicted_iou,
        "model_calls": trajectory.model_calls,
        "decoder_calls": trajectory.decoder_calls,
        **{name: getattr(trajectory.provenance, name) for name in _PROVENANCE_COLUMNS},
    }


def row_to_trajectory(row: Mapping[str, Any]) -> Trajectory:
    """Return the trajectory that `trajectory_to_row` turned into a row.

    Raises:
        DataError: the row holds a value that no trajectory has.
    """
    size_hw = (row["height"], row["width"])
    try:
        steps = tuple(_row_to_step(step, size_hw) for step in row["steps"])
        # Refuses an undo with nothing before it.
        actions_in_effect(step.action for step in steps)
        return Trajectory(
            target=Target(
                ref=row_to_target_ref(row),
                truth=Rle(row["truth_rle"], size_hw),
                ignore=_rle_or_none(row["ignore_rle"], size_hw),
                image_digest=row.get("image_digest"),
            ),
            steps=steps,
            stop_reason=StopReason(row["stop_reason"]),
            provenance=Provenance(
                segmenter=row["segmenter"],
                weights_sha256=row["weights_sha256"],
                policy=row["policy"],
                seed=row["seed"],
                config_fingerprint=row["config_fingerprint"],
            ),
            stop_detail=row["stop_detail"],
            last_answer=row["last_answer"],
            last_predicted_iou=row["last_predicted_iou"],
            model_calls=row["model_calls"],
            decoder_calls=row["decoder_calls"],
            initial_mask=_rle_or_none(row["initial_rle"], size_hw),
            initial_iou=row["initial_iou"],
        )
    except (ValueError, TypeError) as error:
        raise DataError(
            f"the row of target {row['target_id']!r} is not a trajectory of schema version "
            f"{SCHEMA_VERSION}: {error}; regenerate the file"
        ) from error


def reject_to_row(reject: Reject, *, fingerprint: str) -> Row:
    """Return a reject as a row of `REJECT_SCHEMA`."""
    return {
        "schema_version": SCHEMA_VERSION,
        **target_ref_to_row(reject.ref),
        "reason": reject.reason.value,
        "message": _storable(reject.message),
        "config_fingerprint": fingerprint,
    }


def row_to_reject(row: Mapping[str, Any]) -> Reject:
    """Return the reject that `reject_to_row` turned into a row.

    Raises:
        DataError: the reason is not one of `RejectReason`.
    """
    try:
        reason = RejectReason(row["reason"])
    except ValueError as error:
        raise DataError(
            f"the row of target {row['target_id']!r} is not a reject of schema version "
            f"{SCHEMA_VERSION}: {error}; regenerate the file"
        ) from error
    return Reject(ref=row_to_target_ref(row), reason=reason, message=row["message"])


def trajectory_table(trajectories: Iterable[Trajectory]) -> pa.Table:
    """Return trajectories as a table of `TRAJECTORY_SCHEMA`."""
    rows = [trajectory_to_row(t) for t in trajectories]
    return pa.Table.from_pylist(rows, schema=TRAJECTORY_SCHEMA)


def unit_table(items: Sequence[Trajectory | Reject], fingerprint: str) -> pa.Table:
    """Return the outcome of a work unit as a table of `UNIT_SCHEMA`, one row per item.

    Args:
        items: what became of each item, in the unit's order.
        fingerprint: the run's, for the rejects, which carry no provenance.
    """
    rows: list[Row] = []
    for item in items:
        trajectory = reject = None
        if isinstance(item, Reject):
            reject = reject_to_row(item, fingerprint=fingerprint)
            target_id = reject["target_id"]
        else:
            trajectory = trajectory_to_row(item)
            target_id = trajectory["target_id"]
        rows.append({"target_id": target_id, "trajectory": trajectory, "reject": reject})
    return pa.Table.from_pylist(rows, schema=UNIT_SCHEMA)


def split_unit_tables(tables: Iterable[pa.Table]) -> tuple[pa.Table, pa.Table]:
    """Return the trajectories and the rejects of units, both in the order given."""
    units = list(tables)
    return (
        _unpack(units, column="trajectory", schema=TRAJECTORY_SCHEMA),
        _unpack(units, column="reject", schema=REJECT_SCHEMA),
    )


def table_to_parquet_bytes(table: pa.Table) -> bytes:
    """Write a table as zstd Parquet; equal rows give equal bytes, however they are chunked.

    A row group has `ROW_GROUP_ROWS` rows, or fewer where a column's text would exceed
    `ROW_GROUP_TEXT_BYTES`; the table as a whole may hold any amount of text.
    """
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="zstd") as writer:
        for group in _row_groups(table):
            writer.write_table(group.combine_chunks(), row_group_size=ROW_GROUP_ROWS)
    return sink.getvalue().to_pybytes()


def parquet_bytes_to_table(data: bytes, *, schema: pa.Schema, name: str) -> pa.Table:
    """Read a table back.

    Args:
        data: the file's content.
        schema: what it must hold, such as `TRAJECTORY_SCHEMA`.
        name: of the file, for messages.

    Raises:
        DataError: not Parquet, of another schema version, or with other columns.
    """
    file = open_parquet(data, schema=schema, name=name)
    try:
        table = _read_groups(file).rename_columns(present_names(file.schema_arrow.names))
        return completed(table, schema)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(name, error) from error


def completed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table of an earlier version as one of a schema; columns that it lacks are null."""
    for index, field in enumerate(schema):
        if field.name not in table.column_names:
            table = table.add_column(index, field, pa.nulls(table.num_rows, field.type))
    return table.cast(schema)


def of_this_version(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a completed table whose rows say that they have this version's columns."""
    version = pa.array([SCHEMA_VERSION] * table.num_rows, pa.int32())
    return table.set_column(0, schema.field(0), version).cast(schema)


def open_parquet(data: bytes, *, schema: pa.Schema, name: str) -> pq.ParquetFile:
    """Open a Parquet file for reading row group by row group; arguments and errors as above.

    Rename what is read with `present_names`: columns may have earlier names.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise _damaged(name, error) from error
    check_schema(file.schema_arrow, expected=schema, name=name)
    return file


def _read_groups(file: pq.ParquetFile) -> pa.Table:
    """Return a whole file; read at once, nested text of several row groups may be too much."""
    groups = [file.read_row_group(group) for group in range(file.num_row_groups)]
    return pa.concat_tables(groups) if groups else file.read()


def _damaged(name: str, error: Exception) -> DataError:
    return DataError(
        f"{name}: cannot be read as Parquet ({error}); it is damaged or another kind of file: "
        "regenerate it"
    )


def _row_groups(table: pa.Table) -> Iterator[pa.Table]:
    """Yield the rows of each row group; an empty table is one group without rows."""
    waiting = [
        table.slice(first, ROW_GROUP_ROWS)
        for first in range(0, max(table.num_rows, 1), ROW_GROUP_ROWS)
    ]
    waiting.reverse()
    while waiting:
        group = waiting.pop()
        is_large = group.num_rows > 1 and group.nbytes > ROW_GROUP_TEXT_BYTES
        if is_large and _longest_text(group.columns) > ROW_GROUP_TEXT_BYTES:
            half = group.num_rows // 2
            waiting += [group.slice(half), group.slice(0, half)]
        else:
            yield group


def _longest_text(columns: Iterable[pa.ChunkedArray]) -> int:
    """Return the bytes of text in the column, or field of a nested one, that has most."""
    longest = 0
    for column in columns:
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_binary(kind):
            lengths = pc.call_function("binary_length", [column])
            longest = max(longest, pc.call_function("sum", [lengths]).as_py() or 0)
        elif pa.types.is_struct(kind):
            longest = max(longest, _longest_text(column.flatten()))
        elif pa.types.is_list(kind):
            longest = max(longest, _longest_text([pc.call_function("list_flatten", [column])]))
    return longest


def _unpack(units: Sequence[pa.Table], *, column: str, schema: pa.Schema) -> pa.Table:
    parts = []
    for unit in units:
        for chunk in unit.column(column).chunks:
            present = chunk.filter(chunk.is_valid())
            parts.append(pa.Table.from_arrays(present.flatten(), schema=schema))
    return pa.concat_tables(parts) if parts else schema.empty_table()


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        if value.isascii():
            return value
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value


def _counts(rle: Rle, target: Target) -> str:
    if rle.size_hw != target.size_hw:
        raise ValueError(
            f"target {target.ref.target_id!r} is {target.size_hw} (height, width), "
            f"but one of its masks is {rle.size_hw}"
        )
    return rle.counts


def _counts_or_none(rle: Rle | None, target: Target) -> str | None:
    return None if rle is None else _counts(rle, target)


def _rle_or_none(counts: str | None, size_hw: tuple[int, int]) -> Rle | None:
    return None if counts is None else Rle(counts, size_hw)


def _step_to_row(step: Step, target: Target) -> Row:
    row: Row = dict.fromkeys(("x", "y", "is_positive", "x0", "y0", "x1", "y1"))
    kind, names = _KINDS[type(step.action)]
    row["kind"] = kind
    row.update((name, getattr(step.action, name)) for name in names)
    row["is_initial"] = step.is_initial
    row["mask_rle"] = _counts(step.mask, target)
    row["iou"] = step.iou
    row["gain"] = step.gain
    row["score"] = step.score
    row["answer"] = _storable(step.answer)
    row["predicted_iou"] = step.predicted_iou
    return row


def _row_to_step(row: Mapping[str, Any], size_hw: tuple[int, int]) -> Step:
    match row["kind"]:
        case "click":
            action = Click(row["x"], row["y"], row["is_positive"])
        case "box":
            action = Box(row["x0"], row["y0"], row["x1"], row["y1"])
        case "undo":
            action = Undo()
        case other:
            kinds = ", ".join(name for name, _ in _KINDS.values())
            raise ValueError(f"{other!r} is not a kind of step, expected one of {kinds}")
    return Step(
        action=action,
        mask=Rle(row["mask_rle"], size_hw),
        iou=row["iou"],
        gain=row["gain"],
        score=row["score"],
        is_initial=row["is_initial"],
        answer=row["answer"],
        predicted_iou=row["predicted_iou"],
    )
