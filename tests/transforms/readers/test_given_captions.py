"""Captions of a folder: which files are read, whose they are, and what is said of the rest."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.errors import LayoutError
from hlmat.transforms.readers.folder import FolderReader
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from reader_fixtures import as_json, image, mask_image, memory, split_items

NONE = "the object"


def open_folder(
    files: dict[str, bytes | str], *, images: tuple[str, ...] = ("a.jpg", "b.jpg")
) -> FolderReader:
    content = {f"images/{name}": image() for name in images}
    content |= {f"masks/{name.rpartition('.')[0]}.png": mask_image() for name in images}
    content |= {k: v.encode() if isinstance(v, str) else v for k, v in files.items()}
    reader = open_reader("folder", ReaderOptions("data", storage=memory(content)))
    assert isinstance(reader, FolderReader)
    return reader


def texts(reader: FolderReader) -> list[str]:
    refs, _ = split_items(reader)
    return ["; ".join(ref.expressions) for ref in refs]


ROWS = [{"file_name": "a.jpg", "text": "red box"}, {"file_name": "b.jpg", "text": "cup"}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("captions.csv", "file,caption\na.jpg,red box\nb.jpg,cup\n"),
        ("captions.csv", "\ufefffile;caption\r\na.jpg;red box\r\nb.jpg;cup\r\n"),
        ("captions.csv", "file\tcaption\na.jpg\tred box\nb.jpg\tcup\n".encode("utf-16")),
        ("captions.csv", " File Name , Text \na.jpg, red box \nb.jpg,cup"),
        ("captions.tsv", "file\tcaption\na.jpg\tred box\nb.jpg\tcup\n"),
        ("captions.csv", 'file,expressions\na.jpg,"[""red box""]"\nb.jpg,cup'),
        ("captions.csv", "mask,sent\na.png,red box\nmasks/b.png,cup"),
        ("captions.csv", "file,raw\nimages\\a.jpg,red box\n.\\images\\b.jpg,cup"),
        ("captions.csv", "file,caption\n/data/x/images/a.jpg,red box\nC:\\d\\images\\b.jpg,cup"),
        ("captions.jsonl", LINES),
        ("captions.json", json.dumps(ROWS)),
        ("captions.json", '{"a.jpg": "red box", "b": ["cup"]}'),
        ("captions.json", '{"a.jpg": {"sentences": [{"sent": "red box"}]}, "b.jpg": "cup"}'),
        (
            "captions.json",
            '{"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}], '
            '"annotations": [{"image_id": 2, "caption": "cup"}, {"image_id": 1, '
            '"caption": "red box"}]}',
        ),
        ("metadata.jsonl", LINES),
        ("metadata.csv", "file_name,text\na.jpg,red box\nb.jpg,cup"),
        ("metadata.csv", "file_name,text\nimages/a.jpg,red box\nimages/b.jpg,cup"),
        ("images/metadata.jsonl", LINES),
        ("images/captions.csv", "image,caption\na.jpg,red box\nb.jpg,cup"),
    ],
)
def test_files_of_captions(name: str, content: str | bytes) -> None:
    reader = open_folder({name: content})
    assert texts(reader) == ["red box", "cup"]
    assert reader.describe_layout() == (
        f"images and masks in data, captions: {name}; 2 of 2 targets have one"
    )
    assert reader.remarks() == []


def test_several_captions_of_an_image_each_once() -> None:
    rows = "a.jpg, red box\na.jpg,red  box\na,the\u00a0box on the left\na.jpg,red box\n"
    reader = open_folder({"captions.csv": "file,caption\n" + rows})
    assert texts(reader)[0] == "red box; the box on the left"


def test_texts_are_made_fit_to_be_said() -> None:
    reader = open_folder({"captions.jsonl": as_json({"file": "a", "text": " red\nbox\x1b "})})
    assert texts(reader)[0] == "red box"


def test_without_captions_the_layout_says_so() -> None:
    reader = open_folder({})
    assert reader.describe_layout().endswith("none; 0 of 2 targets have one")
    assert reader.remarks() == []


def test_blank_captions_are_none_and_are_counted() -> None:
    reader = open_folder({"captions.csv": "file,caption\na.jpg,\nb.jpg,cup\nb.jpg,  \n"})
    assert texts(reader) == [NONE, "cup"]
    assert reader.remarks() == [
        "captions.csv has no text in 2 rows: 'a.jpg' (line 2), 'b.jpg' (line 4)",
        "1 of 2 targets have no caption",
    ]


@pytest.mark.parametrize("blank", [None, "", [], [" "], [{"sent": ""}]])
def test_blanks_of_json(blank: object) -> None:
    rows = [{"file": "a.jpg", "caption": blank}, {"file": "b.jpg", "caption": "cup"}]
    assert texts(open_folder({"captions.json": as_json(rows)})) == [NONE, "cup"]


def test_the_first_column_that_says_something_is_taken() -> None:
    rows = [
        {"file": "a", "caption": "", "sent": "red box", "raw": "Red box!"},
        {"file": "b", "text": "cup", "raw": "Cup"},
    ]
    assert texts(open_folder({"captions.json": as_json(rows)})) == ["red box", "cup"]


def test_rows_without_an_image_are_reported() -> None:
    reader = open_folder({"metadata.jsonl": LINES + '{"file_name": "c.jpg", "text": "x"}'})
    assert texts(reader) == ["red box", "cup"]
    assert reader.remarks() == [
        "metadata.jsonl has captions for files that are not there, 1 row: 'c.jpg' (line 3)"
    ]


def test_captions_come_before_metadata_which_is_reported() -> None:
    reader = open_folder({"captions.csv": "file,caption\na,x\nb,y", "images/metadata.jsonl": LINES})
    assert texts(reader) == ["x", "y"]
    assert reader.remarks() == ["images/metadata.jsonl is not read: captions.csv is"]


def test_metadata_without_captions_are_reported() -> None:
    reader = open_folder({"metadata.csv": "file_name,width\na.jpg,8\n"})
    assert texts(reader) == [NONE, NONE]
    assert reader.remarks() == [
        "metadata.csv is not used: it has no column of files and of captions"
    ]


@pytest.mark.parametrize(
    "name",
    [
        "captions.txt",
        "captions.yaml",
        "my_captions.parquet",
        "images/metadata.parquet",
    ],
)
def test_files_that_may_hold_captions_are_reported(name: str) -> None:
    (remark,) = open_folder({name: b"?", "classes.txt": b"", "README.txt": b""}).remarks()
    assert remark.startswith(f"{name} is not read: captions are read from captions or metadata")


@pytest.mark.parametrize(
    "names", [("captions.csv", "captions.json"), ("metadata.csv", "metadata.jsonl")]
)
def test_two_files_of_one_name(names: tuple[str, str]) -> None:
    with pytest.raises(LayoutError, match=f"data has both {names[0]} and {names[1]}; keep one"):
        open_folder(dict.fromkeys(names, b""))


def test_metadata_of_sub_folders() -> None:
    files: dict[str, bytes | str] = {
        f"images/{part}/metadata.jsonl": as_json({"file_name": "a.jpg", "text": part})
        for part in ("day", "night")
    }
    reader = open_folder(files, images=("day/a.jpg", "night/a.jpg"))
    assert texts(reader) == ["day", "night"]
    assert "images/day/metadata.jsonl, images/night/metadata.jsonl" in reader.describe_layout()


def test_names_are_compared_whatever_their_unicode_form() -> None:
    reader = open_folder(
        {"captions.csv": "file,caption\ne\u0301.jpg,water"}, images=("\u00e9.jpg",)
    )
    assert texts(reader) == ["water"]


class TestSeveralTargets:
    FILES = {"images/cup.jpg": image(), "masks/cup_0.png": mask_image()} | {
        "masks/cup_1.png": mask_image()
    }

    @pytest.mark.parametrize("name", ["cup_1.png", "masks/cup_1.png", "cup_1"])
    def test_a_mask_has_its_own_caption(self, name: str) -> None:
        reader = open_folder({**self.FILES, "captions.csv": f"file,caption\n{name},red"}, images=())
        assert texts(reader) == [NONE, "red"]

    def test_a_caption_of_the_image_is_nobodys(self) -> None:
        reader = open_folder({**self.FILES, "captions.csv": "file,caption\ncup.jpg,red"}, images=())
        assert texts(reader) == [NONE, NONE]
        assert reader.remarks() == [
            "captions.csv has captions for images with several targets, 1 row, which are not used: "
            "'cup.jpg' (line 2); name the mask of each target instead",
            "2 of 2 targets have no caption",
        ]

    def test_a_row_with_image_and_mask_is_about_the_mask(self) -> None:
        rows = "image,mask,caption\ncup.jpg,cup_0.png,blue\ncup.jpg,cup_1.png,red"
        reader = open_folder({**self.FILES, "captions.csv": rows}, images=())
        assert texts(reader) == ["blue", "red"]


@given(st.lists(st.text(), min_size=1))
def test_json_lines_give_any_text_or_none(captions: list[str]) -> None:
    data = b"\n".join(as_json({"file": "a.jpg", "caption": text}) for text in captions)
    refs, _ = split_items(open_folder({"captions.jsonl": data}))
    found = refs[0].expressions
    assert found == (NONE,) or all(text == " ".join(text.split()) for text in found)


@pytest.mark.parametrize("column", ["description", "Prompt", "phrase"])
def test_other_names_of_the_caption_count_where_no_better_one_is(column: str) -> None:
    reader = open_folder({"captions.csv": f"file,{column}\na,x\nb,y"})
    assert texts(reader) == ["x", "y"]
    both = open_folder({"captions.csv": f"file,{column},text\na,x,cup\nb,y,"})
    assert texts(both) == ["cup", NONE]
