"""Mask images of classes and instances, as every reader of mask images takes them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as PilImage

from hlmat.transforms.core.errors import ConfigError, DataError
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.readers.class_names import read_class_names
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from reader_fixtures import assert_all_load, image, memory, reasons, split_items, truth_error

LEVELS = np.zeros((6, 8), np.uint8)
LEVELS[1:3, 1:4] = 1
LEVELS[3:5, 4:7] = 8
LEVELS[5] = 255


Colours = dict[int, tuple[int, int, int]]


def mask(values: np.ndarray = LEVELS, colours: Colours | None = None) -> bytes:
    picture = PilImage.fromarray(values)
    if colours is not None:
        picture = picture.convert("P")
        picture.putdata(values.ravel().tolist())
        picture.putpalette([c for i in range(256) for c in colours.get(i, (0, 0, 0))])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def open_folder(
    mask_values: str | None = None, files: dict[str, bytes] | None = None, name: str = "folder"
) -> DatasetReader:
    content = {"images/a.jpg": image(), "masks/a.png": mask()} | (files or {})
    return open_reader(
        name, ReaderOptions("data", storage=memory(content), mask_values=mask_values)
    )


def test_more_than_two_levels_are_a_reject_that_lists_them() -> None:
    reader = open_folder()
    (ref,), _ = split_items(reader)
    error = truth_error(reader, ref)
    assert error.reason == "ambiguous_mask"
    assert error.message.startswith("masks/a.png has 4 levels, not one object on a background: 0: ")
    assert "--mask-values object=1,void=255" in error.message


@pytest.mark.parametrize("colours", [None, {1: (128, 0, 0), 8: (64, 0, 0), 255: (224, 224, 192)}])
def test_an_object_and_void(colours: Colours | None) -> None:
    reader = open_folder("void=255,object=8", {"masks/a.png": mask(colours=colours)})
    (ref,), rejects = split_items(reader)
    assert not rejects
    assert ref.target_id == "folder/all/a"
    masks = reader.load_truth(ref)
    np.testing.assert_array_equal(masks.truth, LEVELS == 8)
    assert masks.ignore is not None
    np.testing.assert_array_equal(masks.ignore, LEVELS == 255)


def test_several_levels_are_one_object() -> None:
    reader = open_folder("object=1,8")
    (ref,), _ = split_items(reader)
    np.testing.assert_array_equal(reader.load_truth(ref).truth, np.isin(LEVELS, (1, 8)))


def test_classes_have_a_target_each_with_their_names() -> None:
    files = {"classes.txt": "1: red  car\n8: tree\n".encode("utf-8-sig")}
    reader = open_folder("classes,void=255", files)
    refs, rejects = split_items(reader)
    assert not rejects
    assert [(r.target_id, r.object_id, r.expressions) for r in refs] == [
        ("folder/all/a:1", 0, ("red car",)),
        ("folder/all/a:8", 1, ("tree",)),
    ]
    for ref, code in zip(refs, (1, 8), strict=True):
        masks = reader.load_truth(ref)
        np.testing.assert_array_equal(masks.truth, code == LEVELS)
        assert masks.ignore is not None
        np.testing.assert_array_equal(masks.ignore, LEVELS == 255)
    assert_all_load(reader, refs)


def test_classes_without_names_are_called_by_their_levels() -> None:
    refs, _ = split_items(open_folder("classes"))
    assert [r.expressions for r in refs] == [("1",), ("8",), ("255",)]


def test_instances_have_a_target_each() -> None:
    refs, _ = split_items(open_folder("instances,void=255", {"classes.txt": b"1 car"}))
    assert [(r.target_id, r.expressions) for r in refs] == [
        ("folder/all/a:1", ("the object",)),
        ("folder/all/a:8", ("the object",)),
    ]


def test_colours_have_names_by_colour() -> None:
    colours = {1: (128, 0, 0), 8: (64, 0, 0), 255: (224, 224, 192)}
    rgb = PilImage.open(io.BytesIO(mask(colours=colours))).convert("RGB")
    files = {
        "labelmap.txt": b"# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:128,0,0::\n"
    }
    files["masks/a.png"] = mask(np.asarray(rgb))
    refs, _ = split_items(open_folder("classes,void=#e0e0c0", files))
    assert [(r.target_id, r.expressions) for r in refs] == [
        ("folder/all/a:#400000", ("#400000",)),
        ("folder/all/a:#800000", ("car",)),
    ]


def test_a_class_called_0_is_one() -> None:
    refs, _ = split_items(open_folder("classes,void=255", {"classes.json": b'{"0": "wall"}'}))
    assert [r.expressions for r in refs] == [("wall",), ("1",), ("8",)]
    refs, _ = split_items(
        open_folder("classes", {"classes.json": b'{"0":"Background","255":"void"}'})
    )
    assert [r.expressions for r in refs] == [("1",), ("8",)]


def test_masks_that_cannot_be_listed_are_rejects() -> None:
    files = {
        "images/b.jpg": image(),
        "masks/b.png": b"no image",
        "images/c.jpg": image(),
        "masks/c.png": mask(np.zeros((6, 8), np.uint8)),
    }
    refs, rejects = split_items(open_folder("classes,void=255", files))
    assert len(refs) == 2
    assert reasons(rejects) == ["unreadable_mask", "empty_mask"]


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("berkeley", {"Berkeley/images/a.jpg": image(), "Berkeley/masks/a.png": mask()}),
        ("grabcut", {"data_GT/a.jpg": image(), "boundary_GT/a.png": mask()}),
        ("ecssd", {"ecssd/a.jpg": image(), "ecssd/a.png": mask()}),
        ("dis5k", {"DIS5K/DIS-TR/im/a.jpg": image(), "DIS5K/DIS-TR/gt/a.png": mask()}),
    ],
)
def test_every_reader_of_mask_images(name: str, files: dict[str, bytes]) -> None:
    reader = open_folder("object=8,void=255", files, name)
    (ref,), _ = split_items(reader)
    np.testing.assert_array_equal(reader.load_truth(ref).truth, LEVELS == 8)
    assert len(split_items(open_folder("instances,void=255", files, name))[0]) == 2


def test_only_mask_images_have_levels() -> None:
    match = "--mask-values classes: this does not go with shapes; .*folder"
    with pytest.raises(ConfigError, match=match):
        open_reader("shapes", ReaderOptions(mask_values="classes"))


def test_the_option_is_checked() -> None:
    with pytest.raises(ConfigError, match="mask_values 'object': expected object=15"):
        ReaderOptions("data", mask_values="object")


@pytest.mark.parametrize(
    ("name", "data", "names"),
    [
        ("classes.txt", b"cat\ndog\n", {1: "cat", 2: "dog"}),
        ("classes.txt", b"__ignore__\n_background_\ncat", {0: "_background_", 1: "cat"}),
        ("classes.txt", b"# my classes\n13 big  cat\n\n7,dog\n", {13: "big cat", 7: "dog"}),
        ("classes.txt", "1=chat\r\n2=été".encode("utf-16"), {1: "chat", 2: "été"}),
        ("classes.json", b'{"13": "cat"}', {13: "cat"}),
        ("classes.json", b'{"cat": 13}', {13: "cat"}),
        ("classes.json", b'["background", "cat"]', {0: "background", 1: "cat"}),
        ("classes.json", b'[{"id": 13, "name": "cat"}]', {13: "cat"}),
        ("categories.json", b'{"categories": [{"id": 13, "name": "cat"}]}', {13: "cat"}),
    ],
)
def test_names_of_classes(name: str, data: bytes, names: dict[int, str]) -> None:
    found = read_class_names(memory({name: data}), "data")
    assert dict(found.by_value) == names
    assert found.path == f"data/{name}"


@pytest.mark.parametrize(
    ("name", "data", "match"),
    [
        ("classes.json", b"{", r"data/classes.json is not JSON"),
        ("classes.json", b"3", "has no names of classes; expected"),
        ("classes.json", b'{"x": "cat"}', "'x' is not a level; expected a number or #RRGGBB"),
        ("classes.txt", b"1 cat\n1 dog", "level 1 is named 'cat' and 'dog'"),
        ("classes.txt", b"1 cat\n2 caf\xe9", r"line 2 is not UTF-8 text \(byte 0xE9\); save"),
    ],
)
def test_names_that_cannot_be_read(name: str, data: bytes, match: str) -> None:
    with pytest.raises(DataError, match=match):
        open_folder("classes", {name: data})
