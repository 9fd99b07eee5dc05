from __future__ import annotations

import json
import re

import pytest

from hlmat.transforms.core.errors import DataError, LayoutError, TargetError
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.readers.folder import FolderReader
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from reader_fixtures import (
    as_json,
    assert_all_load,
    image,
    mask_image,
    memory,
    split_items,
    turned_image,
)

PAIRS = {
    "images/a #1.jpg": image(),
    "masks/a #1.png": mask_image(),
    "images/sub/é.png": image(kind="PNG"),
    "masks/sub/é.png": mask_image(),
}


def open_folder(files: dict[str, bytes]) -> DatasetReader:
    return open_reader("folder", ReaderOptions("data", storage=memory(PAIRS | files)))


def test_without_captions() -> None:
    reader = open_folder({})
    refs, rejects = split_items(reader)
    assert not rejects
    assert [r.image_path for r in refs] == ["images/a #1.jpg", "images/sub/é.png"]
    assert {r.expressions for r in refs} == {("the object",)}
    assert_all_load(reader, refs)


@pytest.mark.parametrize("header", ["file,caption", "file_name,text", "id,caption,image"])
def test_csv(header: str) -> None:
    columns = header.split(",")
    rows = [("a #1.jpg", "the cat"), ("a #1.jpg", '"a cat, red"'), ("sub/é.png", "eau")]
    lines = [header]
    for file, caption in rows:
        value = {columns[0]: "0", "caption": caption, "text": caption}
        value |= dict.fromkeys(("file", "file_name", "image"), file)
        lines.append(",".join(value[c] for c in columns))
    refs, _ = split_items(open_folder({"captions.csv": "\r\n".join(lines).encode("utf-8-sig")}))
    assert [r.expressions for r in refs] == [("the cat", "a cat, red"), ("eau",)]


def test_jsonl() -> None:
    rows = [{"file": "a #1.jpg", "caption": "the cat"}, {"file": "sub/é.png", "caption": "eau"}]
    data = b"\n".join(as_json(row) for row in rows) + b"\n\n"
    refs, _ = split_items(open_folder({"captions.jsonl": data}))
    assert [r.expressions for r in refs] == [("the cat",), ("eau",)]


@pytest.mark.parametrize(
    ("name", "data", "match"),
    [
        ("captions.csv", b"a,b\n1,2", "'file' and 'caption'.*found a, b"),
        ("captions.csv", b"file,caption\nz.jpg,cat", r"not in images/: 'z.jpg' \(line 2\)"),
        ("captions.csv", b"file,caption\na,b,c", "line 2 has more columns than the first line"),
        ("captions.csv", b"", "'file' and 'caption', found nothing"),
        ("captions.csv", b"file,caption\na,\xe9t\xe9", r"line 2 is not UTF-8 text \(byte 0xE9\)"),
        ("captions.csv", b"caption,file\ncat,", "line 2: expected texts"),
        ("captions.csv", b'file,caption\n"a', "not a CSV"),
        ("captions.jsonl", b"{", "line 1 is not JSON"),
        ("captions.jsonl", b"\n" + b"[" * 100_000, "line 2 is not JSON"),
        ("captions.jsonl", b"[1]", "line 1: expected texts"),
        ("captions.jsonl", b'{"file": "a", "caption": 3}', "line 1: expected texts"),
        ("captions.jsonl", b'{"file": "a", "caption": ["x", 3]}', "line 1: expected texts"),
        ("captions.json", b"{", "captions.json is not JSON"),
        ("captions.json", b"3", "expected a list of rows or captions by file"),
        ("captions.json", b"[3]", "entry 1: expected texts"),
    ],
)
def test_bad_captions(name: str, data: bytes, match: str) -> None:
    with pytest.raises(DataError, match=match):
        list(open_folder({name: data}).read_targets())


def test_captions_by_stem_and_by_file_name_add_up_in_their_order() -> None:
    data = b"file,caption\na #1,one\na #1.jpg,two\na #1,three"
    refs, _ = split_items(open_folder({"captions.csv": data}))
    assert refs[0].expressions == ("one", "two", "three")


def test_unknown_files_are_reported_before_the_first_target() -> None:
    rows = "".join(f"z{i}.jpg,cat\n" for i in range(7))
    targets = open_folder({"captions.csv": b"file,caption\n" + rows.encode()}).read_targets()
    with pytest.raises(DataError, match=r"'z0.jpg' \(line 2\), .*'z4.jpg' \(line 6\) and 2 more"):
        next(iter(targets))


def test_of_two_masks_the_lossless_one_is_taken_and_the_other_counted() -> None:
    refs, rejects = split_items(open_folder({"masks/a #1.jpg": b"a preview"}))
    assert [json.loads(r.truth_ref)["mask"] for r in refs] == ["masks/a #1.png", "masks/sub/é.png"]
    assert [(r.reason, r.message) for r in rejects] == [
        (
            "duplicate_id",
            "a #1.jpg has the stem of a #1.png, which was taken; keep one of the two masks",
        )
    ]


def test_two_kinds_of_captions() -> None:
    with pytest.raises(LayoutError, match="keep one of them"):
        open_folder({"captions.csv": b"", "captions.jsonl": b""})


def test_layout() -> None:
    storage = memory({"images/a.jpg": image(), "labels/a.png": b""})
    with pytest.raises(LayoutError, match=r"masks/ missing.*found: images/, labels/"):
        open_reader("folder", ReaderOptions("data", storage=storage))


def test_what_macos_keeps_beside_files() -> None:
    junk = ("images/._a #1.jpg", "masks/._a #1.png", "masks/.hidden/x.png", "__MACOSX/images/b.jpg")
    refs, rejects = split_items(open_folder(dict.fromkeys(junk, b"junk")))
    assert not rejects
    assert len(refs) == 2


def test_masks_as_gif() -> None:
    reader = open_folder({"images/b.jpg": image(), "masks/b_mask.gif": mask_image(kind="GIF")})
    refs, rejects = split_items(reader)
    assert not rejects
    assert [r.image_path for r in refs] == ["images/a #1.jpg", "images/b.jpg", "images/sub/é.png"]
    assert_all_load(reader, refs)


@pytest.mark.parametrize(
    ("files", "remark"),
    [
        (["images/a #1.txt", "images/notes.txt"], "images/a #1.txt is not read: .*1 text file has"),
        (["captions/a #1.txt"], "captions/ is not read: captions are read from captions"),
    ],
)
def test_captions_in_places_that_are_not_read(files: list[str], remark: str) -> None:
    reader = open_folder(dict.fromkeys(files, b"the cat"))
    assert isinstance(reader, FolderReader)
    assert [bool(re.search(remark, text)) for text in reader.remarks()] == [True]


@pytest.mark.parametrize(("orientation", "is_clear"), [(1, True), (0, True), (9, True), (3, False)])
def test_an_image_that_keeps_its_size_when_turned(orientation: int, is_clear: bool) -> None:
    reader = open_folder({"images/a #1.jpg": turned_image((6, 8), orientation)})
    if is_clear:
        assert reader.load_image("images/a #1.jpg", size_hw=(6, 8)).shape == (6, 8, 3)
        return
    with pytest.raises(TargetError, match=r"keeps its size.*save the image without the tag"):
        reader.load_image("images/a #1.jpg", size_hw=(6, 8))


@pytest.mark.parametrize("separator", [";", "|"])
def test_csv_that_names_its_separator(separator: str) -> None:
    text = f"sep={separator}\r\nfile{separator}caption\r\na #1.jpg{separator}a cat, red\r\n"
    refs, _ = split_items(open_folder({"captions.csv": text.encode()}))
    assert [r.expressions for r in refs] == [("a cat, red",), ("the object",)]


def test_a_pointer_in_place_of_an_image() -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"
    reader = open_folder({"images/a #1.jpg": pointer})
    with pytest.raises(TargetError, match=r"it is a pointer of Git LFS.*run `git lfs pull` there"):
        reader.load_image("images/a #1.jpg", size_hw=(6, 8))
