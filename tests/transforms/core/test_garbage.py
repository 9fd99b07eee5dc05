"""The search for reference cycles pauses and goes on."""

from __future__ import annotations

import gc

import pytest

from hlmat.transforms.core.garbage import no_cycle_search


def fail_during_a_pause() -> None:
    with no_cycle_search():
        assert not gc.isenabled()
        raise ValueError("of the work")


def test_the_search_goes_on_after_an_error_too() -> None:
    assert gc.isenabled()
    with pytest.raises(ValueError, match="of the work"):
        fail_during_a_pause()
    assert gc.isenabled()


def test_a_pause_within_a_pause_ends_with_the_outer_one() -> None:
    with no_cycle_search():
        with no_cycle_search():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
