"""The rows of a finished run by number, read from Parquet on request."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from hlmat.export.runs.manifest import FileEntry, Manifest
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.storage import join_under
from hlmat.transforms.dataset_io.arrow import Row
from hlmat.transforms.dataset_io.schemas import check_schema, present_names

_KEPT_BYTES = 1 << 26


class RunRows:
    """The rows of one kind of a run's files, in the run's order.

    Only the footers of the files are read at first; a file is compared with the manifest by its
    number of rows, not by its sha256.

    Args:
        out: the run's folder, a local path or a URL.
        manifest: the run's manifest.
        folder: the folder of the files inside it, `trajectories` or `rejects`.
        schema: schema of the files.

    Raises:
        DataError: a file is missing or does not match the manifest.
    """

    def __init__(self, out: str, manifest: Manifest, *, folder: str, schema: pa.Schema) -> None:
        self._lock = threading.Lock()
        self._groups: list[tuple[pq.ParquetFile, int]] = []
        self._starts: list[int] = []
        self._kept: OrderedDict[int, pa.Table] = OrderedDict()
        self._schema = schema
        self.count = 0
        for name in sorted(n for n in manifest.files if n.startswith(f"{folder}/")):
            file = _open(join_under(out, name), schema, manifest.files[name])
            for group in range(file.num_row_groups):
                self._groups.append((file, group))
                self._starts.append(self.count)
                self.count += file.metadata.row_group(group).num_rows

    def row(self, number: int) -> Row:
        """Return a row of the schema.

        Raises:
            IndexError: there is no such row.
            DataError: it cannot be read.
        """
        group, place = self._place(number)
        with self._lock:
            table = self._kept.get(group)
            if table is None:
                table = self._kept[group] = self._read(group, None)
            self._kept.move_to_end(group)
            while len(self._kept) > 1 and sum(t.nbytes for t in self._kept.values()) > _KEPT_BYTES:
                self._kept.popitem(last=False)
        try:
            (row,) = table.slice(place, 1).to_pylist()
        except ValueError as error:
            # Such as text that is not UTF-8.
            raise _damaged(error) from error
        return self._complete(row)

    def rows(self) -> Iterator[Row]:
        """Yield every row in order, with one row group in memory."""
        for number in range(self.count):
            yield self.row(number)

    def columns(self, first: int, count: int, names: Sequence[str]) -> pa.Table:
        """Return some columns of some rows.

        Args:
            first: number of the first row.
            count: number of rows; fewer at the end.
            names: names of columns, `steps.iou` for a field of the steps. The table omits columns
                that the files lack.
        """
        last = min(first + count, self.count)
        tables = []
        while first < last:
            group, place = self._place(first)
            with self._lock:
                table = self._read(group, names).slice(place, last - first)
            tables.append(table)
            first += table.num_rows
        return pa.concat_tables(tables) if tables else self._schema.empty_table()

    def _place(self, number: int) -> tuple[int, int]:
        if not 0 <= number < self.count:
            raise IndexError(f"row {number} of {self.count}")
        group = bisect_right(self._starts, number) - 1
        # A row group may be empty.
        return group, number - self._starts[group]

    def _read(self, group: int, names: Sequence[str] | None) -> pa.Table:
        file, index = self._groups[group]
        columns = None if names is None else _paths(file, names)
        try:
            table = file.read_row_group(index, columns=columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(error) from error
        return table.rename_columns(present_names(table.schema.names))

    def _complete(self, row: Row) -> Row:
        """Add the columns that earlier files lack."""
        return {**dict.fromkeys(self._schema.names), **row}


def _damaged(error: Exception) -> DataError:
    return DataError(
        f"a file of the run cannot be read ({error}); it was changed or damaged: run again with "
        "--overwrite"
    )


def _open(path: str, schema: pa.Schema, entry: FileEntry) -> pq.ParquetFile:
    try:
        source: Any = path
        if "://" in path:
            opener: Any = fsspec.open(path, "rb")
            source = opener.open()
        file = pq.ParquetFile(source)
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is listed in the manifest but missing; run again with --overwrite"
        ) from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: cannot be read as Parquet ({error}); it was changed or damaged: run again "
            "with --overwrite"
        ) from error
    check_schema(file.schema_arrow, expected=schema, name=path)
    if file.metadata.num_rows != entry.rows:
        raise DataError(
            f"{path} holds {file.metadata.num_rows} rows, the manifest lists {entry.rows}; run "
            "again with --overwrite"
        )
    return file


def _paths(file: pq.ParquetFile, names: Sequence[str]) -> list[str]:
    """Return the paths of columns in the files; those of lists include the element's name."""
    wanted = {tuple(name.split(".")) for name in names}
    found = []
    for index in range(len(file.schema)):
        path = file.schema.column(index).path
        parts = path.split(".")
        top = present_names([parts[0]])[0]
        is_field = len(parts) > 1 and (top, parts[-1]) in wanted
        if (top,) in wanted or is_field:
            found.append(path)
    return found
