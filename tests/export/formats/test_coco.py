"""COCO files: read by pycocotools and by our own reader, ids kept, bytes repeatable."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotated_data import read_coco, write_coco
from hlmat.export.formats.coco import ScoredAnnotation, coco_json, read_coco_source
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.storage import LocalStorage
from hlmat.transforms.masks.rle import encode_mask
from trajectory_cases import HALF, TRUTH, make_trajectory

PATH = "annotations/instances_val2017.json"


def scored(
    target_id: str = "t", *, mask: Any = TRUTH, score: float | None = 0.5, **changes: Any
) -> ScoredAnnotation:
    of_coco = {"dataset": "coco", "split": "val2017"} if target_id.startswith("coco/") else {}
    ref = replace(make_trajectory().target.ref, **(of_coco | changes))
    return ScoredAnnotation(target_id, ref, encode_mask(mask), score)


def read(path: Path, content: bytes) -> Any:
    path.write_bytes(content)
    return read_coco(path)


def test_pycocotools_reads_the_masks_of_any_data_set(tmp_path: Path) -> None:
    annotations = [
        scored("a", image_path="p/1.png", expressions=("left cup", "cup")),
        scored("b", image_path="p/2.png", mask=HALF, score=None),
        scored("c", image_path="p/1.png", mask=HALF),
    ]
    content = coco_json(annotations, description="kept")
    assert content == coco_json(annotations, description="kept")
    coco = read(tmp_path / "kept.json", content)
    assert [coco.imgs[i]["file_name"] for i in (1, 2)] == ["p/1.png", "p/2.png"]
    assert [a["id"] for a in coco.loadAnns(coco.getAnnIds(imgIds=[1]))] == [1, 3]
    first = coco.anns[1]
    assert np.array_equal(coco.annToMask(first).astype(bool), TRUTH)
    assert (first["bbox"], first["area"], first["iscrowd"]) == ([50, 20, 100, 60], 6000, 0)
    assert (first["caption"], first["score"], first["category_id"]) == ("left cup", 0.5, 1)
    assert coco.anns[2]["score"] is None
    assert coco.cats == {1: {"id": 1, "name": "object"}}


def test_a_source_s_ids_and_fields_are_kept(tmp_path: Path) -> None:
    written = write_coco(tmp_path)
    source = read_coco_source(LocalStorage(), str(tmp_path / PATH))
    annotations = [scored("coco/val2017/11", mask=TRUTH), scored("coco/val2017/31", mask=HALF)]
    coco = read(tmp_path / "kept.json", coco_json(annotations, description="x", source=source))
    assert list(coco.imgs.values()) == written["images"][:2]
    assert list(coco.cats.values()) == written["categories"]
    first = coco.anns[11]
    assert (first["image_id"], first["category_id"]) == (7, 18)
    assert first["attributes"] == {"occluded": True}
    assert np.array_equal(coco.annToMask(coco.anns[31]).astype(bool), HALF)


def test_an_annotation_that_is_gone_is_named(tmp_path: Path) -> None:
    write_coco(tmp_path)
    source = read_coco_source(LocalStorage(), str(tmp_path / PATH))
    with pytest.raises(DataError, match="annotation 99 is no longer in the instances file"):
        coco_json([scored("coco/val2017/99")], description="x", source=source)


def test_of_annotations_with_one_id_that_counts_which_the_reader_took(tmp_path: Path) -> None:
    content = write_coco(tmp_path)
    content["annotations"] += [{"id": 50, "image_id": 7}, {"id": 50, "image_id": 3}, 9, {"id": []}]
    (tmp_path / PATH).write_text(json.dumps(content))
    source = read_coco_source(LocalStorage(), str(tmp_path / PATH))
    assert source.annotations.all_of("50")[0]["image_id"] == 7


def test_text_ids_are_found_again(tmp_path: Path) -> None:
    content = write_coco(tmp_path)
    content["images"][0]["id"] = "b/1"
    content["annotations"] += [{"id": "a/50", "image_id": "b/1"}]
    (tmp_path / PATH).write_text(json.dumps(content))
    source = read_coco_source(LocalStorage(), str(tmp_path / PATH))
    written = coco_json([scored("coco/val2017/a/50")], description="x", source=source)
    assert [a["id"] for a in json.loads(written)["annotations"]] == ["a/50"]
    assert [i["id"] for i in json.loads(written)["images"]] == ["b/1"]


def test_an_empty_mask_has_a_box_without_sides() -> None:
    content = json.loads(coco_json([scored(mask=np.zeros_like(TRUTH))], description="x"))
    assert (content["annotations"][0]["bbox"], content["annotations"][0]["area"]) == ([0] * 4, 0)
