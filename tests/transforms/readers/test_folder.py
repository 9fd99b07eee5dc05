from __future__ import annotations

import pytest
from reader_fixtures import as_json, assert_all_load, mask_picture, memory, picture, split_items

from transforms.errors import DataError, LayoutError
from transforms.protocols import DatasetReader
from transforms.readers.registry import ReaderOptions, open_reader

PAIRS = {
    "images/a #1.jpg": picture(),
    "masks/a #1.png": mask_picture(),
    "images/sub/é.png": picture(kind="PNG"),
    "masks/sub/é.png": mask_picture(),
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
        ("captions.csv", b"file,caption\nz.jpg,cat", "not in images/: 'z.jpg'"),
        ("captions.csv", b"file,caption\na #1.jpg,", "line 2: expected texts"),
        ("captions.csv", b"\xff\xfe", "UTF-8"),
        ("captions.csv", b'file,caption\n"a', "not a CSV"),
        ("captions.jsonl", b"{", "line 1 is not JSON"),
        ("captions.jsonl", b"[1]", "line 1: expected texts"),
        ("captions.jsonl", b'{"file": "a", "caption": 3}', "line 1: expected texts"),
    ],
)
def test_bad_captions(name: str, data: bytes, match: str) -> None:
    with pytest.raises(DataError, match=match):
        list(open_folder({name: data}).read_targets())


def test_two_kinds_of_captions() -> None:
    with pytest.raises(LayoutError, match="keep one of them"):
        open_folder({"captions.csv": b"", "captions.jsonl": b""})


def test_layout() -> None:
    storage = memory({"images/a.jpg": picture(), "labels/a.png": b""})
    with pytest.raises(LayoutError, match=r"masks/ missing.*found: images/, labels/"):
        open_reader("folder", ReaderOptions("data", storage=storage))
