"""Rows of Parquet files by number; images are read only when needed."""

from __future__ import annotations

import io
import threading
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hlmat.transforms.core.errors import DataError, TargetError
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.core.storage import LocalStorage, Storage, join_under
from hlmat.transforms.readers.files.confined_storage import ConfinedStorage

_BATCH_ROWS = 32
_CELLS_AT_ONCE = 8
_KEPT_BATCHES = 4
_KEPT_COLUMNS = 4
_MOST_EXPANSION = 200
_ALWAYS_READ = 1 << 31
"""Bytes of listed columns that any file may hold."""


def open_table(storage: Storage, root: str, path: str) -> pq.ParquetFile:
    """Open a Parquet file below a root; on the local disk it is not read whole.

    Raises:
        DataError: it cannot be read, or is no Parquet file.
    """
    full_path = join_under(root, path)
    try:
        if isinstance(storage, ConfinedStorage):
            storage.check(full_path)
        if isinstance(storage, ConfinedStorage | LocalStorage):
            return pq.ParquetFile(full_path, memory_map=True)
        return pq.ParquetFile(io.BytesIO(storage.read_bytes(full_path)))
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{full_path} cannot be read as Parquet ({error}); download it again"
        ) from error


def iterate_rows(
    file: pq.ParquetFile, columns: Sequence[str], *, name: str
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file, some of its columns; a part of a struct is named `column.part`.

    Raises:
        DataError: the file is damaged, or repeats its content until it is too much.
    """
    groups = (file.metadata.row_group(g) for g in range(file.metadata.num_row_groups))
    stored = sum(group.total_byte_size for group in groups)
    left = max(_ALWAYS_READ, _MOST_EXPANSION * stored)
    try:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns)):
            left -= batch.nbytes
            if left < 0:
                raise DataError(
                    f"{name} repeats its texts until they are {_MOST_EXPANSION} times what it "
                    "stores; write it again without the repetitions"
                )
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{name} is damaged ({error}); download it again") from error


class RowCache:
    """Cells of tables, read a few rows at a time: consecutive ones without reading any twice.

    A row group is not read whole. It may hold gigabytes, and a small file may repeat one image in
    every row.

    Its methods may be called from several threads. A copy for another process is empty.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._columns: OrderedDict[tuple[str, str, str], _Column] = OrderedDict()

    def __reduce__(self) -> tuple[type[RowCache], tuple[()]]:
        return type(self), ()

    def value(self, storage: Storage, root: str, path: str, *, row: int, column: str) -> object:
        """Return a cell.

        Raises:
            TargetError: UNREADABLE_IMAGE if the file or the row no longer exists.
        """
        place = (root, path, column)
        try:
            with self._lock:
                if place not in self._columns:
                    self._columns[place] = _Column(open_table(storage, root, path), column)
                    while len(self._columns) > _KEPT_COLUMNS:
                        self._columns.popitem(last=False)
                return self._columns[place].cell(row)
        except (DataError, pa.ArrowException, OSError, ValueError) as error:
            if isinstance(error, TargetError):
                raise
            raise TargetError(
                RejectReason.UNREADABLE_IMAGE, f"{path}, row {row}: cannot be read: {error}"
            ) from error


class _Column:
    """A column of an open table, with the latest rows that were read."""

    def __init__(self, file: pq.ParquetFile, name: str) -> None:
        self._file, self._name = file, name
        counts = (file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups))
        self._starts = list(accumulate(counts, initial=0))
        self._kept: deque[tuple[int, pa.RecordBatch]] = deque(maxlen=_KEPT_BATCHES)
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._next = self._end = 0

    def cell(self, row: int) -> object:
        """Return a cell. Raises ValueError if there is no such row."""
        if not 0 <= row < self._starts[-1]:
            raise ValueError(f"it has {self._starts[-1]} rows")
        while (found := self._found(row)) is None:
            if not self._next <= row < self._end:
                self._begin(bisect_right(self._starts, row) - 1)
            read = next(self._batches, None)
            if read is None or read.num_rows == 0:
                raise ValueError("its row groups have fewer rows than it states")
            self._kept.append((self._next, read))
            self._next += read.num_rows
        return found[0]

    def _found(self, row: int) -> list[object] | None:
        for first, batch in self._kept:
            if first <= row < first + batch.num_rows:
                return [batch.column(0)[row - first].as_py()]
        return None

    def _begin(self, group: int) -> None:
        self._kept.clear()
        self._next, self._end = self._starts[group], self._starts[group + 1]
        self._batches = self._file.iter_batches(
            batch_size=_CELLS_AT_ONCE, row_groups=[group], columns=[self._name]
        )
