"""gRefCOCO, whose refs name several objects or none, and RRSIS-D.

The fixtures follow what https://github.com/henghuiding/ReLA (`grefer.py`) and
https://github.com/Lsan2401/RMSIN (`refer.py`) read.
"""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from hlmat.transforms.core.errors import LayoutError
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from reader_fixtures import (
    SQUARE,
    as_json,
    assert_all_load,
    image,
    memory,
    reasons,
    split_items,
    truth_error,
)

NAME = "COCO_train2014_000000000001.jpg"
RIGHT = {"size": [6, 8], "counts": [36, 12]}


def a_ref(ref_id: int, ann_id: object, **changes: Any) -> dict[str, Any]:
    return {
        "ref_id": ref_id,
        "ann_id": ann_id,
        "image_id": 1,
        "category_id": [1],
        "split": "val",
        "file_name": NAME,
        "sentences": [{"sent": "both", "raw": "both", "sent_id": 0}],
        **changes,
    }


def instances(**changes: Any) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = [
        {"id": 10, "segmentation": [SQUARE]},
        {"id": 11, "segmentation": RIGHT},
        {"id": 12, "segmentation": {"size": [6, 8], "counts": [0, 48]}, "iscrowd": 1},
        {"id": 13, "segmentation": []},
    ]
    return {
        "images": [{"id": 1, "file_name": NAME, "height": 6, "width": 8}],
        "annotations": [{"image_id": 1, "iscrowd": 0, **entry} for entry in annotations],
        "categories": [],
        **changes,
    }


def open_grefs(refs: list[Any], *, as_pickle: bool = False) -> DatasetReader:
    files = {
        "grefcoco/instances.json": as_json(instances()),
        f"images/train2014/{NAME}": image(),
    }
    if as_pickle:
        files["grefcoco/grefs(unc).p"] = pickle.dumps(refs)
    else:
        files["grefcoco/grefs(unc).json"] = as_json(refs)
    return open_reader("grefcoco", ReaderOptions("data", "val", memory(files)))


@pytest.mark.parametrize("as_pickle", [False, True])
@pytest.mark.parametrize(
    ("ann_id", "area"),
    [
        ([10], 12),
        (10, 12),
        ([10, 11], 24),
        (["10", 11.0], 24),
        ([11, 10, 11], 24),
        # Crowds are left out, as in the authors' code, and what has no pixel adds none.
        ([10, 12], 12),
        ([10, 13], 12),
    ],
)
def test_the_truth_is_the_union(ann_id: object, area: int, *, as_pickle: bool) -> None:
    reader = open_grefs([a_ref(1, ann_id), a_ref(2, [10], split="train")], as_pickle=as_pickle)
    refs, rejects = split_items(reader)
    assert not rejects
    assert [ref.target_id for ref in refs] == ["grefcoco/unc/val/1"]
    assert_all_load(reader, refs)
    assert reader.load_truth(refs[0]).truth.sum() == area


@pytest.mark.parametrize("ann_id", [[-1], -1, [-1.0]])
@pytest.mark.parametrize("stated", [True, None])
def test_no_target_is_an_empty_truth(ann_id: object, stated: bool | None) -> None:
    more = {} if stated is None else {"no_target": stated}
    reader = open_grefs([a_ref(1, ann_id, **more)])
    refs, rejects = split_items(reader)
    assert not rejects
    truth = reader.load_truth(refs[0]).truth
    assert truth.shape == (6, 8)
    assert not truth.any()


@pytest.mark.parametrize(
    ("changes", "reason", "message"),
    [
        ({"ann_id": []}, "malformed_entry", "ann_id is [], expected ids, or -1 for no target"),
        ({"ann_id": None}, "malformed_entry", "ann_id is None, expected ids"),
        ({"ann_id": [10, -1]}, "malformed_entry", "ann_id is [10, -1], expected ids"),
        ({"no_target": True}, "malformed_entry", "no_target is true, but ann_id is [10]"),
        (
            {"no_target": False, "ann_id": [-1]},
            "malformed_entry",
            "no_target is false, but ann_id is [-1]",
        ),
        ({"ann_id": [10, 77]}, "missing_annotation", "instances.json lacks annotation 77"),
        ({"ann_id": [12]}, "crowd", "names crowds alone"),
        ({"sentences": [{"sent": " "}]}, "malformed_entry", "has no sentence"),
    ],
)
def test_what_rejects_say(changes: dict[str, Any], reason: str, message: str) -> None:
    _, rejects = split_items(open_grefs([{**a_ref(1, [10]), **changes}]))
    assert reasons(rejects) == [reason]
    assert message in rejects[0].message


def test_objects_without_a_pixel_are_not_the_same_as_no_target() -> None:
    reader = open_grefs([a_ref(1, [13])])
    assert truth_error(reader, split_items(reader)[0][0]).reason is RejectReason.EMPTY_MASK


def test_one_target_alone_is_no_list_elsewhere() -> None:
    files = {
        "refcoco/refs(unc).p": pickle.dumps([a_ref(1, [10])]),
        "refcoco/instances.json": as_json(instances()),
    }
    _, rejects = split_items(open_reader("refcoco", ReaderOptions("data", "val", memory(files))))
    assert "ann_id is [10], expected an id" in rejects[0].message


def test_the_layout() -> None:
    with pytest.raises(LayoutError, match=r"looked for grefcoco/grefs\(unc\)\.json"):
        open_reader("grefcoco", ReaderOptions("data", storage=memory({})))


@pytest.mark.parametrize("base", ["", "refer_seg/"])
def test_rrsis_d(base: str) -> None:
    # Run lengths in a list, names and images of its own.
    content = instances(
        images=[{"id": 1, "file_name": "00001.jpg", "height": 6, "width": 8}],
        annotations=[{"id": 1, "image_id": 1, "iscrowd": 0, "segmentation": [RIGHT]}],
    )
    files = {
        f"{base}rrsisd/refs(unc).p": pickle.dumps([a_ref(1, 1, file_name="00001.jpg")], 2),
        f"{base}rrsisd/instances.json": as_json(content),
        f"{base}images/rrsisd/JPEGImages/00001.jpg": image(),
    }
    reader = open_reader("rrsisd", ReaderOptions("data", "val", memory(files)))
    refs, rejects = split_items(reader)
    assert not rejects
    assert refs[0].image_path == f"{base}images/rrsisd/JPEGImages/00001.jpg"
    assert_all_load(reader, refs)
    assert reader.load_truth(refs[0]).truth.sum() == 12
