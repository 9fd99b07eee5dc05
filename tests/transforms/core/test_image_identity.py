from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders
from hlmat.transforms.core.image_identity import KnownImage, find_leaks, image_key
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


@pytest.mark.parametrize(
    ("dataset", "path", "image_id"),
    [
        ("coco", "train/cat.jpg", 42),
        ("coco", "42.jpg", 42),
        ("coco", "images/000000000042.jpg", 42),
        ("folder", "images/000000000042.jpg", None),
        ("refcoco", "train2014/own.jpg", 42),
        ("trace", "images/a.jpg", 42),
    ],
)
def test_images_of_others_are_not_those_of_coco(
    dataset: str, path: str, image_id: int | None
) -> None:
    assert not image_key(make_ref(dataset, path, image_id), shapes=None).startswith("coco:")


def test_equal_names_in_two_folders_differ() -> None:
    for dataset in ("coco", "folder"):
        keys = {image_key(make_ref(dataset, f"{f}/cat.jpg", 1), shapes=None) for f in "ab"}
        assert len(keys) == 2


CASES = [
    (("coco:1", ""), ("coco:1", ""), True),
    # COCO's images are known by their id, however they are encoded.
    (("coco:1", "a"), ("coco:1", "b"), True),
    (("shapes:x:1", "a"), ("shapes:x:1", "b"), True),
    # Different images may share a name.
    (("folder:cat", "a"), ("folder:cat", "b"), False),
    (("folder:cat", "a"), ("folder:cat", "a"), True),
    (("folder:cat", ""), ("folder:cat", "b"), True),
    # One image may have two names.
    (("coco-file:cat", "a"), ("folder:dog", "a"), True),
    (("coco-file:cat", ""), ("folder:dog", ""), False),
]


@pytest.mark.parametrize(("one", "other", "is_leak"), CASES)
def test_what_counts_as_the_same_image(
    one: tuple[str, str], other: tuple[str, str], *, is_leak: bool
) -> None:
    first, second = KnownImage(*one), KnownImage(*other)
    assert find_leaks([second], [first]) == ([(first, second)] if is_leak else [])
    assert find_leaks([first], [second]) == ([(second, first)] if is_leak else [])


known = st.builds(
    KnownImage, st.sampled_from(["a", "b", "coco:1"]), st.sampled_from(["", "x", "y"])
)


@given(st.lists(known), st.lists(known))
def test_leaks_are_sorted_pairs_of_both_sides(
    training: list[KnownImage], evaluation: list[KnownImage]
) -> None:
    leaks = find_leaks(training, evaluation)
    assert leaks == sorted(leaks)
    assert {image for image, _ in leaks} <= set(evaluation)
    assert {other for _, other in leaks} <= set(training)
    assert set(training) & set(evaluation) <= {image for image, _ in leaks}
