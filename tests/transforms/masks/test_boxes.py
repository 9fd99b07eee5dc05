"""Initial boxes stay in the image, near the truth's box, and never vanish."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Box
from hlmat.transforms.masks.boxes import jittered_box, truth_box


def rectangle(box: Box, *, size_hw: tuple[int, int]) -> Mask:
    mask = np.zeros(size_hw, dtype=np.bool_)
    mask[box.y0 : box.y1, box.x0 : box.x1] = True
    return mask


@st.composite
def boxes_in_images(draw: st.DrawFn) -> tuple[Box, tuple[int, int]]:
    height, width = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
    return Box(x0, y0, x1, y1), (height, width)


@given(boxes_in_images(), st.integers(0, 2**32))
def test_a_jittered_box_lies_near_the_true_one(
    case: tuple[Box, tuple[int, int]], seed: int
) -> None:
    box, size_hw = case
    truth = rectangle(box, size_hw=size_hw)
    assert truth_box(truth) == box
    moved = jittered_box(truth, rng=np.random.default_rng(seed))
    assert 0 <= moved.x0 < moved.x1 <= size_hw[1]
    assert 0 <= moved.y0 < moved.y1 <= size_hw[0]
    for before, after in zip(
        (box.x0, box.y0, box.x1, box.y1), (moved.x0, moved.y0, moved.x1, moved.y1), strict=True
    ):
        assert abs(before - after) <= 20


def test_sides_that_would_meet_stay() -> None:
    truth = rectangle(Box(50, 50, 52, 90), size_hw=(100, 100))
    for seed in range(50):
        moved = jittered_box(truth, rng=np.random.default_rng(seed), sigma=5)
        assert moved.x0 < moved.x1


def test_the_same_generator_gives_the_same_box() -> None:
    truth = rectangle(Box(20, 20, 90, 70), size_hw=(100, 120))
    boxes = {jittered_box(truth, rng=np.random.default_rng(5)) for _ in range(2)}
    assert len(boxes) == 1
    assert boxes != {truth_box(truth)}


def test_an_empty_mask_has_no_box() -> None:
    with pytest.raises(ValueError, match="an empty mask has no box"):
        truth_box(np.zeros((3, 4), dtype=np.bool_))
