"""Objects are proposed around clicks and in boxes."""

from __future__ import annotations

import numpy as np
import pytest

from hlmat.transforms.core.records import Box
from hlmat.transforms.segmenters.graphcut.first_click import (
    best,
    box_candidates,
    first_candidates,
    keep_clicked,
)
from hlmat.transforms.segmenters.graphcut.window import ImageWindow


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
    window = ImageWindow(image, image[..., 0].copy(), Box(0, 0, 80, 60), max_side=80)
    truth = image[..., 0] == value
    click = (28, 37, True)
    found = best(list(first_candidates(window, [click], centre=click, radii=(0.1, 0.2))))
    assert np.count_nonzero(found.labels != truth) < 0.05 * truth.sum()
    inner = np.zeros_like(truth)
    inner[15:46, 25:57] = True
    found = best(list(box_candidates(window, inner)))
    assert np.count_nonzero(found.labels != truth) < 0.05 * truth.sum()
