"""A window's bumps, cuts of its parts and contrasts, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.segmenters.graphcut.window import ImageWindow


def window(shape: tuple[int, int] = (24, 32), *, seed: int = 0) -> ImageWindow:
    """Show all of an image of noise, one cell a pixel."""
    image = np.random.default_rng(seed).integers(0, 256, (*shape, 3)).astype(np.uint8)
    box = Box(0, 0, shape[1], shape[0])
    return ImageWindow(image, image[..., 0].copy(), box, max_side=max(shape))


@settings(max_examples=30, deadline=None)
@given(row=st.integers(0, 23), column=st.integers(0, 31), spread=st.floats(0.6, 40))
def test_a_bump_is_a_gaussian_cut_off_where_it_is_nothing(
    row: int, column: int, spread: float
) -> None:
    shown = window()
    bump = shown.bump(row, column, spread)
    cut_off = np.zeros(shown.shape)
    cut_off[bump.part] = bump.weights
    exact = np.exp(-(shown.distance(row, column).astype(np.float64) ** 2) / (2 * spread**2))
    np.testing.assert_allclose(cut_off, exact, atol=1e-6)
    assert bump.weights.dtype == np.float32
    assert cut_off[row, column] == 1


@settings(max_examples=30, deadline=None)
@given(
    row=st.integers(0, 23),
    column=st.integers(0, 31),
    reach=st.integers(0, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_only_the_part_changes_and_its_rim_stays(
    row: int, column: int, reach: int, seed: int
) -> None:
    shown = window()
    rng = np.random.default_rng(seed)
    keep = rng.random(shown.shape) < 0.5
    part = shown.part(row, column, reach)
    cutter = shown.part_cutter(part, keep)
    inner = np.zeros_like(keep)
    inner[part] = True
    # Rows and columns where the part ends but the window does not.
    rim_free = inner.copy()
    rim_free[1:] &= inner[:-1]
    rim_free[:-1] &= inner[1:]
    rim_free[:, 1:] &= inner[:, :-1]
    rim_free[:, :-1] &= inner[:, 1:]
    for towards in (-9.0, 9.0):
        preference = np.full(keep[part].shape, towards, np.float32)
        labels = cutter.cut(preference, [(row, column, towards < 0)])
        assert np.array_equal(labels[~rim_free], keep[~rim_free])
        if rim_free[row, column]:
            assert labels[row, column] == (towards < 0)


def test_the_whole_window_is_a_part_without_a_rim() -> None:
    shown = window()
    preference = np.random.default_rng(1).normal(0, 3, shown.shape).astype(np.float32)
    seeds = [(5, 6, True), (20, 20, False)]
    cutter = shown.part_cutter(shown.whole, np.zeros(shown.shape, np.bool_))
    labels = shown.cut(preference, seeds)
    assert labels.any()
    assert not labels.all()
    assert np.array_equal(cutter.cut(preference, seeds), labels)
    assert np.array_equal(window().cut(preference, seeds), labels)


def test_contrast_is_that_of_the_border_besides_another() -> None:
    image = np.full((24, 32, 3), 100, np.uint8)
    image[:, 16:] = 200
    shown = ImageWindow(image, image[..., 0].copy(), Box(0, 0, 32, 24), max_side=32)
    left, top = np.zeros((2, *shown.shape), np.bool_)
    left[:, :16], top[:12] = True, True
    assert shown.contrast(left) > 0.9
    # Only where the top's border crosses the edge, smoothed, does it meet contrast.
    assert shown.contrast(top) < 0.1
    both = left & top
    assert shown.contrast(top) < shown.contrast(both) < shown.contrast(left)
    assert shown.contrast(both, besides=top) == pytest.approx(shown.contrast(left), abs=0.1)
    assert shown.contrast(left, besides=left) == 0
    assert shown.contrast(np.ones_like(left)) == 0


def test_clicks_beyond_the_window_fall_on_its_rim() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    shown = ImageWindow(image, image[..., 0], Box(10, 10, 50, 30), max_side=20)
    assert shown.shape == (10, 20)
    assert shown.cell(Click(10, 10, True)) == (0, 0, True)
    assert shown.cell(Click(0, 39, False)) == (9, 0, False)
    assert shown.cell(Click(49, 29, True)) == (9, 19, True)
