"""Masks are stored at one bit per pixel and shrunk to a window once."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.segmenters.graphcut.memory import PackedMask, PastClick
from hlmat.transforms.segmenters.graphcut.window import ImageWindow


@settings(max_examples=40, deadline=None)
@given(
    size_hw=st.tuples(st.integers(1, 20), st.integers(1, 40)),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_packed_masks_give_back_every_part(
    size_hw: tuple[int, int], seed: int, data: st.DataObject
) -> None:
    mask = np.random.default_rng(seed).random(size_hw) < 0.5
    y0 = data.draw(st.integers(0, size_hw[0] - 1))
    x0 = data.draw(st.integers(0, size_hw[1] - 1))
    y1 = data.draw(st.integers(y0 + 1, size_hw[0]))
    x1 = data.draw(st.integers(x0 + 1, size_hw[1]))
    packed = PackedMask.pack(mask)
    part = packed.part(Box(x0, y0, x1, y1))
    assert np.array_equal(part, mask[y0:y1, x0:x1])
    assert np.array_equal(packed.unpack(), mask)


def test_a_past_mask_is_shrunk_unless_it_is_known_how_it_looks() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    window = ImageWindow(image, image[..., 0], Box(10, 0, 60, 40), max_side=25)
    mask = np.zeros((40, 60), np.bool_)
    mask[:20, 20:30] = True
    past = PastClick(PackedMask.pack(mask), Click(25, 10, True))
    expected = np.zeros((20, 25), np.bool_)
    expected[:10, 5:10] = True
    for known in (False, True):
        assert np.array_equal(past.shrunk(window, known=known), expected)
    other = PastClick(past.mask, past.click, PackedMask.pack(~expected))
    assert np.array_equal(other.shrunk(window, known=True), ~expected)
    assert np.array_equal(other.shrunk(window, known=False), expected)
