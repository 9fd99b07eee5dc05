"""Chamfer depths stay close to Euclidean ones."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from transforms.segmenters.chamfer import UNIT, chamfer_depth


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    filled=st.sampled_from([0.3, 0.9, 0.99, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_depth_is_nearly_euclidean(shape: tuple[int, int], filled: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random(shape) < filled
    exact = np.asarray(distance_transform_edt(np.pad(mask, 1)))[1:-1, 1:-1]
    depth = chamfer_depth(mask) / 1024
    assert (depth[~mask] == 0).all()
    np.testing.assert_allclose(depth[mask], exact[mask], rtol=0.08)


def test_surroundings_are_outside() -> None:
    assert chamfer_depth(np.ones((1, 5), np.bool_)).tolist() == [[UNIT] * 5]
