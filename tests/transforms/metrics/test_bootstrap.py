"""Bootstrap intervals: exact where nothing varies, near the textbook's where something does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hlmat.transforms.metrics.bootstrap import mean_intervals, ratio_interval, resampled_sums

VALUES = arrays(np.float64, st.tuples(st.integers(1, 30), st.just(2)), elements=st.floats(0, 1))


@given(VALUES)
def test_an_interval_lies_among_the_values_and_holds_still(values: np.ndarray) -> None:
    first, second = mean_intervals(values), mean_intervals(values)
    assert first == second
    for column, interval in zip(values.T, first, strict=True):
        assert interval.value == pytest.approx(column.mean())
        assert column.min() - 1e-9 <= interval.low <= interval.high <= column.max() + 1e-9


def test_equal_values_have_no_width() -> None:
    (interval,) = mean_intervals(np.full((7, 1), 0.25))
    assert interval.as_dict() == {"value": 0.25, "low": 0.25, "high": 0.25}
    for count in range(1, 60):
        # Sums of thirds are rounded; the figure lies within its interval all the same.
        (interval,) = mean_intervals(np.full((count, 1), 1 / 3))
        assert interval.low <= interval.value <= interval.high


def test_the_mean_s_interval_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, size=(400, 1))
    (interval,) = mean_intervals(values)
    error = values.std() / np.sqrt(400)
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_a_ratio_is_resampled_as_a_ratio_of_sums() -> None:
    tops, bottoms = np.array([1.0, 0.0]), np.array([1.0, 9.0])
    interval = ratio_interval(tops, bottoms)
    # Of two targets a resample holds one of them twice, or both.
    assert (interval.value, interval.low, interval.high) == (0.1, 0.0, 1.0)
    nothing = ratio_interval(np.zeros(3), np.zeros(3))
    assert (nothing.value, nothing.low, nothing.high) == (1.0, 1.0, 1.0)


def test_every_draw_has_as_many_targets_however_they_are_cut() -> None:
    sums = resampled_sums(np.ones((9_000, 1)), resamples=700)
    assert sums.shape == (700, 1)
    assert (sums == 9_000).all()
