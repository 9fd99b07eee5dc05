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
    turned_image,
)

POINTS = [[1, 1], [5, 1], [5, 4], [1, 4]]
TARGET = {"label": "target", "points": POINTS}
IGNORE = {"label": "ignore", "points": [[4, 3], [8, 3], [8, 6], [4, 6]]}


def content(*shapes: object, text: object = "what one eats from", **more: object) -> bytes:
    return as_json({"shapes": list(shapes), "text": text, "is_sentence": True, **more})


def recorded(size_hw: tuple[int, int] | None) -> dict[str, object]:
    return {} if size_hw is None else {"imageHeight": size_hw[0], "imageWidth": size_hw[1]}


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


def test_shapes_of_other_types() -> None:
    box = {"label": "target", "points": [[5, 4], [7, 6]], "shape_type": "rectangle"}
    ring = {"label": "ignore", "points": [[1, 5], [2, 5]], "shape_type": "circle"}
    reader = open_val({"a.jpg": image(), "a.json": content(TARGET, box, ring)})
    masks = reader.load_truth(split_items(reader)[0][0])
    assert masks.truth.sum() == 12 + 4
    assert masks.ignore is not None
    assert masks.ignore[5, 1]


@pytest.mark.parametrize(
    ("size_hw", "scale"),
    [((12, 16), 2), ((12.0, 16), 2), ((3, 4), 0.5), ((600, 801), 100), ((6, 8), 1)],
)
def test_shapes_of_another_size_are_scaled(size_hw: tuple[int, int], scale: float) -> None:
    shape = {"label": "target", "points": [[x * scale, y * scale] for x, y in POINTS]}
    reader = open_val({"a.jpg": image(), "a.json": content(shape, **recorded(size_hw))})
    truth = reader.load_truth(split_items(reader)[0][0]).truth
    assert truth.shape == (6, 8)
    assert truth.sum() == 12


@pytest.mark.parametrize("size_hw", [(8, 6), (12, 12), (6, 10)])
def test_a_size_that_is_no_scaled_one(size_hw: tuple[int, int]) -> None:
    reader = open_val({"a.jpg": image(), "a.json": content(TARGET, **recorded(size_hw))})
    error = truth_error(reader, split_items(reader)[0][0])
    assert error.reason is RejectReason.SIZE_MISMATCH
    assert f"has 8 x 6 pixels, its JSON file records {size_hw[1]} x {size_hw[0]}" in str(error)


@pytest.mark.parametrize(
    ("orientation", "size_hw", "points", "is_turned"),
    [
        # labelme shows images turned, and records that size.
        (6, None, POINTS, True),
        (6, (8, 6), POINTS, True),
        (3, None, POINTS, True),
        (3, (6, 8), POINTS, True),
        (6, (16, 12), POINTS, True),
        # What does not fit the turned image was drawn on the stored one, and the reverse.
        (6, None, [[0, 0], [8, 0], [8, 4]], False),
        (6, (6, 8), [[0, 0], [8, 0], [8, 4]], False),
        (6, (6, 8), [[0, 0], [4, 0], [4, 8]], True),
    ],
)
def test_images_that_are_turned(
    orientation: int, size_hw: tuple[int, int] | None, points: list[list[int]], *, is_turned: bool
) -> None:
    shape = {"label": "target", "points": points}
    files = {
        "a.jpg": turned_image((6, 8), orientation),
        "a.json": content(shape, **recorded(size_hw)),
    }
    reader = open_val(files)
    ref = split_items(reader)[0][0]
    truth = reader.load_truth(ref).truth
    pixels = reader.load_image(ref.image_path, size_hw=(truth.shape[0], truth.shape[1]))
    # The stored image is dark on the left: turned by 6 at the top, by 3 on the right.
    dark = {1: pixels[:, 0], 6: pixels[0], 3: pixels[:, -1]}[orientation if is_turned else 1]
    assert dark.mean() < 60


def test_a_turned_image_whose_shapes_fit_both_ways() -> None:
    files = {"a.jpg": turned_image((6, 8), 6), "a.json": content(TARGET, **recorded((6, 8)))}
    reader = open_val(files)
    error = truth_error(reader, split_items(reader)[0][0])
    assert error.reason is RejectReason.SIZE_MISMATCH
    assert "is turned by its EXIF tag (orientation 6)" in str(error)


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


@pytest.mark.parametrize("path", ["b.jpg", "../val/b.jpg", "C:\\data\\b.jpg"])
def test_shapes_that_were_drawn_on_another_image(path: str) -> None:
    files = {"a.jpg": image(), "b.jpg": image(), "b.json": content(TARGET)}
    refs, (reject,) = split_items(open_val(files | {"a.json": content(TARGET, imagePath=path)}))
    assert [ref.image_name for ref in refs] == ["b.jpg"]
    assert reject.reason is RejectReason.MALFORMED_ENTRY
    assert reject.message == (
        f"a.json has the imagePath {path!r}, another image of its folder, expected 'a.jpg'; give "
        "the JSON file the name of the image that its shapes were drawn on, or correct imagePath"
    )


@pytest.mark.parametrize("path", ["a.jpg", "..\\images\\a.jpg", "renamed-since.jpg", None, 7])
def test_an_image_path_that_names_no_other_image(path: object) -> None:
    files = {"a.jpg": image(), "b.jpg": image(), "a.json": content(TARGET, imagePath=path)}
    refs, _ = split_items(open_val(files))
    assert [ref.image_name for ref in refs] == ["a.jpg"]


@pytest.mark.parametrize("encoding", ["gbk", "euc-kr", "shift-jis"])
def test_an_encoding_that_nothing_names(encoding: str) -> None:
    text = {"gbk": "红色的盒子", "euc-kr": "빨간상자", "shift-jis": "カメラ"}[encoding]
    data = f'{{"shapes": [], "text": "{text}"}}'.encode(encoding)
    _, rejects = split_items(open_val({"a.jpg": image(), "a.json": data}))
    assert [r.reason for r in rejects] == [RejectReason.MALFORMED_ENTRY]
    assert rejects[0].message.endswith("encoding cp1252; save it as UTF-8")


def test_adjacent_letters_of_the_old_encoding() -> None:
    data = '{"shapes": [], "text": "die Größe „so…“"}'.encode("cp1252")
    refs, _ = split_items(open_val({"a.jpg": image(), "a.json": data}))
    assert refs[0].expressions == ("die Größe „so…“",)
