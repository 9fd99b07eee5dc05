"""Read the trajectories and rejects of a finished run, one batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from hlmat.export.runs.manifest import FileEntry, Manifest, read_listed_file, read_manifest
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import Reject, Trajectory
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.dataset_io.arrow import Row, open_parquet, row_to_reject, row_to_trajectory
from hlmat.transforms.dataset_io.layout import OutputLayout
from hlmat.transforms.dataset_io.schemas import REJECT_SCHEMA, TRAJECTORY_SCHEMA, present_names

_BATCH_ROWS = 256


def read_trajectories(
    storage: Storage, out: str, *, manifest: Manifest | None = None
) -> Iterator[Trajectory]:
    """Read the trajectories of a finished run in their order.

    Memory holds one file, and 256 of its rows as objects; each file's sha256 is checked before
    its first row.

    Args:
        out: the output folder of the run.
        manifest: of the run, if it was read already.

    Raises:
        DataError: no finished run, or a file that is not as the manifest lists it.
    """
    for row in read_trajectory_rows(storage, out, manifest=manifest):
        yield row_to_trajectory(row)


def read_trajectory_rows(
    storage: Storage,
    out: str,
    *,
    manifest: Manifest | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[Row]:
    """Read the trajectories as rows of `TRAJECTORY_SCHEMA`, or some columns of them.

    Arguments and errors as above.
    """
    folder = OutputLayout.trajectory_name(0, 1).partition("/")[0]
    return _rows(
        storage, out, manifest=manifest, folder=folder, schema=TRAJECTORY_SCHEMA, columns=columns
    )


def image_sizes(storage: Storage, out: str) -> set[tuple[int, int]]:
    """Return the distinct (height, width) of the images of a finished run, in pixels."""
    columns = ["height", "width"]
    rows = read_trajectory_rows(storage, out, columns=columns)
    return {(row["height"], row["width"]) for row in rows}


def read_rejects(
    storage: Storage, out: str, *, manifest: Manifest | None = None
) -> Iterator[Reject]:
    """Read the rejects of a finished run in their order; arguments and errors as above."""
    folder = OutputLayout.reject_name(0, 1).partition("/")[0]
    for row in _rows(storage, out, manifest=manifest, folder=folder, schema=REJECT_SCHEMA):
        yield row_to_reject(row)


def names_below(folder: str, listed: Mapping[str, FileEntry]) -> list[str]:
    """Return the names of a run's files in one of its folders, in order."""
    return sorted(name for name in listed if name.startswith(f"{folder}/"))


def open_listed_table(
    storage: Storage, out: str, name: str, entry: FileEntry, *, schema: pa.Schema
) -> pq.ParquetFile:
    """Open a Parquet file of a run that is as the manifest lists it; errors as above."""
    file = open_parquet(read_listed_file(storage, out, name, entry), schema=schema, name=name)
    if file.metadata.num_rows != entry.rows:
        raise DataError(
            f"{name} holds {file.metadata.num_rows} rows, the manifest lists {entry.rows}; run "
            "again with --overwrite"
        )
    return file


def _rows(
    storage: Storage,
    out: str,
    *,
    manifest: Manifest | None,
    folder: str,
    schema: pa.Schema,
    columns: Sequence[str] | None = None,
) -> Iterator[Row]:
    listed = (manifest or read_manifest(storage, out)).files
    for name in names_below(folder, listed):
        file = open_listed_table(storage, out, name, listed[name], schema=schema)
        for group in range(file.num_row_groups):
            # A batch across row groups could hold more text than Arrow can address.
            for batch in file.iter_batches(
                batch_size=_BATCH_ROWS, row_groups=[group], columns=columns
            ):
                names = present_names(batch.schema.names)
                yield from batch.rename_columns(names).to_pylist()
