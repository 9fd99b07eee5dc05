"""Proposed changes honour every click, without duplicates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlmat.transforms.core.records import Box
from hlmat.transforms.segmenters.graphcut.first_click import best
from hlmat.transforms.segmenters.graphcut.likelihood import PastError
from hlmat.transforms.segmenters.graphcut.refinement import change_candidates
from hlmat.transforms.segmenters.graphcut.window import Cell, ImageWindow


def two_squares() -> ImageWindow:
    """Show two squares of different colours on a plain ground."""
    image = np.full((48, 64, 3), 110, np.uint8)
    image[12:32, 10:28] = (200, 60, 50)
    image[12:32, 34:54] = (50, 60, 200)
    return ImageWindow(image, image[..., 1].copy(), Box(0, 0, 64, 48), max_side=64)


@settings(max_examples=15, deadline=None)
@given(
    cells=st.lists(
        st.tuples(st.integers(0, 47), st.integers(0, 63), st.booleans()),
        min_size=1,
        max_size=9,
        unique_by=lambda cell: cell[:2],
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_candidate_honours_the_clicks_and_is_unique(cells: list[Cell], seed: int) -> None:
    window = two_squares()
    prior = np.zeros(window.shape, np.float32)
    y, x = np.random.default_rng(seed).integers(0, 40, 2)
    prior[y : y + 20, x : x + 20] = 1
    past = [PastError(prior > 0.5, cells[-1])]
    candidates = list(change_candidates(window, prior, cells, past=past))
    for candidate in candidates:
        for row, column, is_positive in cells:
            assert candidate.labels[row, column] == is_positive
    assert len({candidate.labels.tobytes() for candidate in candidates}) == len(candidates) > 0


_LEFT, _RIGHT, _BOTH = np.s_[12:32, 10:28], np.s_[12:32, 34:54], np.s_[12:32, 10:54]
_ON_LEFT, _ON_RIGHT = (22, 18, True), (22, 50, True)


@pytest.mark.parametrize(
    ("before", "cells", "wanted"),
    [
        ([_LEFT], [_ON_LEFT, (22, 44, True)], [_LEFT, _RIGHT]),
        ([_LEFT, _RIGHT], [_ON_LEFT, (22, 44, False)], [_LEFT]),
        ([_BOTH], [_ON_LEFT, _ON_RIGHT, (22, 31, False)], [_LEFT, _RIGHT]),
    ],
    ids=["a square is added", "a square is taken away", "the gap is taken away"],
)
def test_the_best_change_is_what_the_click_points_at(
    before: list[tuple[slice, slice]], cells: list[Cell], wanted: list[tuple[slice, slice]]
) -> None:
    window = two_squares()
    prior, truth = np.zeros((2, *window.shape), np.float32)
    for part in before:
        prior[part] = 1
    for part in wanted:
        truth[part] = 1
    past = [PastError(prior > 0.5, cells[-1])]
    found = best(list(change_candidates(window, prior, cells, past=past)))
    assert np.count_nonzero(found.labels != (truth > 0.5)) < 0.1 * truth.sum()
