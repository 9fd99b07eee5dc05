"""The pages of exports as tables: for the Hub, TRL, verl and ms-swift."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hlmat.export.image_tables.features import IMAGE_TYPE
from hlmat.export.view.export_files import ExportFiles
from hlmat.export.view.table_rows import FOLDERS, TableRows
from hlmat.pipelines.cli.main import main
from hlmat.transforms.core.errors import DataError, TargetError
from hlmat.transforms.core.storage import LocalStorage

DISC = "hlmat.transforms.segmenters.disc:DiscSegmenter"
SHAPES = (
    *("trajectories", "--dataset", "shapes", "--shapes-images", "2", "--shapes-size", "64x80"),
    *("--segmenter", DISC, "--max-clicks", "2", "--workers", "1", "-q"),
)


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and a folder for each format, with several files."""
    root = tmp_path_factory.mktemp("exports")
    assert main([*SHAPES, "--out", str(root / "run")]) == 0
    for format in FOLDERS:
        flags = ("--format", format, "--unit-size", "3", "-q", "--out", str(root / format))
        assert main(["export", "--from", str(root / "run"), *flags]) == 0
    return root


def steps(exports: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    files = sorted((exports / "run" / "trajectories").iterdir())
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    return [(row, step) for row in rows for step in row["steps"]]


def page_of(exports: Path, format: str) -> ExportFiles:
    folder = str(exports / format)
    return ExportFiles(format, folder, TableRows(folder, format, LocalStorage()))


def content(page: ExportFiles, name: str) -> Any:
    text = (page.read(f"data/{name}.js") or b"").decode("ascii").strip()
    return json.loads(text.removeprefix(f'hlmat.receive("{name}",')[:-2])


@pytest.mark.parametrize(
    ("format", "images"), [("hub", 4), ("trl", 1), ("verl", 1), ("ms-swift", 1)]
)
def test_rows_are_texts_and_images(format: str, images: int, exports: Path) -> None:
    page = page_of(exports, format)
    index, made = content(page, "rows-0"), steps(exports)
    if format != "ms-swift":
        # Its rows are one for each expression.
        assert index["id"] == [row["target_id"] for row, _ in made]
    assert set(index["images"]) == {images}
    assert all(text.startswith("Segment this object: ") for (text,) in index["texts"])
    assert all(" point: " in text for text in index["message"])
    for number in range(page.rows.count):
        row = content(page, f"row-{number}")
        assert row["images"] == images
        assert row["messages"][0]["role"] == "user"
        assert not {"image", "prompt", "completion"} & row.keys()
    assert "gain" in content(page, "row-0") or format != "hub"


@pytest.mark.parametrize("format", FOLDERS)
def test_every_name_is_a_file_and_no_other(format: str, exports: Path) -> None:
    page = page_of(exports, format)
    assert [name for name in page.data_names() if page.read(name) is None] == []
    for job in page.image_jobs():
        files, images, missing = job()
        assert (missing, len(files)) == (0, images + 1)
        assert {name: page.read(name) for name in files} == files
    for name in ("data/row-999.js", "data/rows-1.js", "images/row-0-9.jpg", "images/row-999-0.jpg"):
        assert page.read(name) is None, name


def test_the_index_does_not_read_images(exports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    read = pq.ParquetFile.read_row_group

    def reading(self: pq.ParquetFile, group: int, columns: Any = None, **more: Any) -> pa.Table:
        asked.extend(columns)
        return read(self, group, columns=columns, **more)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", reading)
    page = page_of(exports, "hub")
    page.read("data/rows-0.js")
    assert {"state.path", "prompt"} <= set(asked)
    assert not {"state", "state.bytes"} & set(asked)


def write_states(folder: Path, **columns: Any) -> TableRows:
    (folder / "states").mkdir()
    fields = {"prompt": ["?"], "answer": ["!"], **columns}
    kinds = {"state": IMAGE_TYPE}
    table = pa.table({k: pa.array(v, kinds.get(k, pa.string())) for k, v in fields.items()})
    pq.write_table(table, folder / "states" / "train-00000-of-00001.parquet")
    return TableRows(str(folder), "hub", LocalStorage())


def test_images_that_are_missing_or_damaged_are_named(tmp_path: Path) -> None:
    states = [{"bytes": None, "path": None}, {"bytes": b"no image", "path": None}, None]
    rows = write_states(tmp_path, prompt=["?"] * 3, answer=["!"] * 3, state=states)
    with pytest.raises(TargetError, match="row 0, image 0: it has no content"):
        rows.image(0, 0)
    with pytest.raises(TargetError, match="row 1, image 0"):
        rows.image(1, 0)
    assert rows.image(2, 0) is None
    assert [row.images for row in rows.summaries(0, 3)] == [1, 1, 0]


def test_texts_that_are_missing_are_empty(tmp_path: Path) -> None:
    rows = write_states(tmp_path, prompt=[None], answer=[None])
    assert rows.row(0) == {"messages": [], "images": 0}
    assert rows.summaries(0, 9)[0].question == ""


def test_folders_without_readable_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="states has no Parquet files"):
        TableRows(str(tmp_path), "hub", LocalStorage())
    write_states(tmp_path)
    (tmp_path / "states" / "train-00000-of-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"train-00000-of-00001\.parquet cannot be read"):
        TableRows(str(tmp_path), "hub", LocalStorage())
