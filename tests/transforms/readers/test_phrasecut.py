"""PhraseCut; the fixtures follow the description of its files in the authors' README."""

from __future__ import annotations

from typing import Any

import pytest

from hlmat.transforms.core.errors import DataError, LayoutError
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from reader_fixtures import as_json, assert_all_load, image, memory, reasons, split_items

LEFT = [[1, 1], [3, 1], [3, 4], [1, 4]]
RIGHT = [[5, 1], [7, 1], [7, 4], [5, 4]]


def a_task(task_id: str = "7__1", **changes: Any) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "image_id": 7,
        "ann_ids": [1],
        "instance_boxes": [[1, 1, 2, 3]],
        "Polygons": [[LEFT]],
        "phrase": "black cup",
        **changes,
    }


def open_tasks(
    tasks: object, *, base: str = "", folder: str = "images", sizes: object = None
) -> DatasetReader:
    listed = [{"image_id": 7, "coco_id": None, "width": 8, "height": 6, "split": "val"}]
    files = {
        f"{base}refer_val.json": as_json(tasks),
        f"{base}image_data_split3000.json": as_json(listed if sizes is None else sizes),
        f"{base}{folder}/7.jpg": image(),
    }
    return open_reader("phrasecut", ReaderOptions("data", "val", memory(files)))


@pytest.mark.parametrize("base", ["", "VGPhraseCut_v0/"])
@pytest.mark.parametrize("folder", ["images", "VG_100K_2"])
def test_a_phrase_names_all_its_regions(base: str, folder: str) -> None:
    both = a_task("7__2", Polygons=[[LEFT], [RIGHT]], phrase=" cups ")
    reader = open_tasks([both, a_task()], base=base, folder=folder)
    refs, rejects = split_items(reader)
    assert not rejects
    assert [(r.target_id, r.expressions) for r in refs] == [
        ("phrasecut/val/7__1", ("black cup",)),
        ("phrasecut/val/7__2", ("cups",)),
    ]
    assert_all_load(reader, refs)
    assert [int(reader.load_truth(ref).truth.sum()) for ref in refs] == [6, 12]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task_id": "7__1"}, "duplicate_id"),
        ({"task_id": None}, "malformed_entry"),
        ({"image_id": "x"}, "malformed_entry"),
        ({"phrase": " "}, "malformed_entry"),
        ({"image_id": 8}, "missing_annotation"),
        ({"Polygons": None}, "malformed_segmentation"),
        ({"Polygons": [LEFT]}, "malformed_segmentation"),
        ({"Polygons": [[[[1]]]]}, "malformed_segmentation"),
    ],
)
def test_what_cannot_be_used(changes: dict[str, Any], reason: str) -> None:
    refs, rejects = split_items(open_tasks([a_task(), {**a_task("7__2"), **changes}]))
    assert len(refs) == 1
    assert reasons(rejects) == [reason]


def test_the_files_themselves() -> None:
    with pytest.raises(DataError, match=r"refer_val\.json is a dict, expected a list"):
        list(open_tasks({}).read_targets())
    with pytest.raises(LayoutError, match=r"looked for refer_train\.json"):
        open_reader("phrasecut", ReaderOptions("data", storage=memory({})))
