"""Masks from low-resolution logits: what resizing twice and comparing gives, pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hlmat.transforms.masks.upsampling import Upsampling


def resized(values: NDArray[np.float64], size: int, axis: int) -> NDArray[np.float64]:
    """Resize along one axis, bilinearly between the centres of pixels."""
    source = values.shape[axis]
    at = np.maximum((np.arange(size) + 0.5) * source / size - 0.5, 0)
    first = np.minimum(at.astype(int), source - 1)
    second = np.minimum(first + 1, source - 1)
    shape = [1, 1]
    shape[axis] = size
    share = (at - first).reshape(shape)
    return (1 - share) * values.take(first, axis) + share * values.take(second, axis)


def resized_twice(
    logits: NDArray[Any], *, square: int, resized_hw: tuple[int, int], size_hw: tuple[int, int]
) -> NDArray[np.float64]:
    values = resized(resized(logits.astype(np.float64), square, 0), square, 1)
    values = values[: resized_hw[0], : resized_hw[1]]
    return resized(resized(values, size_hw[0], 0), size_hw[1], 1)


@settings(deadline=None)
@given(
    side=st.integers(1, 9),
    factor=st.integers(1, 4),
    resized_hw=st.tuples(st.integers(1, 36), st.integers(1, 36)),
    size_hw=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    threshold=st.sampled_from([0.0, -0.5, 0.7]),
    smooth=st.booleans(),
    seed=st.integers(0, 99),
)
def test_it_equals_resizing_twice(
    side: int,
    factor: int,
    resized_hw: tuple[int, int],
    size_hw: tuple[int, int],
    threshold: float,
    smooth: bool,
    seed: int,
):
    square = side * factor
    resized_hw = min(resized_hw[0], square), min(resized_hw[1], square)
    logits = np.random.default_rng(seed).normal(size=(side, side)).astype(np.float32)
    if smooth:
        # Long stretches on one side of the threshold, where nothing is computed.
        logits = np.sort(np.sort(logits, axis=0), axis=1)
    expected = resized_twice(logits, square=square, resized_hw=resized_hw, size_hw=size_hw)
    way = Upsampling.of(
        logits_size=side, square_size=square, resized_hw=resized_hw, size_hw=size_hw
    )
    mask = way.mask(logits, threshold=threshold)
    assert mask.dtype == np.bool_
    assert mask.shape == size_hw
    # Where rounding decides, either answer will do.
    clear = np.abs(expected - threshold) > 1e-5
    assert np.array_equal(mask[clear], (expected > threshold)[clear])


def test_it_equals_torchs_own_resizing():
    torch = pytest.importorskip("torch")
    from torch.nn import functional

    logits = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    square = functional.interpolate(
        torch.from_numpy(logits)[None, None], (256, 256), mode="bilinear", align_corners=False
    )[..., :192, :]
    expected = functional.interpolate(square, (480, 640), mode="bilinear", align_corners=False)
    way = Upsampling.of(logits_size=64, square_size=256, resized_hw=(192, 256), size_hw=(480, 640))
    assert np.mean(way.mask(logits) != (expected[0, 0] > 0).numpy()) < 1e-5


def test_logits_finer_than_the_square_are_refused():
    with pytest.raises(ValueError, match=r"no finer than the encoder's image of 4, got 8"):
        Upsampling.of(logits_size=8, square_size=4, resized_hw=(4, 4), size_hw=(4, 4))
