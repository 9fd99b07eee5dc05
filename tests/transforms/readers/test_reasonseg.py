from __future__ import annotations

import pytest

from hlmat.transforms.core.errors import ConfigError, LayoutError
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from reader_fixtures import (
    as_json,
    assert_all_load,
    image,
    memory,
    reasons,
    split_items,
    truth_error,
)

POINTS = [[1, 1], [5, 1], [5, 4], [1, 4]]
TARGET = {"label": "target", "points": POINTS}
IGNORE = {"label": "ignore", "points": [[4, 3], [8, 3], [8, 6], [4, 6]]}


def content(*shapes: object, text: object = "what one eats from") -> bytes:
    return as_json({"shapes": list(shapes), "text": text, "is_sentence": True})


def open_val(files: dict[str, bytes], *, base: str = "ReasonSeg/") -> DatasetReader:
    storage = memory({f"{base}val/{name}": data for name, data in files.items()})
    return open_reader("reasonseg", ReaderOptions("data", "val", storage))


@pytest.mark.parametrize("base", ["ReasonSeg/", ""])
def test_targets(base: str) -> None:
    reader = open_val(
        {
            "a.jpg": image(),
            "a.json": content(TARGET, IGNORE),
            "b.JPG": image(),
            "b.json": content(TARGET, text=["one", "two"]),
        },
        base=base,
    )
    refs, rejects = split_items(reader)
    assert not rejects
    assert [r.expressions for r in refs] == [("what one eats from",), ("one", "two")]
    assert_all_load(reader, refs)
    masks = reader.load_truth(refs[0])
    assert masks.ignore is not None
    assert masks.ignore.any()
    assert not (masks.ignore & masks.truth).any()
    assert reader.load_truth(refs[1]).ignore is None


def test_the_old_encoding() -> None:
    data = '{"shapes": [], "text": "a café"}'.encode("cp1252")
    refs, _ = split_items(open_val({"a.jpg": image(), "a.json": data}))
    assert refs[0].expressions == ("a café",)


def test_what_cannot_be_listed() -> None:
    refs, rejects = split_items(
        open_val(
            {
                "a.jpg": image(),
                "b.json": content(TARGET),
                "c.jpg": image(),
                "c.json": b"{",
                "d.jpg": image(),
                "d.json": b"[]",
                "e.jpg": image(),
                "e.json": content(TARGET, text=[]),
            }
        )
    )
    assert not refs
    assert reasons(rejects) == ["missing_annotation", "missing_image"] + ["malformed_entry"] * 3


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ([], RejectReason.EMPTY_MASK),
        ([IGNORE], RejectReason.EMPTY_MASK),
        ([{"label": "target", "points": POINTS[:2]}], RejectReason.MALFORMED_SEGMENTATION),
        ([{"label": "target", "points": [[1]]}], RejectReason.MALFORMED_SEGMENTATION),
        (["no shape"], RejectReason.MALFORMED_SEGMENTATION),
        ([TARGET, {"label": "tarjet", "points": POINTS}], RejectReason.MALFORMED_ENTRY),
        ([TARGET, {"label": None, "points": POINTS}], RejectReason.MALFORMED_ENTRY),
    ],
)
def test_bad_shapes(shapes: list[object], reason: RejectReason) -> None:
    reader = open_val({"a.jpg": image(), "a.json": content(*shapes)})
    assert truth_error(reader, split_items(reader)[0][0]).reason is reason


def test_what_labels_mean() -> None:
    flag = {"label": "flag", "points": [[0, 0], [8, 0], [8, 6]]}
    ignored = {**IGNORE, "label": "Ignore_1"}
    reader = open_val({"a.jpg": image(), "a.json": content(flag, ignored, TARGET)})
    plain = open_val({"a.jpg": image(), "a.json": content(TARGET, IGNORE)})
    masks = reader.load_truth(split_items(reader)[0][0])
    expected = plain.load_truth(split_items(plain)[0][0])
    assert (masks.truth == expected.truth).all()
    assert masks.ignore is not None
    assert (masks.ignore == expected.ignore).all()
    wrong = {**TARGET, "label": "tarjet"}
    reader = open_val({"a.jpg": image(), "a.json": content(wrong)})
    error = truth_error(reader, split_items(reader)[0][0])
    assert "a.json: a shape has the label 'tarjet', expected target, ignore or flag" in str(error)


def test_the_image_gives_the_size() -> None:
    reader = open_val({"a.jpg": b"no image", "a.json": content(TARGET)})
    error = truth_error(reader, split_items(reader)[0][0])
    assert error.reason is RejectReason.UNREADABLE_IMAGE


def test_layout_and_split() -> None:
    storage = memory({"ReasonSeg/train/a.jpg": b""})
    with pytest.raises(LayoutError, match="looked for ReasonSeg/val/ and val/; found: ReasonSeg/"):
        open_reader("reasonseg", ReaderOptions("data", "val", storage))
    with pytest.raises(ConfigError, match="did you mean 'val'"):
        open_reader("reasonseg", ReaderOptions("data", "vall", storage))
