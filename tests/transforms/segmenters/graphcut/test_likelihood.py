"""Clicks are more likely the deeper they are in the error that they correct."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.segmenters.graphcut.likelihood import PastError, click_likelihood


@given(st.lists(st.tuples(st.floats(0.1, 4), st.floats(0, 1)), min_size=1, max_size=6))
def test_a_deeper_click_is_never_less_likely(shares: list[tuple[float, float]]) -> None:
    deeper = [(weight, min(1.0, share + 0.1)) for weight, share in shares]
    assert click_likelihood(deeper) >= click_likelihood(shares)


def test_one_shallow_click_among_deep_ones_is_forgiven_more_than_one_at_the_edge() -> None:
    deep = [(2.0, 1.0)] * 4
    all_deep, shallow, edge = (click_likelihood([*deep, (2.0, s)]) for s in (1.0, 0.5, 0.0))
    assert all_deep - shallow < 0.5 * (shallow - edge)


@pytest.mark.parametrize(
    ("column", "is_positive", "share"),
    [
        (2, True, 1.0),  # the middle of what is missed, which is the largest error
        (0, True, 0.5),  # between its middle and its edge
        (7, False, 0.5),  # the middle of the smaller error, what is wrong
        (7, True, 0.0),  # the wrong kind of click there
        (5, True, 0.0),  # no error there
    ],
)
def test_a_past_click_is_measured_against_the_deepest_error(
    column: int, is_positive: bool, share: float
) -> None:
    truth, labels = np.zeros((2, 9, 9), np.bool_)
    truth[:, :5] = True
    labels[:, 7] = True
    depth = PastError(labels, (4, column, is_positive)).depth_share(truth)
    assert depth == pytest.approx(share, abs=0.2)


def test_without_any_error_a_past_click_is_as_good_as_the_deepest() -> None:
    labels = np.eye(4, dtype=np.bool_)
    assert PastError(labels, (0, 1, True)).depth_share(labels) == 1.0
