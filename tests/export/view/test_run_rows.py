"""Rows of a run by number, across files and row groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from hlmat.export.runs.manifest import read_manifest
from hlmat.export.view.run_rows import RunRows
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.storage import LocalStorage
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.dataset_io.arrow import trajectory_to_row
from hlmat.transforms.dataset_io.schemas import TRAJECTORY_SCHEMA
from viewed_runs import clicked, damage_text, write_run


def rows_of(out: Path) -> RunRows:
    manifest = read_manifest(LocalStorage(), str(out))
    return RunRows(str(out), manifest, folder="trajectories", schema=TRAJECTORY_SCHEMA)


def test_rows_have_the_order_of_the_files(tmp_path: Path) -> None:
    made = [clicked(n, 10 + n) for n in range(7)]
    rows = rows_of(write_run(tmp_path, made, shards=3))
    assert rows.count == 7
    assert [*rows.rows()] == [trajectory_to_row(t) for t in made]


def test_columns_cross_files_and_end_with_the_last_row(tmp_path: Path) -> None:
    rows = rows_of(write_run(tmp_path, [clicked(n, 10 + n, 20) for n in range(7)], shards=3))
    table = rows.columns(2, 10, ["target_id", "steps.iou"])
    assert table["target_id"].to_pylist() == ["t2", "t3", "t4", "t5", "t6"]
    assert table["steps"].to_pylist()[0] == [{"iou": 0.6}, {"iou": 1.0}]


@pytest.mark.parametrize("number", [-1, 7, 10**9])
def test_there_is_no_other_row(tmp_path: Path, number: int) -> None:
    rows = rows_of(write_run(tmp_path, [clicked(n, 10) for n in range(7)]))
    with pytest.raises(IndexError, match=f"row {number} of 7"):
        rows.row(number)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    out = write_run(tmp_path, [clicked(0, 10)])
    path = out / "trajectories" / "trajectories-00000-of-00001.parquet"
    path.unlink()
    with pytest.raises(DataError, match=r"parquet is listed in the manifest but missing; run"):
        rows_of(out)
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        rows_of(out)


def test_a_file_of_another_run_is_refused(tmp_path: Path) -> None:
    out = write_run(tmp_path / "a", [clicked(0, 10)])
    other = write_run(tmp_path / "b", [clicked(0, 10), clicked(1, 10)])
    name = Path("trajectories") / "trajectories-00000-of-00001.parquet"
    (out / name).write_bytes((other / name).read_bytes())
    with pytest.raises(DataError, match="holds 2 rows, the manifest lists 1"):
        rows_of(out)


def test_text_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    rows = rows_of(damage_text(write_run(tmp_path, [clicked(0, 10)]), "object 0"))
    with pytest.raises(DataError, match=r"utf-8.*; it was changed or damaged: run again"):
        rows.row(0)


def test_a_run_behind_a_url_is_read_the_same(tmp_path: Path, bucket: str) -> None:
    made = [clicked(n, 10 + n) for n in range(3)]
    out = write_run(tmp_path, made)
    storage = storage_for(bucket)
    for path in (p for p in out.rglob("*") if p.is_file()):
        storage.write_bytes(f"{bucket}/{path.relative_to(out).as_posix()}", path.read_bytes())
    manifest = read_manifest(storage, bucket)
    rows = RunRows(bucket, manifest, folder="trajectories", schema=TRAJECTORY_SCHEMA)
    assert [*rows.rows()] == [trajectory_to_row(t) for t in made]
