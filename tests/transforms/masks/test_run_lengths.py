from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.masks.rle import encode_mask
from hlmat.transforms.masks.run_lengths import rle_problem


@given(npst.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_counts_of_a_mask_are_good_for_its_size_alone(mask: Mask) -> None:
    rle = encode_mask(mask)
    assert rle_problem(rle.counts, rle.size_hw) is None
    height, width = rle.size_hw
    assert "has" in (rle_problem(rle.counts, (height + 1, width)) or "")


@given(st.integers(0, 400_000), st.integers(0, 400_000))
def test_long_runs_are_read(start: int, length: int) -> None:
    mask = np.zeros((1000, 800), dtype=bool)
    mask.reshape(-1)[start : start + length] = True
    rle = encode_mask(mask)
    assert rle_problem(rle.counts, rle.size_hw) is None


@given(st.text(st.characters(max_codepoint=127), max_size=12))
def test_any_text_gets_an_answer(counts: str) -> None:
    problem = rle_problem(counts, (3, 4))
    assert problem is None or problem.startswith("its ")


@pytest.mark.parametrize(
    ("counts", "problem"),
    [
        ("", "its counts are empty"),
        ("ä", "its counts are not ASCII"),
        ("0 1", "its counts are no compressed run lengths"),  # a character below the digits
        ("00z", "its counts are no compressed run lengths"),  # one above them
        ("0d", "its counts are no compressed run lengths"),  # says that more follows
        ("ooooooo1", "its counts hold a run of impossible length"),
        ("0O", "its counts hold a negative run"),
        ("09", "its runs cover 9 pixels, a mask of 3 x 4 (height x width) has 12"),
    ],
)
def test_what_is_wrong_is_said(counts: str, problem: str) -> None:
    assert rle_problem(counts, (3, 4)) == problem
