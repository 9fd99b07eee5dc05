"""A unit of an export: damaged rows become rejects, and nothing of them is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hlmat.export.llama_factory.export_units import (
    OtherRows,
    build_unit,
    unit_from_json,
    unit_to_json,
)
from hlmat.export.llama_factory.images import ImageLoader
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.paired_runs import OtherRunFiles
from hlmat.export.llama_factory.unit_export import ExportSettings, UnitExport
from hlmat.export.llama_factory.unit_samples import UnitSamples
from hlmat.export.runs.manifest import FileEntry
from hlmat.export.runs.row_slices import RowSlice, TrajectoryFiles
from hlmat.transforms.core.errors import DataError, OutputError, TargetError
from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.core.storage import LocalStorage, MemoryStorage
from hlmat.transforms.dataset_io.arrow import Row, table_to_parquet_bytes, trajectory_to_row
from hlmat.transforms.dataset_io.schemas import TRAJECTORY_SCHEMA
from trajectory_cases import load_image, make_trajectory


def files_of(rows: list[Row], name: str = "run") -> TrajectoryFiles:
    """Return the files of a run with these rows."""
    data = table_to_parquet_bytes(pa.Table.from_pylist(rows, schema=TRAJECTORY_SCHEMA))
    storage = MemoryStorage({f"{name}/t.parquet": data})
    return TrajectoryFiles(storage, name, (("t.parquet", FileEntry.of(data, rows=len(rows))),))


def rows_of(*names: str) -> list[Row]:
    return [trajectory_to_row(make_trajectory(name, image_path=f"{name}.jpg")) for name in names]


def exported(
    rows: list[Row],
    out: Path,
    *,
    load: ImageLoader = load_image,
    others: tuple[OtherRunFiles, ...] = (),
    task: str = "next-click",
    texts: list[tuple[str, ...]] | None = None,
) -> UnitSamples:
    settings = ExportSettings(
        files_of(rows), others, load, task, LlamaFactoryOptions(), str(out), LocalStorage()
    )
    also = [OtherRows(0, 0, RowSlice(0, 0, len(rows)))] if others else []
    part = [RowSlice(0, 0, len(rows))]
    unit = build_unit(0, part, also=also, expressions=texts, fingerprint="f")
    return UnitSamples.from_bytes(UnitExport(settings)(unit), name="unit")


def ids_in(unit: UnitSamples) -> list[str]:
    return list(dict.fromkeys(row["target_id"] for row in json.loads(f"[{unit.rows}]")))


def images_in(out: Path) -> int:
    return sum(1 for path in out.rglob("*.jpg"))


def no_stop(row: Row) -> None:
    row["stop_reason"] = "tired"


def short_mask(row: Row) -> None:
    row["steps"][1]["mask_rle"] = "01"


def odd_truth(row: Row) -> None:
    row["truth_rle"] = "~~"


@pytest.mark.parametrize(
    ("damage", "reason", "message"),
    [
        (no_stop, "malformed_entry", "'tired' is not a valid StopReason"),
        (short_mask, "malformed_segmentation", "the mask after step 1: its runs cover 1 pixels"),
        (odd_truth, "malformed_segmentation", "the truth: its counts are not compressed run"),
    ],
)
def test_a_damaged_row_is_a_reject_and_the_others_are_exported(
    damage: Callable[[Row], None], reason: str, message: str, tmp_path: Path
) -> None:
    rows = rows_of("a", "b", "c")
    damage(rows[1])
    unit = exported(rows, tmp_path)
    (reject,) = unit.rejects
    assert (reject["target_id"], reject["image_path"], reject["reason"]) == ("b", "b.jpg", reason)
    assert message in reject["message"]
    assert ids_in(unit) == ["a", "c"]
    assert unit.counts.targets == 2
    assert images_in(tmp_path) == unit.counts.images + len(unit.shared) == 4


def test_an_image_that_cannot_be_loaded_is_a_reject(tmp_path: Path) -> None:
    def failing(image_path: str, *, size_hw: tuple[int, int]) -> Image:
        if image_path == "b.jpg":
            raise TargetError(RejectReason.MISSING_IMAGE, "b.jpg is not there")
        return load_image(image_path, size_hw=size_hw)

    unit = exported(rows_of("a", "b"), tmp_path, load=failing)
    (reject,) = unit.rejects
    assert (reject["reason"], reject["message"]) == ("missing_image", "b.jpg is not there")
    assert ids_in(unit) == ["a"]
    assert images_in(tmp_path) == 2


def test_a_damaged_row_of_another_run_is_a_reject_that_names_the_run(tmp_path: Path) -> None:
    rows, other = rows_of("a", "b"), rows_of("a", "b")
    no_stop(other[0])
    others = (OtherRunFiles(files_of(other, "second")),)
    unit = exported(rows, tmp_path, others=others, task="star-plus")
    (reject,) = unit.rejects
    assert reject["target_id"] == "a"
    assert reject["message"].startswith("in second: the row of target 'a' is not a trajectory")
    assert ids_in(unit) == ["b"]


def test_a_changed_file_ends_the_export(tmp_path: Path) -> None:
    files = files_of(rows_of("a"))
    assert isinstance(files.storage, MemoryStorage)
    files.storage.files["run/t.parquet"] += b" "
    settings = ExportSettings(
        files, (), load_image, "next-click", LlamaFactoryOptions(), str(tmp_path), LocalStorage()
    )
    unit = build_unit(0, [RowSlice(0, 0, 1)], also=[], expressions=None, fingerprint="f")
    with pytest.raises(DataError, match="is not the file that the manifest lists"):
        UnitExport(settings)(unit)


def test_other_expressions_take_the_place_of_the_own_ones(tmp_path: Path) -> None:
    unit = exported(rows_of("a"), tmp_path, texts=[("the red mug",)])
    questions = [row["messages"][0]["content"] for row in json.loads(f"[{unit.rows}]")]
    assert len(questions) == 2
    assert all("the red mug" in question for question in questions)


def test_a_unit_comes_back_from_its_line() -> None:
    also = [OtherRows(1, 2, RowSlice(3, 4, 5))]
    texts = [("a cup", "é\n"), ()]
    unit = build_unit(7, [RowSlice(0, 1, 2)], also=also, expressions=texts, fingerprint="f")
    assert unit_from_json(unit_to_json(unit)) == unit
    other = build_unit(7, [RowSlice(0, 1, 2)], also=also, expressions=texts, fingerprint="g")
    assert other.unit_id != unit.unit_id


@pytest.mark.parametrize("line", ["", "[]", "{}", '{"rows": [[1]], "expressions": null}'])
def test_a_line_that_is_no_unit_is_damaged(line: str) -> None:
    with pytest.raises(DataError, match="a line of an export's plan is damaged"):
        unit_from_json(line)


@pytest.mark.parametrize("data", [b"", b"\xff", b"{}\n", b'{"counts": {}}\n', b"[1]\nrow"])
def test_a_file_that_is_no_unit_is_damaged(data: bytes) -> None:
    with pytest.raises(OutputError, match="the unit file x is damaged"):
        UnitSamples.from_bytes(data, name="x")


def test_a_unit_file_comes_back(tmp_path: Path) -> None:
    rows = rows_of("a", "b")
    no_stop(rows[0])
    unit = exported(rows, tmp_path)
    again: Any = UnitSamples.from_bytes(unit.to_bytes(), name="x")
    assert again == unit
