"""A given mask as SAM's logits: turned back into a mask as SAM's own are, it is the same one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.masks.rle import mask_iou
from hlmat.transforms.masks.upsampling import Upsampling
from hlmat.transforms.segmenters.mask_prompts import mask_logits, padded_size


def ellipse(height: int, width: int) -> np.ndarray:
    canvas = np.zeros((height, width), np.uint8)
    centre, axes = (width // 2, height // 2), (max(width // 4, 1), max(height // 3, 1))
    cv2.ellipse(canvas, centre, axes, 20, 0, 360, 1, -1)
    return canvas.view(np.bool_)


@pytest.mark.parametrize(
    ("size_hw", "resized_hw"),
    [
        ((300, 400), (768, 1024)),  # enlarged
        ((1500, 900), (1024, 614)),  # reduced
        ((256, 256), (1024, 1024)),
        ((300, 400), (1024, 1024)),  # stretched, as SAM 2 does it
    ],
)
def test_the_logits_become_the_mask_again(size_hw: tuple[int, int], resized_hw: tuple[int, int]):
    mask = ellipse(*size_hw)
    logits = mask_logits(mask, resized_hw=resized_hw, square_size=1024, logits_size=256)
    assert (logits.dtype, logits.shape) == (np.float32, (256, 256))
    way = Upsampling.of(logits_size=256, square_size=1024, resized_hw=resized_hw, size_hw=size_hw)
    assert mask_iou(way.mask(logits, threshold=0.0), mask) > 0.98


@given(st.integers(1, 60), st.integers(1, 60))
def test_logits_are_bounded_and_the_padding_lies_outside(height: int, width: int):
    mask = np.ones((height, width), dtype=np.bool_)
    resized_hw = padded_size(height, width, longest=64)
    assert max(resized_hw) == 64
    logits = mask_logits(mask, resized_hw=resized_hw, square_size=64, logits_size=16)
    assert np.abs(logits).max() <= np.float32(6.91)
    assert (logits[: resized_hw[0] // 4, : resized_hw[1] // 4] > 6.9).all()
    assert (logits[-(-resized_hw[0] // 4) :] < -6.9).all()
    assert (logits[:, -(-resized_hw[1] // 4) :] < -6.9).all()
