"""The search must find what measuring every pixel finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import ndimage

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.oracle.distance import DeepPixel, DepthSearch, deepest_pixel


def squared_depths(region: Mask) -> NDArray[np.int64]:
    """Measure every pixel, in whole square pixels."""
    padded = np.pad(region, 1)
    nearest = ndimage.distance_transform_edt(padded, return_distances=False, return_indices=True)
    assert isinstance(nearest, np.ndarray)
    rows, columns = nearest
    y, x = np.indices(padded.shape)
    return ((rows - y) ** 2 + (columns - x) ** 2)[1:-1, 1:-1].astype(np.int64)


def brute_force_depths(region: Mask) -> NDArray[np.int64]:
    """Measure every pixel against every pixel outside."""
    outside = np.argwhere(~np.pad(region, 1)) - 1
    depths = np.zeros(region.shape, dtype=np.int64)
    for y, x in np.argwhere(region):
        depths[y, x] = ((outside - (y, x)) ** 2).sum(axis=1).min()
    return depths


def first_deepest(depths: NDArray[np.int64]) -> DeepPixel | None:
    y, x = divmod(int(depths.argmax()), depths.shape[1])
    return DeepPixel(int(depths[y, x]), x, y) if depths[y, x] > 0 else None


@settings(max_examples=150, deadline=None)
@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=24)))
def test_depth_is_the_distance_to_the_nearest_pixel_outside(region: Mask) -> None:
    assert deepest_pixel(region) == first_deepest(brute_force_depths(region))


def masks_with_structure(rng: np.random.Generator) -> Mask:
    """Draw one of the shapes that a search by tiles could get wrong."""
    height, width = (int(n) for n in rng.integers(1, 130, 2))
    rows, columns = np.mgrid[:height, :width]
    period = int(rng.integers(1, 50))
    kinds = {
        "full": np.ones((height, width), dtype=np.bool_),
        "empty": np.zeros((height, width), dtype=np.bool_),
        "few holes": rng.random((height, width)) > 3 / (height * width),
        "dense noise": rng.random((height, width)) < 0.99,
        "noise": rng.random((height, width)) < rng.random(),
        "vertical bars": columns % (period + 1) != 0,
        "horizontal bars": rows % (period + 1) != 0,
        "stripes": (rows + columns) % (period + 1) != 0,
        "checkerboard": (rows // period + columns // period) % 2 == 0,
        "disc": (rows - rng.integers(height)) ** 2 + (columns - rng.integers(width)) ** 2
        < rng.integers(1, 5000),
        "wedge": rows * rng.integers(1, 5) < columns,
        "twin squares": (rows % 40 < 33) & (columns % 40 < 33),
    }
    return kinds[list(kinds)[int(rng.integers(len(kinds)))]]


@pytest.mark.parametrize("seed", range(8))
def test_the_search_finds_the_same_pixel_as_measuring_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(250):
        region = masks_with_structure(rng)
        depths = squared_depths(region)
        search = DepthSearch(region)
        assert search.bound >= depths.max()

        excluded: list[tuple[int, int]] = []
        for _ in range(4):
            expected = first_deepest(depths)
            assert search.deepest(excluded=excluded) == expected
            if expected is None:
                break
            deep_enough = search.deepest(at_least=expected.squared_depth, excluded=excluded)
            assert deep_enough == expected
            too_much = search.deepest(at_least=expected.squared_depth + 1, excluded=excluded)
            assert too_much is None
            excluded.append((expected.x, expected.y))
            depths[expected.y, expected.x] = 0


def test_excluding_every_pixel_leaves_none() -> None:
    region = np.ones((2, 3), dtype=np.bool_)
    every = [(x, y) for y in range(2) for x in range(3)]
    assert DepthSearch(region).deepest(excluded=every) is None


def test_a_region_that_is_no_contiguous_array() -> None:
    region = np.zeros((60, 80), dtype=np.bool_)
    region[5:30, 10:70] = True
    assert deepest_pixel(region.T) == DeepPixel(169, 17, 22)
