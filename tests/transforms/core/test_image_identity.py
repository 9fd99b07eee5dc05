from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders
from hlmat.transforms.core.image_identity import find_leaks, image_key
from hlmat.transforms.core.records import TargetRef
from hlmat.transforms.readers.shapes.reader import ShapesOptions


def make_ref(dataset: str, image_path: str, image_id: int | None = None) -> TargetRef:
    return builders.target_ref(dataset=dataset, image_path=image_path, image_id=image_id)


@pytest.mark.parametrize(
    ("ref", "key"),
    [
        (make_ref("refcoco", "i/COCO_train2014_000000000042.jpg", 42), "coco:42"),
        (make_ref("refcoco+", "i/COCO_train2014_000000000042.jpg", 42), "coco:42"),
        (make_ref("refcocog", "train2014/COCO_train2014_000000000042.jpg", 42), "coco:42"),
        (make_ref("coco", "train2017/000000000042.jpg", 42), "coco:42"),
        (make_ref("coco_mval", "COCO_MVal/img/hot dog03_000000000042.jpg"), "coco:42"),
        (make_ref("trace", "COCO_train2014_000000000042.jpg", 42), "coco:42"),
    ],
)
def test_images_of_coco_go_by_their_id(ref: TargetRef, key: str) -> None:
    assert image_key(ref, shapes=None) == key


def test_refclef_ids_are_not_those_of_coco() -> None:
    refclef = make_ref("refclef", "images/saiapr_tc-12/00/images/42.jpg", 42)
    coco = make_ref("coco", "train2017/000000000042.jpg", 42)
    assert image_key(refclef, shapes=None) != image_key(coco, shapes=None)


@pytest.mark.parametrize(
    ("dataset", "one", "other"),
    [
        ("dis5k", "DIS5K/DIS-TR/im/1#A#1#Bag#x.jpg", "im/1#A#1#Bag#x.jpg"),
        ("thinobject5k", "ThinObject5K/images_train/bag_PNG1.jpg", "images/bag_PNG1.jpg"),
        ("fss1000", "cascade_psp/fss_all/ab_wheel_1.jpg", "fewshot_data/ab_wheel/1.jpg"),
        ("ecssd", "cascade_psp/ecssd/0001.jpg", "ECSSD/images/0001.jpg"),
        ("msra10k", "cascade_psp/MSRA_10K/1000.jpg", "MSRA10K_Imgs_GT/Imgs/1000.jpg"),
        ("duts", "cascade_psp/DUTS-TR/n1.jpg", "DUTS/DUTS-TR/DUTS-TR-Image/n1.jpg"),
        ("davis", "DAVIS/img/bear_1.jpg", "img/bear_1.jpg"),
        ("reasonseg", "ReasonSeg/train/a_1.jpg", "train/a_1.jpg"),
    ],
)
def test_an_image_has_one_key_in_every_layout(dataset: str, one: str, other: str) -> None:
    keys = {image_key(make_ref(dataset, path), shapes=None) for path in (one, other)}
    assert len(keys) == 1


def test_numbered_images_of_two_folders_differ() -> None:
    keys = {image_key(make_ref("folder", f"images/{group}/1.jpg"), shapes=None) for group in "ab"}
    assert len(keys) == 2


def test_more_images_leave_the_first_ones_what_they_are() -> None:
    ref = make_ref("shapes", "train/000000.png")
    few, many = (asdict(ShapesOptions(count=count)) for count in (2, 4))
    assert image_key(ref, shapes=few) == image_key(ref, shapes=many)


@pytest.mark.parametrize("change", [{"seed": 1}, {"width": 400}, {"difficulty": "thin"}])
def test_other_options_give_other_scenes(change: dict) -> None:
    ref = make_ref("shapes", "train/000000.png")
    plain = ShapesOptions()
    other = replace(plain, **change)
    assert image_key(ref, shapes=asdict(plain)) != image_key(ref, shapes=asdict(other))


def test_splits_and_indices_of_generated_scenes_differ() -> None:
    options = asdict(ShapesOptions())
    paths = ("train/000000.png", "val/000000.png", "train/000001.png")
    assert len({image_key(make_ref("shapes", p), shapes=options) for p in paths}) == 3


@given(st.integers(0, 10**12 - 1), st.sampled_from(["train2014", "val2014"]))
def test_id_and_name_of_a_coco_image_agree(image_id: int, folder: str) -> None:
    named = make_ref("coco_mval", f"img/COCO_{folder}_{image_id:012d}.jpg")
    known = make_ref("refcoco", f"{folder}/COCO_{folder}_{image_id:012d}.jpg", image_id)
    assert image_key(named, shapes=None) == image_key(known, shapes=None)


@given(st.lists(st.text(max_size=3)), st.lists(st.text(max_size=3)))
def test_leaks_are_the_sorted_common_keys(training: list[str], evaluation: list[str]) -> None:
    leaks = find_leaks(training, evaluation)
    assert leaks == sorted(set(leaks)) == find_leaks(evaluation, training)
    assert all((key in leaks) == (key in evaluation) for key in training)
