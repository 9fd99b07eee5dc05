"""A Parquet file with images, written in row groups of bounded size."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hlmat.export.image_tables.features import IMAGE_TYPE, image_columns, value_columns

GROUP_ROWS = 100
"""Rows of a row group at most: as many as `datasets` writes for images, so that the Hub's viewer
and a shuffling reader need not load more."""

GROUP_BYTES = 64 * 2**20
"""A row group ends with the row that brings its images to this size."""

_DICTIONARY_BYTES = 2**31 - 1
_IMAGES_TYPE = pa.list_(IMAGE_TYPE)


class ImageShard:
    """A table of images that is being written, in memory.

    An image that several rows of a group show is stored once: image columns have a dictionary of
    any size, and are not compressed again. Equal rows give equal bytes.

    Args:
        schema: of its rows, from `image_schema`.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        # Looked up once: a schema builds its fields again whenever it is asked.
        self._alone = [f.name for f in schema if f.type == IMAGE_TYPE]
        self._listed = [f.name for f in schema if f.type == _IMAGES_TYPE]
        self._out = io.BytesIO()
        images = image_columns(schema)
        self._writer = pq.ParquetWriter(
            self._out,
            schema,
            # All other columns are compressed; a mapping leaves out those that it does not name.
            compression={path: "NONE" if path in images else "ZSTD" for path in _leaves(schema)},  # pyright: ignore[reportArgumentType]
            use_dictionary=True,
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
            write_statistics=value_columns(schema),  # pyright: ignore[reportArgumentType]
        )
        self._waiting: list[Mapping[str, Any]] = []
        self._seen: set[int] = set()
        self._bytes = 0
        self.rows = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row; its images are `{"bytes": ..., "path": ...}` or None."""
        self._waiting.append(row)
        for image in self._images_in(row):
            if id(image) not in self._seen:
                self._seen.add(id(image))
                self._bytes += len(image)
        self.rows += 1
        if len(self._waiting) >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()

    def _images_in(self, row: Mapping[str, Any]) -> Iterator[bytes]:
        for name in self._alone:
            if (image := row.get(name)) is not None:
                yield image["bytes"]
        for name in self._listed:
            yield from (image["bytes"] for image in row.get(name) or ())

    def finish(self) -> ShardContent:
        """Return the file."""
        if self._waiting or self.rows == 0:
            self._flush()
        self._writer.close()
        data = self._out.getvalue()
        metadata = pq.read_metadata(pa.BufferReader(data))
        groups = [metadata.row_group(k) for k in range(metadata.num_row_groups)]
        return ShardContent(data, self.rows, sum(group.total_byte_size for group in groups))

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=self._schema))
        self._waiting, self._seen, self._bytes = [], set(), 0


@dataclass(frozen=True)
class ShardContent:
    """A finished file.

    Attributes:
        data: its content.
        rows: how many it has.
        table_bytes: what its columns take when they are not compressed.
    """

    data: bytes
    rows: int
    table_bytes: int


def _leaves(schema: pa.Schema) -> list[str]:
    """Return the Parquet paths of a schema's columns."""

    def below(path: str, kind: pa.DataType) -> list[str]:
        if pa.types.is_struct(kind):
            return [leaf for part in kind for leaf in below(f"{path}.{part.name}", part.type)]
        if pa.types.is_list(kind):
            return below(f"{path}.list.element", kind.value_type)
        return [path]

    return [leaf for field in schema for leaf in below(field.name, field.type)]
