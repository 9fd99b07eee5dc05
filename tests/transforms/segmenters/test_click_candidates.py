"""What a mask must be like to explain the clicks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.records import Box
from transforms.segmenters.click_candidates import (
    best,
    box_candidates,
    click_likelihood,
    first_candidates,
    keep_clicked,
)
from transforms.segmenters.picture_window import PictureWindow


@given(st.lists(st.tuples(st.floats(0.1, 4), st.floats(0, 1)), min_size=1, max_size=6))
def test_a_deeper_click_is_never_less_likely(shares: list[tuple[float, float]]) -> None:
    deeper = [(weight, min(1.0, share + 0.1)) for weight, share in shares]
    assert click_likelihood(deeper) >= click_likelihood(shares)


def test_one_shallow_click_among_deep_ones_is_forgiven_more_than_one_at_the_edge() -> None:
    deep = [(2.0, 1.0)] * 4
    all_deep, shallow, edge = (click_likelihood([*deep, (2.0, s)]) for s in (1.0, 0.5, 0.0))
    assert all_deep - shallow < 0.5 * (shallow - edge)


def test_parts_without_a_positive_click_are_dropped_unless_anchored() -> None:
    labels = np.array([[1, 1, 0, 1, 0, 1]], np.bool_)
    cells = [(0, 0, True), (0, 3, False)]
    assert keep_clicked(labels, cells).tolist() == [[True, True, False, False, False, False]]
    anchor = np.array([[0, 0, 0, 0, 0, 1]], np.bool_)
    kept = keep_clicked(labels, cells, anchor=anchor)
    assert kept.tolist() == [[True, True, False, False, False, True]]


@pytest.mark.parametrize("value", [40, 220])
def test_a_plain_square_is_found_by_click_and_by_box(value: int) -> None:
    image = np.full((60, 80, 3), 128, np.uint8)
    image[20:40, 30:50] = value
    window = PictureWindow(image, image[..., 0].copy(), Box(0, 0, 80, 60), max_side=80)
    truth = image[..., 0] == value
    click = (28, 37, True)
    found = best(list(first_candidates(window, [click], centre=click, radii=(0.1, 0.2))))
    assert np.count_nonzero(found.labels != truth) < 0.05 * truth.sum()
    inner = np.zeros_like(truth)
    inner[15:46, 25:57] = True
    found = best(list(box_candidates(window, inner)))
    assert np.count_nonzero(found.labels != truth) < 0.05 * truth.sum()
