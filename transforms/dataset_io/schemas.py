"""The columns of trajectory and reject tables: versioned Arrow schemas that document themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import RejectReason, StopReason

SCHEMA_VERSION = 6

_COLUMNS_SINCE = {5: ("image_digest",)}
"""Columns that earlier files lack, which are read as null."""
READABLE_VERSIONS = (4, 5, SCHEMA_VERSION)
_EARLIER_NAMES = {"licence": "license"}
VERSION_KEY = b"hlmat.schema_version"


def _column(name: str, kind: pa.DataType, description: str, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"description": description})


_TEXT = pa.string()
_RLE = "COCO compressed run-length counts; the size is `height` x `width`"

_VERSION_COLUMN = _column("schema_version", pa.int32(), "version of these columns")
_REF_COLUMNS = [
    _column("target_id", _TEXT, "unique within data set and split, the same in every run"),
    _column("dataset", _TEXT, "the `--dataset` name of the part that the target belongs to"),
    _column("split", _TEXT, "the data set's own name of the split"),
    _column("image_path", _TEXT, "relative to the data root, with forward slashes"),
    _column("image_name", _TEXT, "what others call the image: a file name, or the id as text"),
    _column("image_id", pa.int64(), "the COCO image id, null where there is none", nullable=True),
    _column("object_id", pa.int32(), "index of the object within its image"),
    _column("expressions", pa.list_(_TEXT), "texts that name the object"),
    _column("license", _TEXT, "the terms of the data set"),
    _column("truth_ref", _TEXT, "JSON text with which the reader finds the mask again"),
]
_FINGERPRINT_COLUMN = _column(
    "config_fingerprint", _TEXT, "hex digest of everything that can change a result"
)

_STEP_TYPE = pa.struct(
    [
        _column("kind", _TEXT, "`click`, `box`, or `undo`, which takes back the last not undone"),
        _column("x", pa.int32(), "column of the click, else null", nullable=True),
        _column("y", pa.int32(), "row of the click, else null", nullable=True),
        _column(
            "is_positive",
            pa.bool_(),
            "true for a click on the object, false for one on the background, else null",
            nullable=True,
        ),
        _column("x0", pa.int32(), "first column of the box, else null", nullable=True),
        _column("y0", pa.int32(), "first row of the box, else null", nullable=True),
        _column("x1", pa.int32(), "column after the last of the box, else null", nullable=True),
        _column("y1", pa.int32(), "row after the last of the box, else null", nullable=True),
        _column(
            "is_initial",
            pa.bool_(),
            "true for an action before the first state; such actions are not training samples",
        ),
        _column("mask_rle", _TEXT, f"the mask after the action: {_RLE}"),
        _column("iou", pa.float64(), "IoU of that mask with the truth, ignored pixels left out"),
        _column("gain", pa.float64(), "`iou` minus the IoU before the action"),
        _column(
            "score",
            pa.float64(),
            "the segmenter's estimate of the mask's IoU, null if it gives none",
            nullable=True,
        ),
        _column("answer", _TEXT, "the model's text, null where no model acted", nullable=True),
        _column(
            "predicted_iou",
            pa.float64(),
            "the model's score of the mask before the action, null if it gave none",
            nullable=True,
        ),
    ]
)


def _versioned(fields: Sequence[pa.Field]) -> pa.Schema:
    return pa.schema(list(fields), metadata={VERSION_KEY: str(SCHEMA_VERSION)})


TRAJECTORY_SCHEMA = _versioned(
    [
        _VERSION_COLUMN,
        *_REF_COLUMNS,
        _column("height", pa.int32(), "pixels, of image and masks"),
        _column("width", pa.int32(), "pixels, of image and masks"),
        _column(
            "image_digest",
            _TEXT,
            "digest of the image's pixels, equal for turned and mirrored copies, null if unknown",
            nullable=True,
        ),
        _column("truth_rle", _TEXT, f"the ground-truth mask: {_RLE}"),
        _column("truth_area", pa.int64(), "pixels of the ground-truth mask"),
        _column(
            "ignore_rle",
            _TEXT,
            f"pixels that count neither as object nor as background, null without any: {_RLE}",
            nullable=True,
        ),
        _column(
            "initial_rle",
            _TEXT,
            f"the mask before the first step, null for an empty one: {_RLE}",
            nullable=True,
        ),
        _column(
            "initial_iou",
            pa.float64(),
            "IoU of that mask, 0 for an empty one (1 if the truth is empty)",
        ),
        _column("steps", pa.list_(_STEP_TYPE), "the actions in order, fields below"),
        _column(
            "num_clicks",
            pa.int32(),
            "steps that are not `is_initial`: the policy's clicks, undos and later boxes",
        ),
        _column("final_iou", pa.float64(), "IoU after the last step, without steps `initial_iou`"),
        _column(
            "stop_reason", _TEXT, "why it ended: " + ", ".join(f"`{r.value}`" for r in StopReason)
        ),
        _column("stop_detail", _TEXT, "why the last answer was invalid, else null", nullable=True),
        _column(
            "last_answer",
            _TEXT,
            "the model's text that ended the trajectory without a step, null without one",
            nullable=True,
        ),
        _column(
            "last_predicted_iou",
            pa.float64(),
            "the model's score of the last mask in that text, null if it gave none",
            nullable=True,
        ),
        _column(
            "model_calls",
            pa.int32(),
            "questions that the model answered, null if not counted",
            nullable=True,
        ),
        _column(
            "decoder_calls",
            pa.int32(),
            "requests that the segmenter answered, null if not counted",
            nullable=True,
        ),
        _column("segmenter", _TEXT, "name or dotted path"),
        _column("weights_sha256", _TEXT, "hex digest of the weights file, empty without one"),
        _column("policy", _TEXT, "name of the click policy"),
        _column("seed", pa.int64(), "the run's seed"),
        _FINGERPRINT_COLUMN,
    ]
)
"""One row per trajectory."""

REJECT_SCHEMA = _versioned(
    [
        _VERSION_COLUMN,
        *_REF_COLUMNS,
        _column(
            "reason",
            _TEXT,
            "why there is no trajectory: " + ", ".join(f"`{r.value}`" for r in RejectReason),
        ),
        _column("message", _TEXT, "what was wrong, in words"),
        _FINGERPRINT_COLUMN,
    ]
)
"""One row per target that gave no trajectory."""

# The fields inside are all nullable: a Parquet writer would otherwise look for values inside the
# struct that is null.
UNIT_SCHEMA = _versioned(
    [
        _column("target_id", _TEXT, "of the work item"),
        _column(
            "trajectory",
            pa.struct([f.with_nullable(True) for f in TRAJECTORY_SCHEMA]),
            "the trajectory, null for a reject",
            nullable=True,
        ),
        _column(
            "reject",
            pa.struct([f.with_nullable(True) for f in REJECT_SCHEMA]),
            "the reject, null for a trajectory",
            nullable=True,
        ),
    ]
)
"""One row per work item of a unit, in the unit's order."""

INPUT_SCHEMA = _versioned(
    [
        _column("path", _TEXT, "relative to the data root, with forward slashes"),
        _column("bytes", pa.int64(), "size of the file"),
        _column(
            "sha256",
            _TEXT,
            "hex digest of its content; of an unread file behind a URL what its store lists",
        ),
    ]
)
"""One row per file that a run was made from."""


def description_of(field: pa.Field) -> str:
    """Return what a column of these schemas means."""
    return (field.metadata or {})[b"description"].decode()


def schema_to_markdown(schema: pa.Schema) -> str:
    """Return a schema as a Markdown table: column, type, description; nested fields dotted."""
    lines = ["| column | type | meaning |", "|---|---|---|"]
    for field in schema:
        lines.extend(_field_lines(field, prefix=""))
    return "\n".join(lines)


def present_names(names: Iterable[str]) -> list[str]:
    """Return column names with earlier spellings replaced by the present ones, in order."""
    return [_EARLIER_NAMES.get(name, name) for name in names]


def check_schema(seen: pa.Schema, *, expected: pa.Schema, name: str) -> None:
    """Compare a file's schema, apart from earlier spellings of names, with the expected one.

    Raises:
        DataError: another schema version, or other columns.
    """
    names = present_names(seen.names)
    fields = [field.with_name(present) for field, present in zip(seen, names, strict=True)]
    seen = pa.schema(fields, metadata=seen.metadata)
    version = (seen.metadata or {}).get(VERSION_KEY, b"none").decode(errors="replace")
    expected = _as_of(version, expected)
    if version not in map(str, READABLE_VERSIONS):
        raise DataError(
            f"{name}: schema version {version}, expected {SCHEMA_VERSION}; read it with the hlmat "
            "that wrote it, or regenerate it with this one"
        )
    missing = [field.name for field in expected if field.name not in seen.names]
    if missing:
        raise DataError(
            f"{name}: column(s) {', '.join(missing)} missing; found {', '.join(seen.names)}; "
            "it is not the kind of file that belongs here: regenerate it"
        )
    if not _without_nullability(seen).equals(_without_nullability(expected)):
        differing = [
            f"{field.name} is {seen.field(field.name).type}, expected {field.type}"
            for field in expected
            if not _all_nullable(seen.field(field.name)).equals(_all_nullable(field))
        ]
        extra = [f"{n} is unknown" for n in seen.names if n not in expected.names]
        raise DataError(
            f"{name}: columns differ from schema version {SCHEMA_VERSION}: "
            f"{'; '.join(differing + extra) or 'their order differs'}; regenerate it"
        )


def _as_of(version: str, schema: pa.Schema) -> pa.Schema:
    """Return a schema as it was in an earlier version."""
    later = {
        name
        for since, names in _COLUMNS_SINCE.items()
        if version.isdecimal() and int(version) < since
        for name in names
    }
    return pa.schema([field for field in schema if field.name not in later])


def _field_lines(field: pa.Field, *, prefix: str) -> list[str]:
    kind = field.type
    nested = kind.value_type if pa.types.is_list(kind) else kind
    if pa.types.is_struct(nested):
        name = "list of struct" if pa.types.is_list(kind) else "struct"
    elif pa.types.is_list(kind):
        name = f"list of {nested}"
    else:
        name = str(kind)
    description = description_of(field)
    lines = [f"| `{prefix}{field.name}` | {name} | {description} |"]
    if pa.types.is_struct(nested):
        mark = "[]." if pa.types.is_list(kind) else "."
        for child in nested:
            lines.extend(_field_lines(child, prefix=f"{prefix}{field.name}{mark}"))
    return lines


def _without_nullability(schema: pa.Schema) -> pa.Schema:
    return pa.schema([_all_nullable(field) for field in schema])


def _all_nullable(field: pa.Field) -> pa.Field:
    kind = field.type
    if pa.types.is_struct(kind):
        kind = pa.struct([_all_nullable(child) for child in kind])
    elif pa.types.is_list(kind):
        kind = pa.list_(_all_nullable(kind.value_field))
    return pa.field(field.name, kind)
