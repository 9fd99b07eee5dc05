"""Different colours are separated, similar ones share their mass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlmat.transforms.segmenters.graphcut.colour_model import ColourClasses


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    seed=st.integers(0, 2**32 - 1),
)
def test_mass_is_the_sum_of_weights_by_class(shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    lab = (rng.integers(0, 3, (*shape, 3)) * 20).astype(np.float32)
    colours = ColourClasses(lab)
    weights = rng.random(shape).astype(np.float32)
    part = np.s_[shape[0] // 3 :, : shape[1] // 2 + 1]
    of_cell = colours.paint(colours.mass(weights[part], part), part)
    same = (lab[part][:, :, None, None] == lab[part][None, None]).all(axis=-1)
    expected = (same * weights[part].astype(np.float64)).sum(axis=(2, 3))
    np.testing.assert_allclose(of_cell, expected, rtol=1e-12)
    ones = np.ones(shape, np.float32)
    assert np.array_equal(colours.mass(ones), colours.count)
    assert colours.count.sum() == ones.size


def two_halves(first: float, second: float) -> ColourClasses:
    """Return the colours of an image of two greys, of these lightnesses."""
    lab = np.zeros((4, 8, 3), np.float32)
    lab[:, :4, 0], lab[:, 4:, 0] = first, second
    return ColourClasses(lab)


def test_evidence_is_for_the_side_that_a_colour_is_seen_on() -> None:
    colours = two_halves(20, 80)
    left = np.zeros((4, 8), np.float32)
    left[:, :4] = 1
    inside = colours.mass(left)
    evidence = colours.paint(colours.evidence(inside, colours.count - inside))
    assert (evidence[:, :4] > 1).all()
    assert (evidence[:, 4:] < -1).all()
    assert not colours.evidence(inside, 2 * inside).any()


@pytest.mark.parametrize(
    ("lightness", "least", "most"),
    [
        (80, 0.99, 1.0),  # far apart
        (31, 0.01, 0.5),  # kindred
    ],
)
def test_kindred_colours_separate_less(lightness: float, least: float, most: float) -> None:
    colours = two_halves(24, lightness)
    left = np.zeros((4, 8), np.bool_)
    left[:, :4] = True
    assert least <= colours.separation(left) <= most
    left[:, 2:6] ^= True
    assert colours.separation(left) == pytest.approx(0, abs=1e-9)
