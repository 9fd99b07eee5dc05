from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import builders
from hlmat.export.runs.manifest import FileEntry, build_manifest
from hlmat.export.runs.trajectories import read_rejects, read_trajectories, read_trajectory_rows
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import Click, Reject, RejectReason, StopReason, Trajectory
from hlmat.transforms.core.storage import MemoryStorage
from hlmat.transforms.dataset_io import arrow
from hlmat.transforms.dataset_io.arrow import (
    parquet_bytes_to_table,
    split_unit_tables,
    table_to_parquet_bytes,
    unit_table,
)
from hlmat.transforms.dataset_io.layout import OutputLayout
from hlmat.transforms.dataset_io.schemas import TRAJECTORY_SCHEMA
from hlmat.transforms.metrics.click_curves import ClickProtocol
from hlmat.transforms.metrics.summary import Summary, summarize
from hlmat.transforms.metrics.target_results import measure_rollout, rolled_out

REF = builders.target_ref()


def make_trajectory(number: int) -> Trajectory:
    truth = np.zeros((4, 6), dtype=bool)
    truth[1:3, 1:4] = True
    return builders.trajectory(
        builders.target(truth, f"t{number:04d}"),
        *builders.steps(truth, (Click(2, 1, True), truth)),
        stop_reason=StopReason.REACHED_IOU,
    )


TRAJECTORIES = [make_trajectory(i) for i in range(600)]
REJECTS = [Reject(REF, RejectReason.EMPTY_MASK, "no pixel")]


@pytest.fixture
def storage() -> MemoryStorage:
    storage = MemoryStorage()
    layout = OutputLayout("out")
    tables: dict[str, pa.Table] = {}
    for shard, part in enumerate((TRAJECTORIES[:500], TRAJECTORIES[500:])):
        kept, rejected = split_unit_tables(
            [unit_table([*part, *(REJECTS if shard == 0 else [])], "f00")]
        )
        tables[layout.trajectory_name(shard, 2)] = kept
        tables[layout.reject_name(shard, 2)] = rejected
    files = {}
    for name, table in tables.items():
        data = table_to_parquet_bytes(table)
        storage.write_bytes(f"out/{name}", data)
        files[name] = FileEntry.of(data, rows=table.num_rows)
    storage.write_bytes(layout.manifest, build_manifest(files, {}, {}))
    return storage


def test_a_run_is_read_back_in_its_order(storage: MemoryStorage) -> None:
    assert list(read_trajectories(storage, "out")) == TRAJECTORIES
    assert list(read_rejects(storage, "out")) == REJECTS


def test_a_file_of_many_row_groups_is_read_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "ROW_GROUP_TEXT_BYTES", 100)
    kept, _ = split_unit_tables([unit_table(TRAJECTORIES[:50], "f00")])
    data = table_to_parquet_bytes(kept)
    assert pq.ParquetFile(pa.BufferReader(data)).num_row_groups > 1
    name = OutputLayout.trajectory_name(0, 1)
    storage = MemoryStorage()
    storage.write_bytes(f"out/{name}", data)
    files = {name: FileEntry.of(data, rows=50)}
    storage.write_bytes(OutputLayout("out").manifest, build_manifest(files, {}, {}))
    assert list(read_trajectories(storage, "out")) == TRAJECTORIES[:50]
    assert parquet_bytes_to_table(data, schema=TRAJECTORY_SCHEMA, name=name) == kept


def test_files_that_the_manifest_does_not_list_are_not_read(storage: MemoryStorage) -> None:
    storage.write_bytes("out/trajectories/stale.parquet", b"old")
    assert len(list(read_trajectory_rows(storage, "out"))) == len(TRAJECTORIES)


def test_a_summary_of_files_equals_that_of_their_trajectories(storage: MemoryStorage) -> None:
    protocol = ClickProtocol(max_clicks=5, stop_on_no_gain=True)

    def summary_of(trajectories: Iterable[Trajectory]) -> Summary:
        return summarize(
            (
                measure_rollout(rolled_out(t), step="last", max_clicks=protocol.max_clicks)
                for t in trajectories
            ),
            protocol,
        )

    assert summary_of(read_trajectories(storage, "out")) == summary_of(TRAJECTORIES)


def test_files_with_an_earlier_column_name_are_read() -> None:
    tables = split_unit_tables([unit_table(TRAJECTORIES, "f00")])
    names = (OutputLayout.trajectory_name(0, 1), OutputLayout.reject_name(0, 1))
    storage, files = MemoryStorage(), {}
    for name, table in zip(names, tables, strict=True):
        earlier = ["licence" if column == "license" else column for column in table.column_names]
        renamed = table.rename_columns(earlier).replace_schema_metadata(table.schema.metadata)
        data = table_to_parquet_bytes(renamed)
        storage.write_bytes(f"out/{name}", data)
        files[name] = FileEntry.of(data, rows=table.num_rows)
    storage.write_bytes("out/manifest.json", build_manifest(files, {}, {}))
    assert list(read_trajectories(storage, "out")) == TRAJECTORIES
    assert list(read_rejects(storage, "out")) == []
    table = parquet_bytes_to_table(
        storage.read_bytes(f"out/{names[0]}"), schema=TRAJECTORY_SCHEMA, name=names[0]
    )
    assert "license" in table.column_names


def test_a_changed_file_is_refused(storage: MemoryStorage) -> None:
    name = OutputLayout.trajectory_name(0, 2)
    storage.write_bytes(f"out/{name}", storage.read_bytes(f"out/{name}") + b" ")
    with pytest.raises(DataError, match="not the file that the manifest lists"):
        next(read_trajectories(storage, "out"))


def test_a_wrong_row_count_is_refused() -> None:
    name = OutputLayout.trajectory_name(0, 1)
    data = table_to_parquet_bytes(split_unit_tables([unit_table(TRAJECTORIES[:2], "f00")])[0])
    files = {name: FileEntry.of(data, rows=3)}
    storage = MemoryStorage(
        {f"out/{name}": data, "out/manifest.json": build_manifest(files, {}, {})}
    )
    with pytest.raises(DataError, match="holds 2 rows, the manifest lists 3"):
        next(read_trajectories(storage, "out"))
