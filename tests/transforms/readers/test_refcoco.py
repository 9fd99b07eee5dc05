from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from hlmat.transforms.core.errors import ConfigError, DataError, LayoutError, TargetError
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.core.storage import LocalStorage, MemoryStorage
from hlmat.transforms.readers.files.images import load_image_file
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

IMAGES = "images/mscoco/images/train2014"


def a_ref(ref_id: object, **changes: Any) -> dict[str, Any]:
    return {
        "ref_id": ref_id,
        "ann_id": 10,
        "image_id": 1,
        "split": "train",
        "file_name": "COCO_train2014_000000000999_7.jpg",
        "sentences": [{"sent": "left one", "raw": "Left one!"}],
        "category_id": 1,
        **changes,
    }


def instances(**annotation: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "height": 6, "width": 8}, {"id": 2, "height": 6, "width": None}],
        "annotations": [
            {"id": 10, "image_id": 1, "segmentation": [SQUARE], "iscrowd": 0, **annotation}
        ],
        "categories": [],
    }


def open_refs(
    refs: object,
    *,
    name: str = "refcoco",
    split: str = "train",
    content: object = None,
    base: str = "",
    by: str = "unc",
) -> DatasetReader:
    storage = memory(
        {
            f"{base}{name}/refs({by}).p": pickle.dumps(refs, 2),
            f"{base}{name}/instances.json": as_json(instances() if content is None else content),
            f"{base}{IMAGES}/COCO_train2014_000000000001.jpg": image(),
            f"{base}images/saiapr_tc-12/00/images/1.jpg": image(),
        }
    )
    options = ReaderOptions("data", split, storage, split_by=None if by in ("unc", "umd") else by)
    return open_reader(name, options)


TURNED = {**instances(), "images": [{"id": 1, "height": 8, "width": 6}]}


class Locked(MemoryStorage):
    """Lists files, and forbids reading them."""

    def read_bytes(self, path: str) -> bytes:
        raise PermissionError(13, "Permission denied", path)


class TestRealSample:
    def test_targets(self, shared_data: Path) -> None:
        root = str(shared_data / "refcoco_mini")
        reader = open_reader("refcoco", ReaderOptions(root, "testB"))
        refs, rejects = split_items(reader)
        assert not rejects
        assert [(r.image_id, r.object_id) for r in refs] == [(154, 0), (154, 1), (605, 0), (605, 1)]
        # One ref lists "middle zebra" three times.
        assert sum(len(ref.expressions) for ref in refs) == 12
        assert refs[2].expressions[0] == "clear glass"
        assert refs[2].image_path == f"{IMAGES}/COCO_train2014_000000000605.jpg"
        assert_all_load(reader, refs)

    def test_a_split_that_is_not_there(self, shared_data: Path) -> None:
        root = str(shared_data / "refcoco_mini")
        reader = open_reader("refcoco", ReaderOptions(root, "val"))
        with pytest.raises(ConfigError, match=r"--split 'val'.*there are: testB"):
            list(reader.read_targets())


@pytest.mark.parametrize("base", ["", "refer_seg/"])
def test_both_roots(base: str) -> None:
    reader = open_refs([a_ref(5)], base=base)
    refs, _ = split_items(reader)
    assert refs[0].image_path == f"{base}{IMAGES}/COCO_train2014_000000000001.jpg"
    assert_all_load(reader, refs)


@pytest.mark.parametrize("folder", ["images/train2014", "train2014"])
def test_images_beside_the_folder_of_the_refs(folder: str) -> None:
    storage = memory(
        {
            "refer_seg/refcoco/refs(unc).p": pickle.dumps([a_ref(5)]),
            "refer_seg/refcoco/instances.json": as_json(instances()),
            f"{folder}/COCO_train2014_000000000001.jpg": image(),
        }
    )
    reader = open_reader("refcoco", ReaderOptions("data", storage=storage))
    refs, _ = split_items(reader)
    assert refs[0].image_path == f"{folder}/COCO_train2014_000000000001.jpg"
    assert_all_load(reader, refs)


@pytest.mark.parametrize(
    "place",
    [
        "train2017/000000000001.jpg",
        "images/train2017/000000000001.jpg",
        "val2017/000000000001.jpg",
        "images/mscoco/images/train2017/000000000001.jpg",
        "coco/train2014/COCO_train2014_000000000001.jpg",
    ],
)
def test_coco_s_other_names_for_an_image(place: str) -> None:
    storage = memory(
        {
            "refcoco/refs(unc).p": pickle.dumps([a_ref(5)]),
            "refcoco/instances.json": as_json(instances()),
            place: image(),
        }
    )
    reader = open_reader("refcoco", ReaderOptions("data", storage=storage))
    refs, _ = split_items(reader)
    assert refs[0].image_path == place
    assert_all_load(reader, refs)


@pytest.mark.parametrize("name", ["own.jpg", "sub\\own.jpg"])
def test_the_name_in_instances(name: str) -> None:
    content = instances()
    content["images"][0]["file_name"] = name
    storage = memory(
        {
            "refcoco/refs(unc).p": pickle.dumps([a_ref(5)]),
            "refcoco/instances.json": as_json(content),
            f"train2014/{name}".replace("\\", "/"): image(),
        }
    )
    reader = open_reader("refcoco", ReaderOptions("data", storage=storage))
    refs, _ = split_items(reader)
    assert_all_load(reader, refs)
    content["images"][0]["file_name"] = "../../../../../own.jpg"
    _, rejects = split_items(open_refs([a_ref(5)], content=content))
    assert reasons(rejects) == ["path_escapes_root"]


def test_text_ids() -> None:
    content = instances(id="x", image_id="1")
    refs, rejects = split_items(open_refs([a_ref("r/1", ann_id="x")], content=content))
    assert not rejects
    assert (refs[0].target_id, refs[0].image_id) == ("refcoco/unc/train/r/1", 1)


def test_an_annotation_id_that_occurs_again_is_reported_once() -> None:
    content = instances()
    content["annotations"].append({"id": "10", "image_id": 1, "segmentation": [[0, 0, 2, 0, 2, 2]]})
    reader = open_refs([a_ref(5), a_ref(6)], content=content)
    refs, rejects = split_items(reader)
    assert [int(reader.load_truth(ref).truth.sum()) for ref in refs] == [12, 12]
    assert [(r.ref.target_id, r.message) for r in rejects] == [
        (
            "refcoco/unc/train/annotation-10",
            "annotation id 10 occurs again in instances.json, 1 more time; the first counts",
        )
    ]


def test_an_annotation_of_another_image_is_not_taken() -> None:
    content = instances()
    content["images"][1]["width"] = 8
    content["annotations"][0]["image_id"] = 2
    content["annotations"].append({"id": 10, "image_id": 1, "segmentation": [SQUARE]})
    refs, rejects = split_items(open_refs([a_ref(5)], content=content))
    assert not refs
    assert rejects[0].message == (
        "refcoco/unc/train/5: annotation 10 is of image 2, not of image 1, and the id occurs again"
    )


def test_an_image_in_doubt() -> None:
    content = instances()
    content["images"].append({"id": 1, "height": 6, "width": 8, "file_name": "b.jpg"})
    _, rejects = split_items(open_refs([a_ref(5)], content=content))
    assert reasons(rejects) == ["duplicate_id"]


def test_sentences_that_say_nothing() -> None:
    sentences = [{"sent": " "}, {"sent": "", "raw": " Red\none "}, {"sent": "Red one"}, "cup"]
    refs, rejects = split_items(
        open_refs([a_ref(5, sentences=sentences), a_ref(6, sentences=[{"sent": "  "}])])
    )
    assert refs[0].expressions == ("Red one", "cup")
    assert [r.message for r in rejects] == ["refcoco/unc/train/6 has no sentence"]


def test_a_missing_image_is_found_on_loading() -> None:
    reader = open_refs([a_ref(5)])
    with pytest.raises(TargetError, match=r"data/images/none\.jpg does not exist") as caught:
        reader.load_image("images/none.jpg", size_hw=(6, 8))
    assert caught.value.reason is RejectReason.MISSING_IMAGE


def test_a_name_that_no_disk_can_hold_is_a_missing_image(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="does not exist") as caught:
        load_image_file(LocalStorage(), str(tmp_path), "\ud800.jpg", size_hw=(6, 8))
    assert caught.value.reason is RejectReason.MISSING_IMAGE


def test_an_image_turned_against_its_mask() -> None:
    reader = open_refs([a_ref(5)], content=TURNED)
    refs, _ = split_items(reader)
    size_hw = reader.load_truth(refs[0]).truth.shape
    assert size_hw == (8, 6)
    with pytest.raises(TargetError, match="has 8 x 6 pixels, its mask 6 x 8") as caught:
        reader.load_image(refs[0].image_path, size_hw=(8, 6))
    assert caught.value.reason is RejectReason.SIZE_MISMATCH


def test_a_crowd_is_a_target_like_any_other() -> None:
    content = instances(segmentation={"size": [6, 8], "counts": [40, 8]}, iscrowd=1)
    reader = open_refs([a_ref(5)], content=content)
    refs, rejects = split_items(reader)
    assert not rejects
    assert reader.load_truth(refs[0]).truth.sum() == 8


@pytest.mark.parametrize("split", [None, ["train"], ...])
def test_a_ref_without_a_split_is_reported_in_every_split(split: object) -> None:
    odd = a_ref(6, split=split)
    if split is ...:
        del odd["split"]
    refs, rejects = split_items(open_refs([a_ref(5), odd]))
    assert len(refs) == 1
    assert reasons(rejects) == ["malformed_entry"]
    assert "refcoco/unc/train/6: split is" in rejects[0].message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sentences": []}, "refcoco/unc/train/6 has no sentence"),
        ({"ann_id": -10}, "ann_id is -10, expected an id"),
        ({"ann_id": 77}, "instances.json lacks annotation 77"),
        ({"image_id": 77}, "is of image 77, which is not listed"),
        ({"image_id": 2}, "has the height 6 and the width None; expected whole numbers"),
        ({"ref_id": 5}, "ref id 5 occurs again"),
    ],
)
def test_what_rejects_say(changes: dict[str, Any], message: str) -> None:
    _, rejects = split_items(open_refs([a_ref(5), {**a_ref(6), **changes}]))
    assert len(rejects) == 1
    assert message in rejects[0].message


@pytest.mark.parametrize(
    ("name", "by", "says"),
    [
        ("refcoco", "unc", False),
        ("refcoco", "google", False),
        ("refcoco+", "unc", False),
        ("refcocog", "umd", False),
        ("refcocog", "google", True),
        ("refclef", "unc", False),
        ("refclef", "berkeley", False),
    ],
)
def test_members_of_the_family(name: str, by: str, *, says: bool) -> None:
    reader = open_refs([a_ref(5)], name=name, by=by)
    refs, rejects = split_items(reader)
    assert_all_load(reader, refs)
    assert len(refs) == 1
    assert not rejects
    assert ("validation set" in reader.describe_layout()) is says


def test_the_google_test_split_of_refcoco() -> None:
    refs, _ = split_items(open_refs([a_ref(5, split="test")], by="google", split="test"))
    assert len(refs) == 1


def test_refclef_run_lengths_in_a_list() -> None:
    rle = {"size": [6, 8], "counts": [10, 38]}
    reader = open_refs([a_ref(5)], name="refclef", content=instances(segmentation=[rle]))
    refs, _ = split_items(reader)
    assert refs[0].image_path == "images/saiapr_tc-12/00/images/1.jpg"
    assert reader.load_truth(refs[0]).truth.sum() == 38


def test_what_cannot_be_used_is_rejected() -> None:
    refs, rejects = split_items(
        open_refs(
            [
                a_ref(1),
                a_ref(1),
                a_ref(2, ann_id=77),
                a_ref(3, image_id=77),
                a_ref(4, image_id=2),
                a_ref(5, sentences=[]),
                a_ref(6, ann_id=[10]),
                a_ref(7, split="val"),
                a_ref(8, image_id=[]),
                "no ref",
                a_ref(9, sentences=[{"sent": "only raw missing"}, None, {"raw": "Raw"}]),
            ]
        )
    )
    assert [ref.expressions for ref in refs] == [("left one",), ("only raw missing", "Raw")]
    assert sorted(reasons(rejects)) == sorted(
        ["duplicate_id"] + ["missing_annotation"] * 2 + ["malformed_entry"] * 5
    )


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ([], RejectReason.EMPTY_MASK),
        (None, RejectReason.MALFORMED_SEGMENTATION),
        ([[1, 2, 3]], RejectReason.MALFORMED_SEGMENTATION),
        ({"size": [8, 6], "counts": [48]}, RejectReason.SIZE_MISMATCH),
    ],
)
def test_bad_segmentations(segmentation: object, reason: RejectReason) -> None:
    reader = open_refs([a_ref(5)], content=instances(segmentation=segmentation))
    refs, _ = split_items(reader)
    assert truth_error(reader, refs[0]).reason is reason


class TestFilesThatAreNotAsTheyShouldBe:
    def test_a_poisoned_pickle(self, tmp_path: Path) -> None:
        class Poison:
            def __reduce__(self) -> Any:
                return os.mkdir, (str(tmp_path / "it ran"),)

        with pytest.raises(DataError, match=r"refs\(unc\)\.p is refused"):
            list(open_refs([Poison()]).read_targets())
        assert not (tmp_path / "it ran").exists()

    def test_refs_that_nobody_may_read(self) -> None:
        storage = Locked(memory({"refcoco/refs(unc).p": b""}).files)
        reader = open_reader("refcoco", ReaderOptions("data", storage=storage))
        with pytest.raises(DataError, match=r"refs\(unc\)\.p cannot be read.*Permission denied"):
            list(reader.read_targets())

    def test_instances_that_are_not_there(self) -> None:
        storage = memory({"refcoco/refs(unc).p": pickle.dumps([a_ref(1)])})
        reader = open_reader("refcoco", ReaderOptions("data", storage=storage))
        with pytest.raises(LayoutError, match=r"refcoco/instances\.json does not exist; check"):
            list(reader.read_targets())

    def test_no_list(self) -> None:
        with pytest.raises(DataError, match=r"refs\(unc\)\.p holds a dict, expected a list"):
            list(open_refs({}).read_targets())

    @pytest.mark.parametrize("content", [[], {"images": []}, {"images": [], "annotations": 3}])
    def test_instances(self, content: object) -> None:
        with pytest.raises(DataError, match=r"instances\.json: expected a list under"):
            list(open_refs([a_ref(1)], content=content).read_targets())

    def test_the_layout(self) -> None:
        storage = memory({"other/a.txt": b""})
        with pytest.raises(LayoutError, match=r"refcoco/refs\(unc\)\.p.*found: other/"):
            open_reader("refcoco", ReaderOptions("data", storage=storage))

    def test_who_made_the_split(self) -> None:
        with pytest.raises(ConfigError, match=r"--split-by 'umd': refcoco has.*unc, google"):
            open_reader("refcoco", ReaderOptions("data", storage=memory({}), split_by="umd"))
