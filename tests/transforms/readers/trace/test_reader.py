from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hlmat.transforms.core.errors import DataError, LayoutError
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.masks.rle import encode_mask
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from reader_fixtures import as_json, assert_all_load, image, memory, reasons, split_items


def rle(rows: slice) -> dict[str, Any]:
    mask = np.zeros((6, 8), np.bool_)
    mask[rows, 2:6] = True
    return {"counts": encode_mask(mask).counts, "size": [6, 8]}


def record(name: int | str, number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "image_name": name,
        "height": 6,
        "width": 8,
        "gt_ann": {"object_id": number, "caption": ["a cat", "cat"], "segmentation": rle(slice(3))},
        "clicks_list": [],
        **changes,
    }


def open_trace(
    records: list[Any], *, files: dict[str, bytes] | None = None, annotations: str | None = None
) -> DatasetReader:
    content = as_json({"info": {}, "data": records})
    storage = memory({"trace.json": content, **(files or {})})
    return open_reader("trace", ReaderOptions("data", storage=storage, annotations=annotations))


COCO_NAME = "COCO_train2014_000000000154.jpg"


@pytest.mark.parametrize("folder", ["", "train2014/", "images/mscoco/images/train2014/"])
def test_coco_ids(folder: str) -> None:
    reader = open_trace([record(154, 0), record(154, 1)], files={f"{folder}{COCO_NAME}": image()})
    refs, rejects = split_items(reader)
    assert not rejects
    assert [(r.image_id, r.object_id, r.image_path) for r in refs] == [
        (154, 0, f"{folder}{COCO_NAME}"),
        (154, 1, f"{folder}{COCO_NAME}"),
    ]
    assert refs[0].expressions == ("a cat", "cat")
    assert_all_load(reader, refs)


def test_file_names() -> None:
    reader = open_trace([record("é #1.jpg")], files={"images/é #1.jpg": image()})
    refs, _ = split_items(reader)
    assert refs[0].image_path == "images/é #1.jpg"
    assert_all_load(reader, refs)


def test_what_the_project_wrote_is_found_where_it_was() -> None:
    own = {"target_id": "davis/test/1", "image_path": "DAVIS/img/1.jpg", "license": "CC BY"}
    own["ignore_rle"] = rle(slice(2, 5))["counts"]
    reader = open_trace([record("1.jpg", hlmat=own)], files={"DAVIS/img/1.jpg": image()})
    refs, _ = split_items(reader)
    assert (refs[0].image_path, refs[0].license) == ("DAVIS/img/1.jpg", "CC BY")
    masks = reader.load_truth(refs[0])
    assert masks.ignore is not None
    assert np.flatnonzero(masks.ignore.any(axis=1)).tolist() == [3, 4]


def test_what_cannot_be_used_is_rejected() -> None:
    bad = record("d.jpg")
    bad["gt_ann"] = {**bad["gt_ann"], "segmentation": {"counts": "oo", "size": [6, 8]}}
    refs, rejects = split_items(
        open_trace([record("a.jpg"), record("a.jpg"), record("../b.jpg"), record("c"), bad, {}])
    )
    assert [r.image_name for r in refs] == ["a.jpg", "c"]
    assert sorted(reasons(rejects)) == sorted(
        ["duplicate_id", "path_escapes_root", "malformed_segmentation", "malformed_entry"]
    )


def test_which_file_is_the_trace() -> None:
    with pytest.raises(LayoutError, match=r"holds 2 JSON files.*--annotations"):
        open_trace([], files={"other.json": b"{}"})
    with pytest.raises(LayoutError, match=r"does not contain none\.json"):
        open_trace([], annotations="none.json")
    reader = open_trace([], files={"other.json": b"{}"}, annotations="other.json")
    with pytest.raises(DataError, match=r"other\.json is not a trace"):
        list(reader.read_targets())
