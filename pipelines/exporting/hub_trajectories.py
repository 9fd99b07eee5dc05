"""The table `trajectories` of a data set for the Hub: a run's files, or what is left of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from hlmat.export.hub.facts import TRAJECTORIES, PublishedFile
from hlmat.export.image_tables.layout import TableLayout
from hlmat.export.llama_factory.paired_runs import KEY_COLUMNS, key_of
from hlmat.export.runs.flags import Key
from hlmat.export.runs.manifest import FileEntry, read_listed_file
from hlmat.export.runs.row_slices import RowReader, RowSlice, TrajectoryFiles
from hlmat.pipelines.exporting.folder import TableFolder
from hlmat.transforms.dataset_io.arrow import of_this_version, table_to_parquet_bytes


def publish_trajectories(
    files: TrajectoryFiles, folder: TableFolder, *, split: str, excluded: Collection[Key]
) -> list[PublishedFile]:
    """Write a run's trajectories below the folder of a data set; return what was written.

    A run without an excluded target is copied byte for byte; of another one, a file without a row
    that is left is not written.

    Args:
        split: the name of the run's split on the Hub.
        excluded: targets that are left out, of this run or others.

    Raises:
        DataError: a file is not as the manifest lists it.
    """
    kept = _kept(files, excluded)
    if kept is None:
        count, contents = len(files.files), _copies(files)
    else:
        count, contents = len(kept), _chosen(files, kept)
    written = []
    for number, data in enumerate(contents):
        name = TableLayout.shard_name(TRAJECTORIES, split, number, count)
        folder.storage.write_bytes(folder.layout.path(name), data)
        written.append(_described(name, data))
    return written


def _kept(files: TrajectoryFiles, excluded: Collection[Key]) -> list[list[RowSlice]] | None:
    """Return the rows that are left, by file; None if none is excluded."""
    if not excluded:
        return None
    left: dict[int, list[RowSlice]] = {}
    dropped = 0
    for file, first, rows in files.columns(KEY_COLUMNS):
        for place, row in enumerate(rows, start=first):
            if key_of(row) in excluded:
                dropped += 1
            else:
                left.setdefault(file, []).append(RowSlice(file, place, 1))
    return list(left.values()) if dropped else None


def _copies(files: TrajectoryFiles) -> Iterator[bytes]:
    for name, entry in files.files:
        yield read_listed_file(files.storage, files.out, name, entry)


def _chosen(files: TrajectoryFiles, kept: Sequence[Sequence[RowSlice]]) -> Iterator[bytes]:
    reader = RowReader(files)
    for rows in kept:
        table = pa.concat_tables(reader.table(part) for part in rows)
        yield table_to_parquet_bytes(of_this_version(table, files.schema))


def _described(name: str, data: bytes) -> PublishedFile:
    metadata = pq.read_metadata(pa.BufferReader(data))
    groups = (metadata.row_group(k) for k in range(metadata.num_row_groups))
    table_bytes = sum(group.total_byte_size for group in groups)
    entry = FileEntry.of(data, rows=metadata.num_rows)
    return PublishedFile(name, entry.rows, entry.size_bytes, table_bytes, entry.sha256)
