"""Several masks of one image: each object once, by one way of naming."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from hlmat.transforms.core.records import TargetRef
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from reader_fixtures import assert_all_load, image, mask_image, memory, reasons, split_items


def found(
    names: Sequence[str], images: Sequence[str] = ("cup.jpg",)
) -> tuple[list[str], list[str]]:
    """Return the masks of the targets as id=mask, and the masks that are rejected."""
    files = {f"images/{name}": image() for name in images}
    files |= {f"masks/{name}": mask_image() for name in names}
    reader = open_reader("folder", ReaderOptions("data", storage=memory(files)))
    refs, rejects = split_items(reader)
    assert_all_load(reader, refs)
    for path in {ref.image_path for ref in refs}:
        numbers = [ref.object_id for ref in refs if ref.image_path == path]
        assert numbers == list(range(len(numbers)))
    ids = [ref.target_id.removeprefix("folder/all/") for ref in refs]
    taken = [f"{name}={mask_of(ref)}" for name, ref in zip(ids, refs, strict=True)]
    return taken, [f"{mask_of(reject.ref)}: {reject.reason}" for reject in rejects]


def mask_of(ref: TargetRef) -> str:
    return json.loads(ref.truth_ref)["mask"].removeprefix("masks/")


@pytest.mark.parametrize(
    ("masks", "targets"),
    [
        (["cup.png"], ["cup=cup.png"]),
        (["cup.jpg.png"], ["cup=cup.jpg.png"]),
        (["cup_mask.png"], ["cup=cup_mask.png"]),
        (["cup-GT.png"], ["cup=cup-GT.png"]),
        (["cup_0.png", "cup_1.png"], ["cup:0=cup_0.png", "cup:1=cup_1.png"]),
        (["cup_2.png", "cup_10.png"], ["cup:2=cup_2.png", "cup:10=cup_10.png"]),
        (
            ["cup_mask_1.png", "cup_mask2.png"],
            ["cup:mask2=cup_mask2.png", "cup:mask_1=cup_mask_1.png"],
        ),
        (["cup_0_mask.png"], ["cup:0_mask=cup_0_mask.png"]),
        (["cup/a.png", "cup/b.png"], ["cup:a=cup/a.png", "cup:b=cup/b.png"]),
        (["cup.jpg/0.png"], ["cup:0=cup.jpg/0.png"]),
    ],
)
def test_ways_to_name_masks(masks: list[str], targets: list[str]) -> None:
    assert found(masks) == (targets, [])


@pytest.mark.parametrize(
    ("masks", "taken", "left"),
    [
        (["cup.png", "cup_0.png", "cup_1.png"], ["cup=cup.png"], ["cup_0.png", "cup_1.png"]),
        (["cup_mask.png", "cup_0.png"], ["cup=cup_mask.png"], ["cup_0.png"]),
        (["cup_gt.png", "cup_mask.png"], ["cup=cup_gt.png"], ["cup_mask.png"]),
        (["cup_0.png", "cup/0.png"], ["cup:0=cup_0.png"], ["cup/0.png"]),
        (["cup_0.png", "cup_0.jpg"], ["cup:0=cup_0.png"], ["cup_0.jpg"]),
        (["cup/a.png", "cup/a.jpg"], ["cup:a=cup/a.png"], ["cup/a.jpg"]),
        (["cup.png", "cup.jpg.png"], ["cup=cup.jpg.png"], ["cup.png"]),
    ],
)
def test_no_object_counts_twice(masks: list[str], taken: list[str], left: list[str]) -> None:
    assert found(masks) == (taken, [f"{name}: duplicate_id" for name in left])


def test_an_image_of_the_masks_own_stem_comes_first() -> None:
    targets, left = found(
        ["img.png", "img_0.png", "img_0_1.png"], ["img.jpg", "img_0.jpg", "img_0_1.jpg"]
    )
    assert targets == ["img=img.png", "img_0=img_0.png", "img_0_1=img_0_1.png"]
    assert not left


def test_the_longest_name_of_an_image_is_taken() -> None:
    targets, _ = found(["a_1_2.png", "a_3.png"], ["a.jpg", "a_1.jpg"])
    assert targets == ["a:3=a_3.png", "a_1:2=a_1_2.png"]


def test_masks_of_no_image_are_counted() -> None:
    targets, left = found(["cup.png", "cupboard_0.png", "saucer/0.png"])
    assert targets == ["cup=cup.png"]
    assert left == ["cupboard_0.png: missing_image", "saucer/0.png: missing_image"]


def test_a_folder_of_images_beside_an_image_of_its_name_is_a_folder() -> None:
    targets, left = found(["cup.png", "cup/1.png"], ["cup.jpg", "cup/1.jpg"])
    assert targets == ["cup=cup.png", "cup/1=cup/1.png"]
    assert not left


def test_objects_in_sub_folders() -> None:
    targets, _ = found(["day/cup/0.png", "day/cup/1.png"], ["day/cup.jpg"])
    assert targets == ["day/cup:0=day/cup/0.png", "day/cup:1=day/cup/1.png"]


def test_the_reason_names_the_other_mask() -> None:
    files = {"images/cup.jpg": image(), "masks/cup.png": mask_image(), "masks/cup_0.png": b""}
    reader = open_reader("folder", ReaderOptions("data", storage=memory(files)))
    _, rejects = split_items(reader)
    assert reasons(rejects) == ["duplicate_id"]
    assert rejects[0].message == (
        "cup_0.png is another mask of the image 'cup', whose mask is cup.png; keep its masks in "
        "one way: one file, numbered files, or a folder"
    )
