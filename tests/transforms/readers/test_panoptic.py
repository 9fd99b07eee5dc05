"""COCO's panoptic PNG files, as a data set and as the masks of a folder."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from hlmat.transforms.core.errors import DataError, LayoutError
from hlmat.transforms.core.protocols import DatasetReader
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

LARGE = 3 + 256 * 70 + 65536 * 200
IDS = np.zeros((6, 8), np.int64)
IDS[1:3, 1:4] = 7
IDS[3:5, 4:7] = LARGE
IDS[5] = 7 + 256 * 7 + 65536 * 7
GREY = int(IDS[5, 0])


def png(ids: np.ndarray = IDS) -> bytes:
    colours = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=2).astype(np.uint8)
    buffer = io.BytesIO()
    PilImage.fromarray(colours).save(buffer, "PNG")
    return buffer.getvalue()


def content(**annotation: Any) -> bytes:
    segments = [
        {"id": 7, "category_id": 1, "iscrowd": 0},
        {"id": LARGE, "category_id": "2"},
        {"id": GREY, "category_id": 9},
    ]
    entry = {"image_id": 42, "file_name": "a.png", "segments_info": segments} | annotation
    return as_json(
        {
            "images": [{"id": 42, "file_name": "a.jpg", "width": 8, "height": 6}],
            "annotations": [entry],
            "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "grass-merged"}],
        }
    )


def folder(data: bytes | None = None, **files: bytes) -> DatasetReader:
    there = {
        "images/a.jpg": image(),
        "masks/a.png": png(),
        "masks/panoptic.json": data or content(),
    }
    return open_reader("folder", ReaderOptions("data", storage=memory(there | files)))


def test_each_segment_of_a_folder_is_a_target() -> None:
    reader = folder()
    refs, rejects = split_items(reader)
    assert not rejects
    assert [(r.target_id, r.object_id, r.expressions) for r in refs] == [
        ("folder/all/a:7", 0, ("dog",)),
        (f"folder/all/a:{LARGE}", 1, ("grass-merged",)),
        (f"folder/all/a:{GREY}", 2, ("the object",)),
    ]
    assert_all_load(reader, refs)
    for ref, value in zip(refs, (7, LARGE, GREY), strict=True):
        masks = reader.load_truth(ref)
        np.testing.assert_array_equal(masks.truth, value == IDS)
        assert masks.ignore is not None
        np.testing.assert_array_equal(masks.ignore, IDS == 0)
    assert reader.describe_layout().startswith("segments of masks/panoptic.json in masks")


@pytest.mark.parametrize(
    ("annotations", "masks", "images"),
    [
        ("annotations/panoptic_val2017.json", "annotations/panoptic_val2017", "val2017"),
        ("annotations/panoptic_val2017.json", "panoptic_val2017", "images/val2017"),
    ],
)
def test_cocos_own_folders(annotations: str, masks: str, images: str) -> None:
    files = {annotations: content(), f"{masks}/a.png": png(), f"{images}/a.jpg": image()}
    reader = open_reader("coco_panoptic", ReaderOptions("data", storage=memory(files)))
    refs, rejects = split_items(reader)
    assert not rejects
    assert_all_load(reader, refs)
    assert refs[0].target_id == "coco_panoptic/val2017/a:7"
    assert {ref.image_id for ref in refs} == {42}


def test_crowds_and_segments_that_cannot_be_used() -> None:
    segments: list[Any] = [
        {"id": 7, "category_id": 1, "iscrowd": 1},
        {"id": LARGE, "category_id": 2},
        {"id": LARGE, "category_id": 2},
        {"id": 0, "category_id": 2},
        {"id": 1 << 24, "category_id": 2},
        {"id": "x"},
        3,
    ]
    refs, rejects = split_items(folder(content(segments_info=segments)))
    assert [ref.target_id for ref in refs] == [f"folder/all/a:{LARGE}"]
    assert reasons(rejects) == ["crowd", "duplicate_id"] + ["malformed_entry"] * 4


def test_a_segment_that_the_image_does_not_have() -> None:
    reader = folder(content(segments_info=[{"id": 5, "category_id": 1}]))
    (ref,), _ = split_items(reader)
    error = truth_error(reader, ref)
    assert error.reason == "empty_mask"
    assert "masks/a.png has no pixel of object=#050000" in error.message


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ({"segments_info": None}, "malformed_entry"),
        ({"file_name": None}, "malformed_entry"),
        ({"image_id": 1, "file_name": "z.png"}, "missing_image"),
        ({"image_id": 1, "file_name": "../../z.png"}, "path_escapes_root"),
    ],
)
def test_annotations_that_cannot_be_used(annotation: dict[str, Any], reason: str) -> None:
    refs, rejects = split_items(folder(content(**annotation)))
    assert not refs
    assert reasons(rejects) == [reason]


def test_a_mask_outside_the_root_is_not_read() -> None:
    reader = folder(content(file_name="../../a.png"))
    refs, _ = split_items(reader)
    assert truth_error(reader, refs[0]).reason == "path_escapes_root"


def test_an_image_that_is_listed_twice_counts_once() -> None:
    data = content().replace(b'"annotations": [', b'"annotations": [{"image_id": 42, ', 1)
    data = data.replace(b'{"image_id": 42, {', b'{"image_id": 42, "segments_info": []}, {', 1)
    _, rejects = split_items(folder(data))
    assert reasons(rejects)[-1] == "duplicate_id"


def test_mask_values_come_before_the_json_file() -> None:
    there = {"images/a.jpg": image(), "masks/a.png": png(), "masks/panoptic.json": content()}
    options = ReaderOptions("data", storage=memory(there), mask_values="instances")
    refs, _ = split_items(open_reader("folder", options))
    assert [r.target_id for r in refs] == [
        "folder/all/a:#0346C8",
        "folder/all/a:#070000",
        "folder/all/a:#070707",
    ]


def test_several_json_files() -> None:
    with pytest.raises(LayoutError, match=r"panoptic_b.json and masks/panoptic.json; name one"):
        folder(**{"panoptic_b.json": content()})


def test_a_json_file_of_something_else() -> None:
    with pytest.raises(DataError, match="expected a list under 'annotations'"):
        list(folder(b"{}").read_targets())


def test_layout() -> None:
    for files, match in (
        ({"a.txt": b""}, "annotations/panoptic_val2017.json does not exist"),
        ({"annotations/panoptic_val2017.json": content()}, "has no folder of PNG files"),
    ):
        with pytest.raises(LayoutError, match=match):
            open_reader("coco_panoptic", ReaderOptions("data", storage=memory(files)))
