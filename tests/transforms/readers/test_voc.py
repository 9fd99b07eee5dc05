"""PASCAL VOC and data in its layout."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as PilImage

from hlmat.transforms.core.errors import ConfigError, LayoutError
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from hlmat.transforms.readers.voc_names import VOC_CLASSES, voc_colour
from reader_fixtures import assert_all_load, image, memory, reasons, split_items

OBJECTS = np.zeros((6, 8), np.uint8)
OBJECTS[1:3, 1:4] = 1
OBJECTS[1:3, 5:7] = 2
OBJECTS[4:, :] = 255
CLASSES = np.select([OBJECTS == 1, OBJECTS == 2, OBJECTS == 255], [15, 11, 255], 0).astype(np.uint8)
CLASSES[1, 1] = 255


def palette_png(values: np.ndarray, mode: str = "P") -> bytes:
    picture = PilImage.fromarray(values).convert("P")
    picture.putdata(values.ravel().tolist())
    colours = [voc_colour(index) for index in range(256)]
    picture.putpalette([c >> shift & 255 for c in colours for shift in (16, 8, 0)])
    buffer = io.BytesIO()
    picture.convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def files(base: str = "VOCdevkit/VOC2012/", mode: str = "P") -> dict[str, bytes]:
    return {
        f"{base}JPEGImages/a.jpg": image(),
        f"{base}JPEGImages/b.jpg": image(),
        f"{base}SegmentationObject/a.png": palette_png(OBJECTS, mode),
        f"{base}SegmentationClass/a.png": palette_png(CLASSES, mode),
        f"{base}ImageSets/Segmentation/train.txt": b"a\n",
        f"{base}ImageSets/Segmentation/val.txt": b"b\nz 1\n",
    }


def open_voc(
    content: dict[str, bytes], mask_values: str | None = None, split: str | None = None
) -> DatasetReader:
    options = ReaderOptions("data", split, memory(content), mask_values=mask_values)
    return open_reader("voc", options)


@pytest.mark.parametrize("base", ["", "VOC2012/", "VOCdevkit/VOC2007/", "mine/"])
@pytest.mark.parametrize("mode", ["P", "RGB"])
def test_objects_are_named_by_their_classes(base: str, mode: str) -> None:
    reader = open_voc(files(base, mode))
    refs, rejects = split_items(reader)
    assert not rejects
    assert [ref.expressions for ref in refs] == (
        [("person",), ("dining table",)] if mode == "P" else [("dining table",), ("person",)]
    )
    assert [ref.object_id for ref in refs] == [0, 1]
    assert_all_load(reader, refs)
    for ref in refs:
        masks = reader.load_truth(ref)
        number = 1 if ref.expressions == ("person",) else 2
        np.testing.assert_array_equal(masks.truth, number == OBJECTS)
        assert masks.ignore is not None
        np.testing.assert_array_equal(masks.ignore, OBJECTS == 255)
    where = base.rstrip("/") or "data"
    assert reader.describe_layout() == f"instances of SegmentationObject at {where}"


def test_ids() -> None:
    refs, _ = split_items(open_voc(files()))
    assert [ref.target_id for ref in refs] == ["voc/train/a:1", "voc/train/a:2"]


def test_classes() -> None:
    reader = open_voc(files(), "classes")
    refs, _ = split_items(reader)
    assert [(r.target_id, r.expressions) for r in refs] == [
        ("voc/train/a:11", ("dining table",)),
        ("voc/train/a:15", ("person",)),
    ]
    np.testing.assert_array_equal(reader.load_truth(refs[1]).truth, CLASSES == 15)


def test_without_objects_there_are_classes() -> None:
    content = {name: data for name, data in files().items() if "SegmentationObject" not in name}
    refs, _ = split_items(open_voc(content))
    assert [r.expressions for r in refs] == [("dining table",), ("person",)]
    with pytest.raises(LayoutError, match="has no SegmentationObject/; leave --mask-values inst"):
        open_voc(content, "instances")


def test_without_classes_objects_have_no_name() -> None:
    content = {name: data for name, data in files().items() if "SegmentationClass" not in name}
    refs, _ = split_items(open_voc(content))
    assert [r.expressions for r in refs] == [("the object",)] * 2


def test_names_of_ones_own() -> None:
    label_map = b"# label:color_rgb:parts:actions\nbackground:0,0,0::\nhuman:192,128,128::\n"
    refs, _ = split_items(open_voc({**files(), "VOCdevkit/VOC2012/labelmap.txt": label_map}))
    assert [r.expressions for r in refs] == [("human",), ("11",)]


def test_images_without_mask_and_names_without_image() -> None:
    refs, rejects = split_items(open_voc(files(), split="val"))
    assert not refs
    assert reasons(rejects) == ["missing_mask", "missing_image"]


def test_masks_of_different_sizes() -> None:
    content = {**files(), "VOCdevkit/VOC2012/SegmentationClass/a.png": palette_png(CLASSES[1:])}
    _, rejects = split_items(open_voc(content))
    assert reasons(rejects) == ["size_mismatch"]


@pytest.mark.parametrize("folder", ["SegmentationClass", "SegmentationObject"])
def test_broken_masks(folder: str) -> None:
    content = {**files(), f"VOCdevkit/VOC2012/{folder}/a.png": b"no image"}
    refs, rejects = split_items(open_voc(content))
    assert not refs
    assert reasons(rejects) == ["unreadable_mask"]


def test_the_split_of_all_masks_needs_no_list() -> None:
    content = {name: data for name, data in files().items() if "ImageSets" not in name}
    refs, _ = split_items(open_voc(content, split="all"))
    assert [r.target_id for r in refs] == ["voc/all/a:1", "voc/all/a:2"]
    with pytest.raises(LayoutError, match=r"has no train.txt; --split can be all here"):
        open_voc(content)


def test_a_missing_list_names_those_that_are_there() -> None:
    with pytest.raises(LayoutError, match=r"has no test.txt; --split can be train, val, all here"):
        open_voc(files(), split="test")


def test_one_object_is_not_asked_of_voc() -> None:
    with pytest.raises(
        ConfigError, match="--mask-values object=15: voc defines the targets itself"
    ):
        open_voc(files(), "object=15")


def test_void_of_ones_own() -> None:
    reader = open_voc(files(), "classes,void=11")
    refs, _ = split_items(reader)
    assert [r.expressions for r in refs] == [("person",), ("255",)]


def test_the_colours_are_those_of_the_development_kit() -> None:
    assert len(VOC_CLASSES) == 21
    assert [f"{voc_colour(i):06X}" for i in (0, 1, 2, 3, 4, 7, 8, 20, 255)] == (
        ["000000", "800000", "008000", "808000", "000080", "808080", "400000", "004080", "E0E0C0"]
    )


def test_the_list_of_a_class_leaves_out_images_without_it() -> None:
    listed = {"VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt": b"a  1\nb -1\nz  0\nb 2 c\n"}
    refs, rejects = split_items(open_voc(files() | listed, split="train"))
    assert {ref.image_name for ref in refs} == {"a.jpg"}
    messages = [reject.message for reject in rejects]
    assert messages == [
        f"JPEGImages has no image with the stem {stem!r}" for stem in ("z", "b 2 c")
    ]
