"""Observations of states are arrays of one size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.records import Click
from hlmat.transforms.envs.observation import ObservationView, rescaled
from hlmat.transforms.envs.state import (
    AnnotationState,
    click_all,
    first_state,
    list_targets,
    load_target,
)
from hlmat.transforms.segmenters.disc import DiscSegmenter
from scene_reader import SceneReader


def clicked_state(*clicks: Click) -> AnnotationState:
    """The state of a target of 40 x 50 (height x width) pixels after clicks."""
    segmenter = DiscSegmenter()
    state = first_state(load_target(list_targets(SceneReader(1))[0][0], segmenter))
    for click in clicks:
        state = click_all([(state, click)], segmenter=segmenter)[0]
    return state


@pytest.mark.parametrize("size_hw", [(40, 50), (20, 25), (100, 30), (7, 200), (1, 1)])
def test_every_array_has_the_size_that_was_asked_for(size_hw: tuple[int, int]):
    view = ObservationView(size_hw, 2)
    seen = view.observe(clicked_state(Click(10, 10, True), Click(49, 39, False)))
    assert {name: (values.shape, values.dtype.name) for name, values in seen.items()} == {
        "image": ((*size_hw, 3), "uint8"),
        "mask": (size_hw, "uint8"),
        "clicks": ((*size_hw, 2), "uint8"),
    }
    assert view.draw(clicked_state(Click(10, 10, True))).shape == (*size_hw, 3)


def test_at_the_images_own_size_nothing_is_resized():
    state = clicked_state(Click(10, 12, True), Click(40, 30, False))
    seen = ObservationView((40, 50), 0).observe(state)
    assert np.array_equal(seen["image"], state.target.image)
    assert np.array_equal(seen["mask"], state.mask * 255)
    assert [tuple(p) for p in np.argwhere(seen["clicks"])] == [(12, 10, 0), (30, 40, 1)]
    assert seen["clicks"].max() == 255


def test_a_reduced_mask_holds_the_share_of_each_pixel_that_is_covered():
    mask = np.zeros((4, 4), dtype=np.bool_)
    mask[:2, :2] = True
    mask[0, 2] = True
    plane = ObservationView((2, 2), 0).mask_plane(mask)
    assert plane[0, 0] == 255
    assert plane[0, 1] in (63, 64)
    assert not plane[1].any()


def test_discs_have_the_radius_in_pixels_of_the_observation():
    planes = ObservationView((20, 25), 3).click_planes([Click(25, 20, True)], size_hw=(40, 50))
    rows, columns, channels = np.nonzero(planes)
    assert (rows.min(), rows.max()) == (7, 13)
    assert (columns.min(), columns.max()) == (9, 15)
    assert set(channels) == {0}


def test_observations_share_no_memory_with_the_state():
    state = clicked_state(Click(10, 12, True))
    for values in ObservationView((40, 50), 0).observe(state).values():
        assert not np.shares_memory(values, state.target.image)
        assert not np.shares_memory(values, state.mask)


def test_the_drawing_shows_the_mask():
    view = ObservationView((40, 50), 1)
    before, after = view.draw(clicked_state()), view.draw(clicked_state(Click(25, 20, True)))
    assert np.array_equal(before, clicked_state().target.image)
    # Half-transparent green within the disc.
    assert after[20, 20, 1] > before[20, 20, 1]
    assert np.array_equal(after[0, 0], before[0, 0])


@given(st.integers(1, 400), st.integers(1, 400), st.data())
def test_rescaled_pixels_lie_within_and_keep_their_order(length: int, to: int, data: st.DataObject):
    pixel = data.draw(st.integers(0, length - 1))
    found = rescaled(pixel, length=length, to=to)
    assert 0 <= found < to
    if pixel:
        assert rescaled(pixel - 1, length=length, to=to) <= found
    if to >= length:
        assert rescaled(found, length=to, to=length) == pixel
