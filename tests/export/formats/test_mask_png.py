"""Masks as images: the pixels come back, and no two masks share a name."""

from __future__ import annotations

import re
from dataclasses import replace

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hlmat.export.formats.mask_png import mask_names, mask_png
from hlmat.transforms.core.records import TargetRef
from hlmat.transforms.masks.rle import encode_mask
from trajectory_cases import make_trajectory


def ref_of(image_path: str, object_id: int = 0) -> TargetRef:
    ref = make_trajectory().target.ref
    return replace(ref, image_path=image_path, object_id=object_id)


def test_an_image_holds_the_mask_in_black_and_white() -> None:
    mask = np.random.default_rng(0).random((37, 53)) > 0.5
    pixels = cv2.imdecode(
        np.frombuffer(mask_png(encode_mask(mask)), np.uint8), cv2.IMREAD_UNCHANGED
    )
    assert pixels is not None
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, mask * np.uint8(255))


def test_names_contain_image_and_object() -> None:
    refs = [ref_of("train/a.jpg", 0), ref_of("train/a.jpg", 1), ref_of("train_a.png", 0)]
    assert mask_names(refs) == ["train_a-0.png", "train_a-1.png", "train_a-0-2.png"]
    assert mask_names(
        [ref_of("../..//x.jpg"), ref_of("é/ü.png"), ref_of("A.png"), ref_of("a.png")]
    ) == [
        "_.._x-0.png",
        "_-0.png",
        "A-0.png",
        "a-0-2.png",
    ]


def test_masks_beside_their_images_have_their_names() -> None:
    refs = [ref_of("images/sub/a b.jpg"), ref_of("images/..\\b.png"), ref_of("elsewhere/c.png")]
    assert mask_names(refs, mirrored="images") == [
        "sub/a b.png",
        "images_.._b-0.png",
        "elsewhere_c-0.png",
    ]


@given(
    st.lists(
        st.tuples(st.text(max_size=200), st.integers(0, 2)) | st.just(("images/a.png", 0)),
        max_size=12,
    ),
    st.sampled_from([None, "images"]),
)
def test_names_are_safe_and_different(paths: list[tuple[str, int]], mirrored: str | None) -> None:
    names = mask_names([ref_of(path, k) for path, k in paths], mirrored=mirrored)
    assert len({name.casefold() for name in names}) == len(paths)
    assert all(re.fullmatch(r"([A-Za-z0-9_][A-Za-z0-9_. -]*/?)+\.png", name) for name in names)
    assert all(len(part) < 200 for name in names for part in name.split("/"))
    assert not any(part in (".", "..") for name in names for part in name.split("/"))


def test_objects_of_an_image_are_numbered_as_a_folder_reads_them() -> None:
    refs = [ref_of("images/cup.jpg", 0), ref_of("images/cup.jpg", 1), ref_of("images/pan.jpg", 0)]
    assert mask_names(refs, mirrored="images") == ["cup_0.png", "cup_1.png", "pan.png"]
