"""The page of an exported training set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hlmat.export.llama_factory.writer import export_next_click
from hlmat.export.view.export_files import ExportFiles
from hlmat.export.view.json_rows import open_training_set
from hlmat.transforms.core.errors import DataError, TargetError
from hlmat.transforms.core.storage import LocalStorage
from viewed_runs import DrawnImages, clicked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    out = tmp_path / "sft"
    export_next_click([clicked(0, 10, 20), clicked(1, 15)], DrawnImages().of_target, str(out))
    return out


def page_of(folder: Path) -> ExportFiles:
    return ExportFiles("sft", str(folder), open_training_set(str(folder), LocalStorage()))


def content(page: ExportFiles, name: str) -> Any:
    text = (page.read(f"data/{name}.js") or b"").decode("ascii").strip()
    return json.loads(text.removeprefix(f'hlmat.receive("{name}",')[:-2])


def test_rows_are_those_of_the_file(folder: Path) -> None:
    page = page_of(folder)
    index = content(page, "rows-0")
    assert index["id"] == ["t0", "t0", "t1"]
    assert index["images"] == [1, 1, 1]
    written = json.loads((folder / "next_click.json").read_text(encoding="ascii"))
    for number, row in enumerate(written):
        assert content(page, f"row-{number}") == {**row, "images": 1}
        assert index["message"][number] == row["messages"][1]["content"]


def test_every_name_is_a_file_and_no_other(folder: Path) -> None:
    page = page_of(folder)
    names = [*page.data_names()]
    assert len(names) == 1 + 1 + 3
    assert [name for name in names if page.read(name) is None] == []
    made = [job() for job in page.image_jobs()]
    assert [(sorted(files), images, missing) for files, images, missing in made] == [
        ([f"images/row-{n}-0.jpg", f"thumbs/row-{n}-0.jpg"], 1, 0) for n in range(3)
    ]
    for files, _, _ in made:
        assert {name: page.read(name) for name in files} == files
    for name in ("data/row-3.js", "data/rows-1.js", "images/row-0-1.jpg", "next_click.json"):
        assert page.read(name) is None, name


@pytest.mark.parametrize("name", ["../outside.png", "/etc/passwd", "link.png", "gone.png"])
def test_images_outside_the_folder_are_not_read(folder: Path, name: str) -> None:
    (folder.parent / "outside.png").write_bytes(b"secret")
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    rows = open_training_set(str(folder), LocalStorage())
    rows.rows[0]["images"] = [name]
    page = ExportFiles("sft", str(folder), rows)
    with pytest.raises(TargetError):
        page.read("images/row-0-0.jpg")
    assert next(iter(page.image_jobs()))() == ({}, 0, 1)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}", r"expected a list of rows, got \{\}"),
        ("[1]", "row 0: expected a list as its messages, got None"),
        ('[{"messages": [], "images": "abc"}]', "row 0: expected a list as its images, got 'abc'"),
        ('[{"messages": [], "images": [1]}]', r"row 0: its images must be names, got \[1\]"),
        ('[{"messages": ["a"], "images": []}]', "row 0: a message must have texts as role and"),
        ('[{"messages": [{"role": "user"}], "images": []}]', "row 0: a message must have texts"),
    ],
)
def test_rows_of_other_forms_are_named(folder: Path, text: str, problem: str) -> None:
    (folder / "next_click.json").write_text(text, encoding="ascii")
    with pytest.raises(DataError, match=rf"next_click\.json is not a file .*{problem}"):
        open_training_set(str(folder), LocalStorage())


def test_a_file_outside_the_folder_is_not_read(folder: Path) -> None:
    info = '{"next_click": {"file_name": "../rows.json"}}'
    (folder / "dataset_info.json").write_text(info, encoding="ascii")
    (folder.parent / "rows.json").write_text("[]", encoding="ascii")
    with pytest.raises(DataError, match=r"info\.json: file_name '\.\./rows\.json' leads out"):
        open_training_set(str(folder), LocalStorage())


@pytest.mark.parametrize("text", ["[", "[1]", '[{"messages": [{}], "images": []}]', "{}x"])
def test_damaged_rows_are_named(folder: Path, text: str) -> None:
    (folder / "next_click.json").write_text(text, encoding="ascii")
    with pytest.raises(DataError, match=r"next_click\.json is not a file of a training set"):
        open_training_set(str(folder), LocalStorage())
