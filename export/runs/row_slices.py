"""Rows of a finished run by their place: those of a part of the run, without reading the rest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import pyarrow as pa
import pyarrow.parquet as pq

from hlmat.export.runs.manifest import FileEntry, Manifest
from hlmat.export.runs.trajectories import names_below, open_listed_table
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.dataset_io.arrow import Row, completed
from hlmat.transforms.dataset_io.layout import OutputLayout
from hlmat.transforms.dataset_io.schemas import REJECT_SCHEMA, TRAJECTORY_SCHEMA, present_names

_OPEN_FILES = 2
_KEPT_GROUPS = 2


@dataclass(frozen=True)
class RowSlice:
    """Consecutive rows of one file.

    Attributes:
        file: its number in the run's order, from 0.
        first: the first row's place in the file, from 0.
        count: at least 1.
    """

    file: int
    first: int
    count: int


@dataclass(frozen=True)
class TrajectoryFiles:
    """The files of a run's trajectories, or of its rejects. Small and picklable.

    Attributes:
        storage: reaches the run.
        out: the run's output folder.
        files: as the manifest lists them, in the run's order.
        schema: of every file.
    """

    storage: Storage
    out: str
    files: tuple[tuple[str, FileEntry], ...]
    schema: pa.Schema = TRAJECTORY_SCHEMA

    @classmethod
    def of(cls, storage: Storage, out: str, manifest: Manifest) -> TrajectoryFiles:
        """Return the files of a finished run."""
        folder = OutputLayout.trajectory_name(0, 1).partition("/")[0]
        names = names_below(folder, manifest.files)
        return cls(storage, out, tuple((name, manifest.files[name]) for name in names))

    @classmethod
    def of_rejects(cls, storage: Storage, out: str, manifest: Manifest) -> TrajectoryFiles:
        """Return the files of a finished run's rejects."""
        folder = OutputLayout.reject_name(0, 1).partition("/")[0]
        names = names_below(folder, manifest.files)
        files = tuple((name, manifest.files[name]) for name in names)
        return cls(storage, out, files, REJECT_SCHEMA)

    def open(self, number: int) -> pq.ParquetFile:
        """Open a file after checking its sha256.

        Raises:
            DataError: the file is not as the manifest lists it.
        """
        name, entry = self.files[number]
        return open_listed_table(self.storage, self.out, name, entry, schema=self.schema)

    def columns(self, names: Sequence[str]) -> Iterator[tuple[int, int, list[Row]]]:
        """Yield some columns of all rows: number of the file, place of the first row, rows.

        Columns that an earlier version did not write are None.

        Raises:
            DataError: a file is not as the manifest lists it.
        """
        for number in range(len(self.files)):
            file, first = self.open(number), 0
            spelled = file.schema_arrow.names
            wanted = [
                own for own, n in zip(spelled, present_names(spelled), strict=True) if n in names
            ]
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=wanted)
                rows = table.rename_columns(present_names(table.column_names)).to_pylist()
                missing: Mapping[str, None] = dict.fromkeys(
                    name for name in names if name not in present_names(wanted)
                )
                yield number, first, [{**row, **missing} for row in rows] if missing else rows
                first += len(rows)


class RowReader:
    """Reads slices; the latest files stay open, the latest row groups in memory.

    Args:
        files: of a run.
    """

    def __init__(self, files: TrajectoryFiles) -> None:
        self._files = files
        self._open: OrderedDict[int, tuple[pq.ParquetFile, list[int]]] = OrderedDict()
        self._groups: OrderedDict[tuple[int, int], pa.Table] = OrderedDict()

    def rows(self, part: RowSlice) -> list[Row]:
        """Return the rows of a slice.

        Raises:
            DataError: the file is not as the manifest lists it.
        """
        return [row for table in self._parts(part) for row in table.to_pylist()]

    def table(self, part: RowSlice) -> pa.Table:
        """Return the rows of a slice as a table of the files' schema; errors as above."""
        schema = self._files.schema
        return pa.concat_tables(completed(table, schema) for table in self._parts(part))

    def _parts(self, part: RowSlice) -> Iterator[pa.Table]:
        _, starts = self._opened(part.file)
        end = part.first + part.count
        for group, (start, stop) in enumerate(pairwise(starts)):
            first, last = max(start, part.first), min(stop, end)
            if first < last:
                yield self._group(part.file, group).slice(first - start, last - first)

    def _opened(self, number: int) -> tuple[pq.ParquetFile, list[int]]:
        if number not in self._open:
            file = self._files.open(number)
            sizes = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
            self._open[number] = (file, [0, *accumulate(sizes)])
            while len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]

    def _group(self, number: int, group: int) -> pa.Table:
        key = (number, group)
        if key not in self._groups:
            file, _ = self._opened(number)
            table = file.read_row_group(group)
            self._groups[key] = table.rename_columns(present_names(table.column_names))
            while len(self._groups) > _KEPT_GROUPS:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return self._groups[key]
