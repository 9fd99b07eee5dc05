"""Chamfer depths stay close to Euclidean ones."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from hlmat.transforms.segmenters.graphcut.chamfer import UNIT, chamfer_depth, depth_share


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


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 16), st.integers(1, 16)),
    filled=st.sampled_from([0.05, 0.5, 0.95, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_regions_side_by_side_are_measured_each_for_itself(
    shape: tuple[int, int], filled: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    regions = (rng.random(shape) < filled) * rng.integers(1, 3, shape).astype(np.uint8)
    depth = chamfer_depth(regions)
    for region in (1, 2):
        assert np.array_equal(depth * (regions == region), chamfer_depth(regions == region))
    row, column = int(rng.integers(shape[0])), int(rng.integers(shape[1]))
    share = depth_share(regions, row, column)
    assert share == depth[row, column] / max(int(depth.max()), 1)
