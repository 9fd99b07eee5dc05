"""What a model is shown: sizes, colours, and what it reads as wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.prompting.coordinates import build_codec
from hlmat.transforms.prompting.rendering import ReducedSize, StateView
from hlmat.transforms.prompting.resizes import SmartResize, same_size


@given(
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.none() | st.integers(1, 3000),
)
def test_reduced_size_never_enlarges_nor_passes_the_bound(
    height: int, width: int, max_side: int | None
) -> None:
    size = ReducedSize(max_side, then=same_size)((height, width))
    assert 1 <= size[0] <= height
    assert 1 <= size[1] <= width
    if max_side is not None and max(height, width) > max_side:
        assert max(size) == max_side
    else:
        assert size == (height, width)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 10**6))
def test_a_bound_on_the_area_is_kept_and_nearly_reached(
    height: int, width: int, max_pixels: int
) -> None:
    rows, columns = ReducedSize(None, then=same_size, max_pixels=max_pixels)((height, width))
    assert 1 <= rows <= height
    assert 1 <= columns <= width
    assert rows * columns <= max_pixels
    if height * width <= max_pixels:
        assert (rows, columns) == (height, width)
    else:
        # Another row and column would exceed the bound.
        assert (rows + 1) * (columns + 1) > max_pixels or 1 in (rows, columns)


def test_the_largest_area_is_the_tighter_bound() -> None:
    assert StateView().largest_area is None
    assert StateView(max_side=10).largest_area == 100
    assert StateView(max_side=10, max_pixels=90).largest_area == 90


def test_the_model_s_own_resize_comes_after_ours() -> None:
    assert ReducedSize(448, then=SmartResize())((1000, 2000)) == (224, 448)


def test_the_mask_is_drawn_before_the_image_is_reduced() -> None:
    image = np.full((40, 80, 3), 100, np.uint8)
    mask = np.zeros((40, 80), np.bool_)
    mask[::2] = True
    shown = StateView(colour="red", max_side=40).draw(image, mask)
    assert shown.shape == (20, 40, 3)
    # Each pixel averages a row under the mask, (178, 50, 50), and one beside it.
    assert np.abs(shown.astype(int) - [139, 75, 75]).max() <= 1


def test_without_a_mask_the_image_is_shown_as_it_is() -> None:
    image = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    assert StateView().draw(image, None) is image


def test_pixels_are_those_of_the_reduced_image() -> None:
    codec = StateView(max_side=50).seen_through(build_codec("pixels"))
    assert codec.render(99, 0, size_hw=(100, 100)) == "(49, 0)"
    assert build_codec("pixels").render(99, 0, size_hw=(100, 100)) == "(99, 0)"


def test_a_view_reports_every_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        StateView(colour="pink", opacity=2, max_side=0)
    assert caught.value.problems == (
        "StateView.opacity 2: must be from 0 to 1",
        "StateView.max_side 0: must be at least 1",
        "StateView.colour 'pink': choose from green, red, blue",
    )
