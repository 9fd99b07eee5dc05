"""Rows of Parquet files by number; images are read only when needed."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hlmat.transforms.core.errors import DataError, TargetError
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.core.storage import LocalStorage, Storage, join_under
from hlmat.transforms.readers.files.confined_storage import ConfinedStorage

_BATCH_ROWS = 256
_KEPT_GROUPS = 2


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
        DataError: the file is damaged.
    """
    try:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns)):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{name} is damaged ({error}); download it again") from error


class RowCache:
    """A cache of row groups: consecutive rows are read together.

    Its methods may be called from several threads. A copy for another process is empty.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: OrderedDict[tuple[Any, ...], pa.Table] = OrderedDict()

    def __reduce__(self) -> tuple[type[RowCache], tuple[()]]:
        return type(self), ()

    def value(self, storage: Storage, root: str, path: str, *, row: int, column: str) -> object:
        """Return a cell.

        Raises:
            TargetError: UNREADABLE_IMAGE if the file or the row no longer exists.
        """
        try:
            with self._lock:
                table, index = self._group_of(storage, root, path, row, column)
                return table.column(0)[index].as_py()
        except (DataError, pa.ArrowException, OSError, ValueError) as error:
            if isinstance(error, TargetError):
                raise
            raise TargetError(
                RejectReason.UNREADABLE_IMAGE, f"{path}, row {row}: cannot be read: {error}"
            ) from error

    def _group_of(
        self, storage: Storage, root: str, path: str, row: int, column: str
    ) -> tuple[pa.Table, int]:
        for (*place, first, last), table in self._groups.items():
            if place == [root, path, column] and first <= row < last:
                return table, row - first
        file = open_table(storage, root, path)
        first = 0
        for group in range(file.metadata.num_row_groups):
            last = first + file.metadata.row_group(group).num_rows
            if row < last:
                table = file.read_row_group(group, columns=[column])
                self._groups[(root, path, column, first, last)] = table
                while len(self._groups) > _KEPT_GROUPS:
                    self._groups.popitem(last=False)
                return table, row - first
            first = last
        raise ValueError(f"it has {first} rows")
