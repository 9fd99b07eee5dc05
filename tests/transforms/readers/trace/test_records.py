from __future__ import annotations

import copy
import json
from typing import Any

import pytest

import builders
from hlmat.transforms.core.errors import DataError, TargetError
from hlmat.transforms.core.records import Click, RejectReason, Rle, StopReason
from hlmat.transforms.readers.trace.records import (
    check_record,
    iter_trace_records,
    record_to_trajectory,
)

# 3 x 4: the second column, then the second and third.
FIRST = {"counts": "336", "size": [3, 4]}
SECOND = {"counts": "363", "size": [3, 4]}


def make_record(**changes: Any) -> dict[str, Any]:
    record = {
        "image_name": 581857,
        "height": 3,
        "width": 4,
        "gt_ann": {
            "object_id": 2,
            "caption": ["left cup", "cup"],
            "segmentation": SECOND,
            "bbox": [1, 0, 2, 3],
            "area": 6,
        },
        "clicks_list": [
            {
                "idx": 0,
                "coor": [2, 1],
                "is_positive": True,
                "mask": FIRST,
                "box": [1, 0, 1, 3],
                "area": 3,
                "iou": 0.5,
            },
            {
                "idx": 1,
                "coor": [0, 2],
                "is_positive": True,
                "mask": SECOND,
                "box": [1, 0, 2, 3],
                "area": 6,
                "iou": 1.0,
            },
        ],
    }
    return {**record, **changes}


def as_file(*records: Any) -> bytes:
    return json.dumps({"info": {"args": {}}, "data": records}).encode()


def test_a_foreign_record_becomes_a_trajectory() -> None:
    provenance = builders.provenance("simpleclick")
    t = record_to_trajectory(
        make_record(), dataset="refcoco", split="val", provenance=provenance, image_path="a/b.jpg"
    )
    ref = t.target.ref
    assert (ref.dataset, ref.split, ref.image_path) == ("refcoco", "val", "a/b.jpg")
    assert (ref.image_name, ref.image_id, ref.object_id) == ("581857", 581857, 2)
    assert ref.target_id == "581857/2"
    assert ref.expressions == ("left cup", "cup")
    assert t.target.truth == Rle("363", (3, 4))
    assert [s.action for s in t.steps] == [Click(1, 2, True), Click(2, 0, True)]
    assert [(s.iou, s.gain) for s in t.steps] == [(0.5, 0.5), (1.0, 0.5)]
    assert t.stop_reason is StopReason.UNRECORDED
    assert t.provenance == provenance


def test_a_file_name_and_a_single_caption_are_taken_as_they_are() -> None:
    record = make_record(image_name="b#1 c.jpg")
    record["gt_ann"] = {**record["gt_ann"], "caption": "a cup"}
    ref = record_to_trajectory(record).target.ref
    assert (ref.image_name, ref.image_id, ref.image_path) == ("b#1 c.jpg", None, "b#1 c.jpg")
    assert ref.expressions == ("a cup",)


def test_records_come_in_order_and_a_malformed_one_as_its_error() -> None:
    data = as_file(make_record(), make_record(height=None), make_record(image_name="x"))
    first, second, third = iter_trace_records(data, name="t.json")
    assert first == make_record()
    assert isinstance(second, TargetError)
    assert second.message == "t.json: data[1].height is None, expected int"
    assert isinstance(third, dict)


def changed(path: str, value: Any) -> dict[str, Any]:
    record = copy.deepcopy(make_record())
    *parents, last = path.split(".")
    place: Any = record
    for key in parents:
        place = place[int(key)] if key.isdigit() else place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return record


@pytest.mark.parametrize(
    ("path", "value", "reason", "message"),
    [
        ("image_name", ..., "malformed_entry", "d[0].image_name is missing"),
        ("image_name", True, "malformed_entry", "d[0].image_name is True, expected int or str"),
        ("image_name", 1 << 63, "malformed_entry", "expected an image id or a file name"),
        ("gt_ann.object_id", 1 << 31, "malformed_entry", "expected an index from 0"),
        ("height", 0, "malformed_entry", "d[0]: height and width are (0, 4), expected at least 1"),
        ("gt_ann", [], "malformed_entry", "d[0].gt_ann is [], expected dict"),
        ("gt_ann.caption", [], "malformed_entry", "d[0].gt_ann.caption is [], expected a text or"),
        ("gt_ann.object_id", "2", "malformed_entry", "d[0].gt_ann.object_id is '2', expected int"),
        (
            "gt_ann.segmentation",
            {"counts": [3, 3, 6], "size": [3, 4]},
            "malformed_entry",
            "d[0].gt_ann.segmentation.counts is [3, 3, 6], expected str",
        ),
        (
            "gt_ann.segmentation",
            {"counts": "33", "size": [3, 4]},
            "malformed_segmentation",
            "d[0].gt_ann.segmentation: its runs cover 6 pixels",
        ),
        (
            "gt_ann.segmentation",
            {"counts": "336", "size": [4, 3]},
            "size_mismatch",
            "d[0].gt_ann.segmentation.size is [4, 3], expected [3, 4] (height, width)",
        ),
        ("clicks_list", {}, "malformed_entry", "d[0].clicks_list is {}, expected list"),
        ("clicks_list.1.coor", [0, 4], "malformed_entry", "clicks_list[1].coor is [0, 4], outside"),
        ("clicks_list.0.coor", [0.5, 1], "malformed_entry", "clicks_list[0].coor is [0.5, 1], ex"),
        ("clicks_list.0.iou", 85.2, "malformed_entry", "clicks_list[0].iou is 85.2, expected a n"),
        ("clicks_list.0.mask", ..., "malformed_entry", "d[0].clicks_list[0].mask is missing"),
        ("clicks_list.0.is_positive", "yes", "malformed_entry", "is 'yes', expected bool or int"),
    ],
)
def test_a_malformed_record_is_named_by_index_and_key(
    path: str, value: Any, reason: str, message: str
) -> None:
    with pytest.raises(TargetError) as caught:
        check_record(changed(path, value), where="d[0]")
    assert caught.value.reason is RejectReason(reason)
    assert message in caught.value.message


def test_a_record_that_is_no_object_is_named() -> None:
    with pytest.raises(TargetError, match=r"d\[0\] is 7, expected an object"):
        check_record(7, where="d[0]")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "t.json is not JSON"),
        (b"[" * 100_000, "t.json is not JSON"),
        (b"\xff\xfe\x00", "t.json is not JSON"),
        (b"[]", "t.json is not a trace: found <class 'list'>, expected an object with a list"),
        (b'{"annotations": []}', r"found keys \['annotations'\], expected an object with a list"),
    ],
)
def test_a_file_that_is_no_trace_is_named(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(iter_trace_records(data, name="t.json"))
