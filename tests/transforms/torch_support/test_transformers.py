"""Silence of transformers while it loads, and readable errors of what it loads."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.torch_support.transformers import (
    first_line,
    list_keys,
    misfits,
    quiet_transformers,
)


def load_badly(logging: Any) -> None:
    with quiet_transformers():
        assert logging.get_verbosity() == logging.ERROR
        assert not logging.is_progress_bar_enabled()
        warnings.warn("noise", stacklevel=1)
        raise ValueError("broken")


@pytest.mark.filterwarnings("error")
def test_transformers_is_as_loud_as_before_once_something_is_loaded() -> None:
    logging = pytest.importorskip("transformers.utils").logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_info()
    logging.enable_progress_bar()
    try:
        with pytest.raises(ValueError, match="broken"):
            load_badly(logging)
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity(before[0])
        if not before[1]:
            logging.disable_progress_bar()


@given(st.sets(st.text(min_size=1, max_size=5)))
def test_keys_are_counted_and_at_most_three_are_named(keys: set[str]) -> None:
    listed = list_keys(keys, what="missing")
    assert len(listed) == bool(keys)
    for phrase in listed:
        assert phrase.startswith(f"{len(keys)} tensors missing (")
        assert phrase.endswith(", ...)") or len(keys) <= 3
        assert sorted(keys)[0] in phrase


def test_an_error_takes_one_line() -> None:
    text = first_line(RuntimeError("first\n  second\n" + "x" * 1000))
    assert text.startswith("RuntimeError: first second x")
    assert len(text) == len("RuntimeError: ") + 300


def test_each_way_in_which_weights_do_not_fit_is_one_phrase() -> None:
    report = {
        "missing_keys": {"head.bias"},
        "unexpected_keys": ["old"],
        "mismatched_keys": [("head.weight", [2, 3], [4, 3])],
    }
    assert misfits(report) == [
        "1 tensors missing (head.bias)",
        "1 tensors not part of the model (old)",
        "1 tensors of another shape (head.weight is (2, 3), expected (4, 3))",
    ]
    assert misfits({"missing_keys": [], "unexpected_keys": [], "mismatched_keys": []}) == []
