"""COCO run lengths: round trips, measures that match the arrays, and checks of foreign counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pycocotools import mask as coco_mask

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Box
from hlmat.transforms.masks.rle import (
    decode_rle,
    decode_uncompressed,
    encode_mask,
    joint_part,
    mask_box,
    mask_iou,
    overlap,
    rle_area,
    rle_box_xywh,
    rle_common_area,
    rle_joint_part,
    rle_overlap,
    rle_problem,
    rle_to_coco,
    rle_to_json,
    uncompressed_problem,
    whole_number,
)

masks = npst.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40)))
same_size_masks = st.tuples(st.integers(1, 20), st.integers(1, 20)).flatmap(
    lambda size_hw: st.lists(npst.arrays(bool, size_hw), min_size=1, max_size=3)
)


small_masks = npst.arrays(bool, (4, 5))


@given(masks)
def test_decoding_inverts_encoding(mask: Mask) -> None:
    decoded = decode_rle(encode_mask(mask))
    assert decoded.dtype == np.bool_
    np.testing.assert_array_equal(decoded, mask)


@given(masks)
def test_pycocotools_reads_the_same_mask(mask: Mask) -> None:
    content: Any = rle_to_coco(encode_mask(mask))
    np.testing.assert_array_equal(coco_mask.decode(content), mask)


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 3), np.uint8), np.zeros((2, 3, 1), bool), np.zeros(6, bool)]
)
def test_only_a_boolean_array_of_two_axes_is_a_mask(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"must be bool of shape \(H, W\)"):
        encode_mask(wrong)


@given(masks)
def test_area_and_box_match_the_array(mask: Mask) -> None:
    rle = encode_mask(mask)
    assert rle_area(rle) == mask.sum()
    x, y, width, height = rle_box_xywh(rle)
    box = mask_box(mask)
    assert (box is None) == (not mask.any())
    assert Box(x, y, x + width, y + height) == box if box else (x, y, width, height) == (0, 0, 0, 0)


@given(same_size_masks)
def test_common_area_matches_the_arrays(arrays: list[Mask]) -> None:
    shared = np.logical_and.reduce(arrays)
    assert rle_common_area(*map(encode_mask, arrays)) == shared.sum()


@given(same_size_masks)
def test_iou_is_symmetric_and_between_0_and_1(arrays: list[Mask]) -> None:
    a, b = arrays[0], arrays[-1]
    assert mask_iou(a, b) == mask_iou(b, a)
    assert 0 <= mask_iou(a, b) <= 1
    assert mask_iou(a, a) == 1


@given(masks)
def test_uncompressed_counts_decode_to_the_mask(mask: Mask) -> None:
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat.astype(np.int8))) + 1
    runs = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()
    counts = [0, *runs] if flat[0] else runs
    size_hw = (mask.shape[0], mask.shape[1])
    assert uncompressed_problem(counts, size_hw) is None
    np.testing.assert_array_equal(decode_uncompressed(counts, size_hw), mask)


def test_whole_floats_are_whole_numbers() -> None:
    assert uncompressed_problem([1.0, 2, 1.0], (2, 2)) is None
    assert decode_uncompressed([1.0, 2, 1.0], (2, 2)).tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize("run", [1.5, float("nan"), float("inf"), True, "1", None])
def test_other_values_are_no_runs(run: object) -> None:
    assert whole_number(run) is None
    assert "whole numbers from 0" in str(uncompressed_problem([3, run], (2, 2)))


def compressed(differences: list[int]) -> str:
    """Write runs as COCO does: 5 bits a digit, the last one with the sign."""
    digits = []
    for number in differences:
        is_open = True
        while is_open:
            digit, number = number & 0x1F, number >> 5
            is_open = number != (-1 if digit & 0x10 else 0)
            digits.append(chr((digit | 0x20 if is_open else digit) + 48))
    return "".join(digits)


def test_runs_whose_sum_wraps_around_64_bits_are_refused() -> None:
    step, half = 2**33, 2**15
    ramp = [step, step] * half + [-step, -step] * (half - 1)
    counts = compressed([0, 0, 0, *ramp, 48 - step])
    # The runs are k * step, twice each, for k = 1 up to half and down again: 2 ** 64 in all.
    problem = rle_problem(counts, (6, 8))
    assert problem == "its runs cover more than the 48 pixels of the mask"


def test_json_form_keeps_counts_as_text() -> None:
    assert rle_to_json(encode_mask(np.ones((4, 13), bool))) == {"counts": "0d1", "size": [4, 13]}


@given(masks)
def test_counts_of_a_mask_fit_its_size_alone(mask: Mask) -> None:
    rle = encode_mask(mask)
    assert rle_problem(rle.counts, rle.size_hw) is None
    height, width = rle.size_hw
    assert "has" in (rle_problem(rle.counts, (height + 1, width)) or "")


@given(st.integers(0, 400_000), st.integers(0, 400_000))
def test_long_runs_are_read(start: int, length: int) -> None:
    mask = np.zeros((1000, 800), dtype=bool)
    mask.reshape(-1)[start : start + length] = True
    rle = encode_mask(mask)
    assert rle_problem(rle.counts, rle.size_hw) is None


@given(st.text(st.characters(max_codepoint=127), max_size=12))
def test_any_text_is_checked_without_an_error(counts: str) -> None:
    problem = rle_problem(counts, (3, 4))
    assert problem is None or problem.startswith("its ")


@pytest.mark.parametrize(
    ("counts", "problem"),
    [
        ("", "its counts are empty"),
        ("ä", "its counts are not ASCII"),
        ("0 1", "its counts are not compressed run lengths"),  # a character below the digits
        ("00z", "its counts are not compressed run lengths"),  # one above them
        ("0d", "its counts are not compressed run lengths"),  # says that more follows
        ("ooooooo1", "its counts hold a run of impossible length"),
        ("0O", "its counts hold a negative run"),
        ("09", "its runs cover 9 pixels, a mask of 3 x 4 (height x width) has 12"),
    ],
)
def test_malformed_counts_are_named(counts: str, problem: str) -> None:
    assert rle_problem(counts, (3, 4)) == problem


@given(st.none() | small_masks, small_masks, st.none() | small_masks)
def test_overlap_of_run_lengths_is_that_of_pixels(
    mask: Mask | None, truth: Mask, ignore: Mask | None
) -> None:
    pixels = np.zeros_like(truth) if mask is None else mask
    found = rle_overlap(
        None if mask is None else encode_mask(mask),
        encode_mask(truth),
        ignore=None if ignore is None else encode_mask(ignore),
    )
    assert found == overlap(pixels, truth, ignore=ignore)


@given(small_masks, small_masks)
def test_a_joint_part_holds_both_masks_and_no_empty_border(a: Mask, b: Mask) -> None:
    either = a | b
    part = joint_part(a, b)
    assert rle_joint_part(encode_mask(a), encode_mask(b)) == part
    if part is None:
        assert not either.any()
        return
    inside = either[part]
    assert np.count_nonzero(inside) == np.count_nonzero(either)
    assert all(line.any() for line in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_no_mask_has_no_part() -> None:
    box = np.eye(3, 4, 1, dtype=bool)
    assert rle_joint_part(None, encode_mask(box)) == joint_part(box, box)
    assert rle_joint_part(None, encode_mask(np.zeros((2, 2), bool))) is None


@given(npst.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_a_mask_is_empty_if_it_has_no_pixel(mask: Mask) -> None:
    assert encode_mask(mask).is_empty == (not mask.any())


@pytest.mark.parametrize("size_hw", [(1, 1), (500, 700)])
def test_masks_of_one_value(size_hw: tuple[int, int]) -> None:
    assert encode_mask(np.zeros(size_hw, np.bool_)).is_empty
    assert not encode_mask(np.ones(size_hw, np.bool_)).is_empty
