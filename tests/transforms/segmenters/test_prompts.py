"""Batches of requests have one prompt shape; a mask survives the round trip through logits."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.protocols import Request
from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.masks.rle import mask_iou
from hlmat.transforms.masks.upsampling import Upsampling
from hlmat.transforms.segmenters.prompts import batches_of_one_kind, mask_logits, padded_size

requests = st.builds(
    Request,
    clicks=st.lists(
        st.builds(Click, st.integers(0, 9), st.integers(0, 9), st.booleans()), max_size=3
    ).map(tuple),
    box=st.none() | st.just(Box(0, 0, 5, 5)),
    feedback=st.none() | st.integers(),
)


def kind(request: Request) -> tuple[int, bool, bool]:
    return len(request.clicks), request.box is not None, request.feedback is not None


@given(st.lists(requests, max_size=9), st.integers(1, 4))
def test_every_request_is_in_one_batch_with_its_like(asked: list[Request], at_most: int):
    batches = list(batches_of_one_kind(asked, at_most=at_most))
    assert sorted(index for batch in batches for index in batch) == list(range(len(asked)))
    assert all(batch == sorted(batch) and len(batch) <= at_most for batch in batches)
    assert all(len({kind(asked[i]) for i in batch}) == 1 for batch in batches)
    needed = Counter(kind(request) for request in asked)
    assert len(batches) == sum(-(-count // at_most) for count in needed.values())


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
