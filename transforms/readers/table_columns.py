"""Which columns of a table hold images, masks and texts; segmentations in a table's cells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.masks.rle import whole_number
from hlmat.transforms.readers.column_names import KEYS, parse_columns

_KNOWN: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "image_path"),
    "mask": ("mask",),
    "segmentation": ("segmentation", "raw_anns"),
    "text": ("answer", "captions", "sentences", "text", "caption", "expression"),
    "objects": ("samples",),
}
_ROW_FIELDS = ("file_name", "image_id")


@dataclass(frozen=True)
class TableColumns:
    """The names of a table's columns.

    Attributes:
        image: files, or names of files.
        text: expressions: a text, texts, or objects with `sent`.
        holds_images: whether `image` contains the files.
        mask: mask images; None if there are segmentations.
        segmentation: polygons or run lengths; None if there are mask images.
        objects: a list of objects with text and segmentation; None if each row is one object.
    """

    image: str
    text: str
    holds_images: bool
    mask: str | None = None
    segmentation: str | None = None
    objects: str | None = None

    def __str__(self) -> str:
        named = ((key, getattr(self, key)) for key in KEYS)
        return ", ".join(f"{key}={value}" for key, value in named if value is not None)

    def listed(self, schema: pa.Schema) -> list[str]:
        """Return the columns that listing needs: all but the files."""
        image = self.image
        if self.holds_images:
            kind = schema.field(image).type
            has_path = pa.types.is_struct(kind) and kind.get_field_index("path") >= 0
            image = f"{image}.path" if has_path else ""
        of_objects = (self.objects,) if self.objects else (self.text, self.segmentation)
        wanted = [image, *of_objects, *(f for f in _ROW_FIELDS if f in schema.names)]
        if self.segmentation == "raw_anns" and "raw_image_info" in schema.names:
            wanted.append("raw_image_info")
        return list(dict.fromkeys(name for name in wanted if name))


def columns_of(schema: pa.Schema, asked: str | None) -> TableColumns | str:
    """Return the columns of a table, or why they are ambiguous.

    Args:
        schema: of the table.
        asked: the `--columns` value; None takes the known names.
    """
    named = parse_columns(asked) if asked else {}
    there = ", ".join(schema.names)
    if missing := [f"{key}={name}" for key, name in named.items() if _outer(key, named, schema)]:
        return f"--columns {', '.join(missing)}: no such column; there are: {there}"
    found = {**_known_in(schema, named), **named}
    if "image" not in found:
        return _unclear("images", there)
    kind = schema.field(found["image"]).type
    holds_images = pa.types.is_struct(kind) or _is_binary(kind)
    inner = _fields_of_objects(schema, found.get("objects"))
    if inner is not None:
        # In objects a mask must be run lengths: files there would be read with the texts.
        of_objects = {**_known_in(inner, named), **named}
        shape = of_objects.get("segmentation") or of_objects.get("mask", "")
        found = {**found, **of_objects, "mask": "", "segmentation": shape}
    mask, segmentation = found.get("mask"), found.get("segmentation")
    if mask and not _holds_files(schema, mask):
        # Run lengths, or polygons, under the name of a mask.
        mask, segmentation = None, mask if "mask" in named else segmentation or mask
    if mask and segmentation:
        is_mask = "mask" in named or "segmentation" not in named
        mask, segmentation = (mask, None) if is_mask else (None, segmentation)
    if not mask and not segmentation:
        return _unclear("masks or segmentations", there)
    if "text" not in found:
        return _unclear("texts", there)
    return TableColumns(
        image=found["image"],
        text=found["text"],
        holds_images=holds_images,
        mask=mask or None,
        segmentation=segmentation or None,
        objects=found.get("objects") if inner is not None else None,
    )


def segmentation_in(row: Mapping[str, Any], column: str, *, place: str) -> dict[str, Any]:
    """Return a row's `segmentation`, and its `size` [height, width] if it has one.

    A flat list of numbers is one polygon, as in lmms-lab's tables; a text is JSON, as in jxu124's.

    Raises:
        TargetError: MALFORMED_SEGMENTATION.
    """
    value = row.get(column)
    if isinstance(value, str):
        value = _json(value, place=f"{place}: {column}")
        if isinstance(value, dict) and "segmentation" in value:
            value = value["segmentation"]
    if isinstance(value, list) and value and {*map(type, value)} <= {int, float, bool}:
        value = [value]
    if isinstance(value, Mapping):
        counts = value.get("counts")
        text = counts.decode("ascii", "replace") if isinstance(counts, bytes) else counts
        value = {"counts": text, "size": value.get("size")}
    if not isinstance(value, list | dict):
        raise TargetError(
            RejectReason.MALFORMED_SEGMENTATION,
            f"{place}: {column} is a {type(value).__name__}, expected polygons or run lengths",
        )
    size = _size_in(row.get("raw_image_info"), value, place=place)
    return {"segmentation": value} | ({} if size is None else {"size": size})


def _size_in(info: object, segmentation: object, *, place: str) -> list[int] | None:
    """Return (height, width) as the row records them, or as run lengths do."""
    if isinstance(info, str):
        content = _json(info, place=f"{place}: raw_image_info")
        sides = [content.get(k) for k in ("height", "width")] if isinstance(content, dict) else []
    else:
        first = segmentation[0] if isinstance(segmentation, list) and segmentation else segmentation
        size = first.get("size") if isinstance(first, dict) else None
        sides = list(size) if isinstance(size, list) else []
    match [whole_number(side) for side in sides]:
        case [int(height), int(width)] if height > 0 and width > 0:
            return [height, width]
        case _:
            return None


def _json(text: str, *, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TargetError(
            RejectReason.MALFORMED_SEGMENTATION, f"{place} is not JSON: {error}"
        ) from error


def _outer(key: str, named: Mapping[str, str], schema: pa.Schema) -> bool:
    """Return whether a named column is neither in the table nor in its objects."""
    inner = _fields_of_objects(schema, named.get("objects") or "samples")
    names = {*schema.names, *(inner.names if inner is not None else ())}
    return named[key] not in names


def _known_in(schema: pa.Schema, named: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for key, names in _KNOWN.items():
        name = next((n for n in names if n in schema.names), None)
        if name is not None and key not in named:
            found[key] = name
    return found


def _fields_of_objects(schema: pa.Schema, column: str | None) -> pa.Schema | None:
    """Return the columns of a list of objects; None if the column is not such a list."""
    if not column or column not in schema.names:
        return None
    kind = schema.field(column).type
    if not pa.types.is_list(kind) or not pa.types.is_struct(kind.value_type):
        return None
    return pa.schema(list(kind.value_type))


def _holds_files(schema: pa.Schema, column: str) -> bool:
    if column not in schema.names:
        return False
    kind = schema.field(column).type
    return _is_binary(kind) or (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _unclear(what: str, there: str) -> str:
    return (
        f"it is unclear which column holds the {what}; name the columns with --columns, as "
        f"image=A,mask=B,text=C, of: {there}"
    )
