"""Clicks drawn from all of the probability and from its deciles."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.clickability.sampling import DECILES, sample_pixel

WHOLE = st.lists(st.integers(1, 60), min_size=1, max_size=12)


@pytest.mark.slow
@given(WHOLE)
def test_the_deciles_together_are_the_whole_distribution(parts: list[int]) -> None:
    probabilities = np.array(parts) / sum(parts)
    draws = (np.arange(200) + 0.5) / 200
    counts = np.zeros(len(parts))
    for decile in range(1, DECILES + 1):
        for draw in draws:
            counts[sample_pixel(probabilities, float(draw), decile=decile)] += 1
    assert counts / counts.sum() == pytest.approx(probabilities, abs=1.01 / 2000)


@given(WHOLE, st.integers(1, DECILES - 1))
def test_a_later_decile_has_no_less_likely_pixel(parts: list[int], decile: int) -> None:
    probabilities = np.array(parts) / sum(parts)
    highest = probabilities[sample_pixel(probabilities, 1 - 1e-9, decile=decile)]
    assert highest <= probabilities[sample_pixel(probabilities, 0.0, decile=decile + 1)] + 1e-9


@given(WHOLE, st.integers(0, 10**6 - 1))
def test_a_draw_is_the_inverse_of_the_cumulated_probability(parts: list[int], draw: int) -> None:
    share = Fraction(2 * draw + 1, 2 * 10**6)
    cumulated, expected = 0, -1
    for index, part in enumerate(parts):
        cumulated += part
        if share < Fraction(cumulated, sum(parts)):
            expected = index
            break
    probabilities = np.array(parts) / sum(parts)
    found = sample_pixel(probabilities, float(share))
    near_a_limit = any(abs(share - Fraction(sum(parts[:k]), sum(parts))) < 1e-9 for k in range(9))
    assert found == expected or near_a_limit


def test_the_least_likely_decile_comes_first_and_ties_keep_their_order() -> None:
    probabilities = np.array([0.5, 0.1, 0.2, 0.2])
    chosen = [sample_pixel(probabilities, 0.5, decile=k) for k in range(1, 11)]
    assert chosen == [1, 2, 2, 3, 3, 0, 0, 0, 0, 0]
