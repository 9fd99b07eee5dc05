"""The depth of a click equals the distance transform at its pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hlmat.transforms.core.records import Click
from hlmat.transforms.envs.click_depth import relative_depth, squared_depth
from hlmat.transforms.oracle.click import oracle_click

SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))
MASK_PAIRS = SIZES.flatmap(
    lambda size: st.tuples(hnp.arrays(np.bool_, size), hnp.arrays(np.bool_, size))
)


@given(SIZES.flatmap(lambda size: hnp.arrays(np.bool_, size)))
def test_depths_are_those_of_a_distance_transform(region: np.ndarray):
    padded = np.pad(region, 1).astype(np.uint8)
    distances = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    found = [
        [squared_depth(region, x=x, y=y) for x in range(region.shape[1])]
        for y in range(region.shape[0])
    ]
    assert np.array_equal(found, np.rint(distances.astype(np.float64) ** 2))


@given(MASK_PAIRS)
def test_the_oracles_click_is_worth_1_and_no_click_more(pair: tuple[np.ndarray, np.ndarray]):
    mask, truth = pair
    oracle = oracle_click(mask, truth)
    worth = [
        relative_depth(Click(x, y, is_positive), mask, truth)
        for y in range(truth.shape[0])
        for x in range(truth.shape[1])
        for is_positive in (True, False)
    ]
    assert all(0 <= value <= 1 for value in worth)
    if oracle is None:
        assert not any(worth)
    else:
        assert relative_depth(oracle, mask, truth) == 1


def truth_mask() -> np.ndarray:
    truth = np.zeros((11, 20), dtype=np.bool_)
    truth[1:10, 1:10] = True
    return truth


@pytest.mark.parametrize(
    ("click", "worth"),
    [
        (Click(5, 5, True), 1.0),
        (Click(1, 5, True), 0.2),
        (Click(5, 5, False), 0.0),
        (Click(15, 5, True), 0.0),
    ],
    ids=["centre", "rim", "wrong sign", "background"],
)
def test_worth_falls_from_the_centre_of_the_error_to_its_rim(click: Click, worth: float):
    assert relative_depth(click, np.zeros_like(truth_mask()), truth_mask()) == worth


def test_a_small_error_is_worth_less_than_the_oracles():
    mask = np.zeros_like(truth_mask())
    mask[4:7, 13:16] = True
    assert relative_depth(Click(14, 5, False), mask, truth_mask()) == 2 / 5


def test_ignored_pixels_are_no_error():
    ignore = np.zeros_like(truth_mask())
    ignore[:, :3] = True
    empty = np.zeros_like(truth_mask())
    assert relative_depth(Click(2, 5, True), empty, truth_mask(), ignore=ignore) == 0
    assert relative_depth(Click(2, 5, True), empty, truth_mask()) > 0


def test_a_pixel_is_not_worth_clicking_twice():
    empty = np.zeros_like(truth_mask())
    first = Click(5, 5, True)
    assert relative_depth(first, empty, truth_mask(), clicked=[first]) == 0
    assert relative_depth(Click(5, 4, True), empty, truth_mask(), clicked=[first]) == 1
