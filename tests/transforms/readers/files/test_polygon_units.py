"""Polygons in percent of an image's sides are not taken for pixels without a word."""

from __future__ import annotations

from typing import Any

import pytest

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.readers.files.ids import Table
from hlmat.transforms.readers.files.polygon_units import (
    apart_remark,
    check_units,
    is_apart,
    percent_extent,
    percent_remark,
)

SQUARE = [[10.0, 20.0, 50.0, 20.0, 50.0, 60.0, 10.0, 60.0]]
IMAGES = Table([{"id": 1, "height": 480, "width": 640}, {"id": 2, "height": 90, "width": 120}])


def annotation(**fields: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 1, "segmentation": SQUARE, **fields}


def test_a_box_in_pixels_betrays_percent() -> None:
    with pytest.raises(TargetError) as caught:
        check_units(annotation(bbox=[64, 96, 256, 192]), size_hw=(480, 640), name="annotation 1")
    assert caught.value.message == (
        "annotation 1: malformed segmentation: its polygons lie between 0 and 100 and its bbox, "
        "[64, 96, 256, 192], fits them as percent of the image's 640 x 480 pixels; multiply x by "
        "the width and y by the height, and divide by 100"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"bbox": [10, 20, 40, 40]},
        {"bbox": [0, 0, 1, 1]},
        {"bbox": [64, 96, 256, 0]},
        {"bbox": ["64", 96, 256, 192]},
        {"bbox": None},
        {"segmentation": {"counts": [1], "size": [1, 1]}, "bbox": [64, 96, 256, 192]},
        {"segmentation": [[100, 200, 500, 200, 500, 600]], "bbox": [64, 96, 256, 192]},
    ],
)
def test_other_boxes_say_nothing(fields: dict[str, Any]) -> None:
    check_units(annotation(**fields), size_hw=(480, 640), name="annotation 1")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"bbox": [300, 20, 40, 40]}, True),
        ({"bbox": [10, 81, 40, 40]}, True),
        ({"bbox": [10, 20, 40, 40]}, False),
        ({"bbox": [50, 60, 40, 40]}, False),
        ({"bbox": [0, 0, 640, 480]}, False),
        ({"segmentation": [[100, 200, 500, 200, 500, 600]], "bbox": [501, 96, 9, 9]}, True),
        ({"segmentation": [[100, 200, 500, 200, 500, 600]], "bbox": [0.1, 0.1, 0.5, 0.5]}, False),
        ({"segmentation": [[100, 200, 500, 200, 500, 600]], "bbox": [0, 0, 0, 0]}, False),
        ({"segmentation": [[]], "bbox": [501, 96, 9, 9]}, False),
        ({"segmentation": [["1", 2]], "bbox": [501, 96, 9, 9]}, False),
        ({"segmentation": {}, "bbox": [501, 96, 9, 9]}, False),
        ({"bbox": ["1", 2, 3, 4]}, False),
        ({}, False),
    ],
)
def test_boxes_apart_from_their_polygons(fields: dict[str, Any], *, expected: bool) -> None:
    assert is_apart(annotation(**fields)) is expected


def test_annotations_with_a_box_apart_are_listed() -> None:
    assert apart_remark([]) is None
    assert apart_remark(["7"]) == (
        "an annotation has a bbox that does not overlap its polygons, so one of the two may have "
        "been scaled, cropped or mirrored without the other: 7; check these objects with "
        "`hlmat view`"
    )
    remark = apart_remark(map(str, range(6)))
    assert remark is not None
    assert remark.startswith("6 annotations have a bbox")
    assert remark.endswith("without the other: 0, 1, 2, 3; check these objects with `hlmat view`")


def test_an_image_of_a_hundred_pixels_is_the_same_in_both() -> None:
    check_units(annotation(bbox=[10, 20, 40, 40]), size_hw=(100, 100), name="annotation 1")


def test_a_file_whose_polygons_are_all_in_a_corner_is_remarked_on() -> None:
    remark = percent_remark([annotation(), annotation(id=2)], IMAGES)
    assert remark is not None
    assert remark.startswith(
        "all 2 polygons of the file lie within the first 100 pixels of larger images; if they are "
        "in percent of the sides"
    )


@pytest.mark.parametrize(
    "other",
    [
        annotation(image_id=2),
        annotation(image_id=9),
        annotation(segmentation=[[10, 20, 150, 20, 150, 60]]),
        annotation(segmentation=[[0.1, 0.2, 0.5, 0.2, 0.5, 0.6]]),
        annotation(segmentation=[]),
    ],
)
def test_one_other_polygon_is_enough_against_it(other: dict[str, Any]) -> None:
    assert percent_remark([annotation(), other], IMAGES) is None
    assert percent_remark([], IMAGES) is None


def test_the_extent_covers_all_polygons() -> None:
    assert percent_extent([*SQUARE, [0, 0, 5, 5, 90, 1]]) == (0, 0, 90, 60)
    assert percent_extent([*SQUARE, "x"]) is None
