"""The rows of an export as tables (for the Hub, TRL, verl or ms-swift), read on request."""

from __future__ import annotations

import io
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hlmat.export.image_tables.features import IMAGE_TYPE
from hlmat.export.image_tables.layout import TableLayout
from hlmat.export.view.exported_rows import RowSummary, summary
from hlmat.transforms.core.errors import DataError, TargetError
from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.core.storage import Storage, join_under
from hlmat.transforms.masks.images import decode_image

FOLDERS: Mapping[str, str] = {"hub": "states", "trl": "data", "verl": "data", "ms-swift": "data"}
"""The folder of the files of rows, by format."""

_KEPT_GROUPS = 2
_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])


class TableRows:
    """The rows, as `ExportedRows`; images are read where they are shown, a row group at a time.

    Args:
        folder: of the export, a local path or a URL.
        format: `hub`, `trl`, `verl` or `ms-swift`.
        storage: reaches the folder.

    Raises:
        DataError: the folder has no such rows, or a file is not Parquet.
    """

    def __init__(self, folder: str, format: str, storage: Storage) -> None:
        self._lock = threading.Lock()
        self._groups: list[tuple[str, pq.ParquetFile, int]] = []
        self._starts: list[int] = []
        self._kept: OrderedDict[tuple[int, bool], pa.Table] = OrderedDict()
        self.count = 0
        tables = join_under(folder, FOLDERS[format])
        names = [n for n in sorted(storage.list_dir(tables)) if TableLayout.is_shard(n)]
        if not names:
            raise DataError(
                f"{tables} has no Parquet files; make the export again with --overwrite"
            )
        for name in names:
            self._add(join_under(tables, name), storage)

    def row(self, number: int) -> Mapping[str, Any]:
        table, schema, place = self._group_of(number, with_images=False)
        (row,) = _values(table.slice(place, 1))
        taken = {*_texts(schema), *_image_names(schema)}
        return {
            **{name: value for name, value in row.items() if name not in taken},
            "messages": _messages(row, schema),
            "images": len(_images(row, schema)),
        }

    def summaries(self, first: int, count: int) -> Sequence[RowSummary]:
        found: list[RowSummary] = []
        while len(found) < count and first + len(found) < self.count:
            table, schema, place = self._group_of(first + len(found), with_images=False)
            rows = _values(table.slice(place, count - len(found)))
            found += [_summary(row, schema) for row in rows]
        return found

    def image(self, number: int, place: int) -> Image | None:
        table, schema, row = self._group_of(number, with_images=True)
        images = _images(next(_values(table.slice(row, 1))), schema)
        if place >= len(images):
            return None
        data, name = images[place].get("bytes"), f"row {number}, image {place}"
        if not data:
            raise TargetError(RejectReason.MISSING_IMAGE, f"{name}: it has no content")
        return decode_image(data, name=name)

    def _add(self, path: str, storage: Storage) -> None:
        try:
            source: Any = path if "://" not in path else io.BytesIO(storage.read_bytes(path))
            file = pq.ParquetFile(source)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path, error) from error
        for group in range(file.num_row_groups):
            self._groups.append((path, file, group))
            self._starts.append(self.count)
            self.count += file.metadata.row_group(group).num_rows

    def _group_of(self, number: int, *, with_images: bool) -> tuple[pa.Table, pa.Schema, int]:
        """Return the row group that has a row, the file's schema, and the row's place.

        Args:
            with_images: of the columns of images, and these alone; otherwise of all columns, but
                without the images' content.
        """
        group = bisect_right(self._starts, number) - 1
        path, file, index = self._groups[group]
        schema = file.schema_arrow
        key = (group, with_images)
        with self._lock:
            if key not in self._kept:
                columns = _image_names(schema) if with_images else _light_columns(file)
                try:
                    table = file.read_row_group(index, columns=columns, use_threads=False)
                except (pa.ArrowException, OSError) as error:
                    raise _damaged(path, error) from error
                self._kept[key] = table
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT_GROUPS:
                self._kept.popitem(last=False)
            return self._kept[key], schema, number - self._starts[group]


def _image_names(schema: pa.Schema) -> list[str]:
    """Return the columns of images and of lists of images, that of what a model sees first."""
    found = [
        field.name
        for field in schema
        if field.type == IMAGE_TYPE
        or (pa.types.is_list(field.type) and field.type.value_type == IMAGE_TYPE)
    ]
    return sorted(found, key=lambda name: name != "state")


def _light_columns(file: pq.ParquetFile) -> list[str]:
    """Return the paths of all columns but the content of images."""
    images = set(_image_names(file.schema_arrow))
    paths = [file.schema.column(k).path for k in range(len(file.schema))]
    return [p for p in paths if p.split(".")[0] not in images or not p.endswith(".bytes")]


def _texts(schema: pa.Schema) -> list[str]:
    """Return the columns of a conversation, in its order."""
    found = [
        field.name
        for field in schema
        if pa.types.is_list(field.type) and field.type.value_type == _MESSAGE
    ]
    return found or [name for name in ("prompt", "answer") if name in schema.names]


def _messages(row: Mapping[str, Any], schema: pa.Schema) -> list[dict[str, str]]:
    roles = {"prompt": "user", "answer": "assistant"}
    found: list[dict[str, str]] = []
    for name in _texts(schema):
        value = row[name] or []
        found += [{"role": roles[name], "content": value}] if isinstance(value, str) else value
    return [{key: str(text or "") for key, text in message.items()} for message in found]


def _summary(row: Mapping[str, Any], schema: pa.Schema) -> RowSummary:
    extra = row.get("extra_info")
    inner: Mapping[str, Any] = extra if isinstance(extra, dict) else {}
    target_id = row.get("target_id") or inner.get("target_id") or ""
    answer = str(inner.get("answer") or "")
    images = len(_images(row, schema))
    return summary(str(target_id), _messages(row, schema), answer=answer, images=images)


def _images(row: Mapping[str, Any], schema: pa.Schema) -> list[dict[str, Any]]:
    """Return a row's images; columns without an image are left out."""
    found: list[dict[str, Any]] = []
    for name in _image_names(schema):
        listed = row[name] if isinstance(row[name], list) else [row[name]]
        found += [image for image in listed if image is not None]
    return found


def _values(table: pa.Table) -> Iterator[dict[str, Any]]:
    try:
        yield from table.to_pylist()
    except ValueError as error:
        # Such as text that is not UTF-8.
        raise _damaged("a file of the export", error) from error


def _damaged(name: str, error: Exception) -> DataError:
    return DataError(
        f"{name} cannot be read as Parquet ({error}); it was changed or damaged: make the export "
        "again with --overwrite"
    )
