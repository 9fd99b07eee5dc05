"""The table `trajectories` of a data set for the Hub: a run's files, or what is left of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

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
    files: TrajectoryFiles,
    folder: TableFolder,
    *,
    split: str,
    excluded: Collection[Key],
    terms: Mapping[tuple[str, str], str],
) -> list[PublishedFile]:
    """Write a run's trajectories below the folder of a data set; return what was written.

    A run of which nothing is left out or changed is copied byte for byte. A file of which no row
    is left is not written.

    Args:
        split: the name of the run's split on the Hub.
        excluded: targets that are left out, of this run or others.
        terms: the license that rows name in the place of another, by data set and the latter.

    Raises:
        DataError: a file is not as the manifest lists it.
    """
    kept, is_whole = _kept(files, excluded, terms)
    if is_whole:
        count, contents = len(files.files), _copies(files)
    else:
        count, contents = len(kept), _changed(files, kept, terms)
    written = []
    for number, data in enumerate(contents):
        name = TableLayout.shard_name(TRAJECTORIES, split, number, count)
        folder.storage.write_bytes(folder.layout.path(name), data)
        written.append(_described(name, data))
    return written


def _kept(
    files: TrajectoryFiles, excluded: Collection[Key], terms: Mapping[tuple[str, str], str]
) -> tuple[list[list[RowSlice]], bool]:
    """Return the rows that are left, by file, and whether these are all, and none changes.

    Rows that follow each other are one slice.
    """
    if not excluded and not terms:
        return [], True
    left: dict[int, list[RowSlice]] = {}
    is_whole = True
    for file, first, rows in files.columns((*KEY_COLUMNS, "license")):
        for place, row in enumerate(rows, start=first):
            is_left = key_of(row) not in excluded
            if is_left:
                _append(left.setdefault(file, []), RowSlice(file, place, 1))
            is_whole = is_whole and is_left and (row["dataset"], row["license"]) not in terms
    return list(left.values()), is_whole


def _append(slices: list[RowSlice], row: RowSlice) -> None:
    last = slices[-1] if slices else None
    if last is not None and last.first + last.count == row.first:
        slices[-1] = replace(last, count=last.count + 1)
    else:
        slices.append(row)


def _copies(files: TrajectoryFiles) -> Iterator[bytes]:
    for name, entry in files.files:
        yield read_listed_file(files.storage, files.out, name, entry)


def _changed(
    files: TrajectoryFiles,
    kept: Sequence[Sequence[RowSlice]],
    terms: Mapping[tuple[str, str], str],
) -> Iterator[bytes]:
    reader = RowReader(files)
    place = files.schema.get_field_index("license")
    for rows in kept:
        table = pa.concat_tables(reader.table(part) for part in rows)
        named = table.select(["dataset", "license"]).to_pylist()
        texts = [terms.get((row["dataset"], row["license"]), row["license"]) for row in named]
        table = table.set_column(place, files.schema.field(place), pa.array(texts, pa.string()))
        yield table_to_parquet_bytes(of_this_version(table, files.schema))


def _described(name: str, data: bytes) -> PublishedFile:
    metadata = pq.read_metadata(pa.BufferReader(data))
    groups = (metadata.row_group(k) for k in range(metadata.num_row_groups))
    table_bytes = sum(group.total_byte_size for group in groups)
    entry = FileEntry.of(data, rows=metadata.num_rows)
    return PublishedFile(name, entry.rows, entry.size_bytes, table_bytes, entry.sha256)
