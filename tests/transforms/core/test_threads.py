"""Work on threads: results in order, a bounded distance ahead, errors where they belong."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.threads import Threads, available_cores


def test_there_is_at_least_one_core():
    assert available_cores() >= 1


def test_a_count_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Threads(0)


@given(
    items=st.lists(st.integers(), max_size=30),
    count=st.integers(1, 4),
    ahead=st.integers(0, 5),
)
def test_results_come_in_the_order_of_the_items(items: list[int], count: int, ahead: int):
    threads = Threads(count)
    assert threads.map(lambda x: x * 2, items) == [x * 2 for x in items]
    assert list(threads.map_ahead(lambda x: x * 2, items, ahead=ahead)) == [x * 2 for x in items]


def test_several_threads_share_the_items():
    both = threading.Barrier(2, timeout=30)
    assert Threads(2).map(lambda _: both.wait() >= 0, range(2)) == [True, True]


def test_one_thread_is_the_callers_own():
    assert Threads(1).map(lambda _: threading.get_ident(), range(3)) == [threading.get_ident()] * 3


def test_it_works_at_most_so_far_ahead():
    drawn: list[int] = []

    def items():
        for number in range(10):
            drawn.append(number)
            yield number

    results = Threads(1).map_ahead(lambda x: x, items(), ahead=2)
    assert next(results) == 0
    assert drawn == [0, 1, 2]
    assert next(results) == 1
    assert drawn == [0, 1, 2, 3]


def test_it_works_beside_the_caller():
    started = threading.Event()
    results = Threads(1).map_ahead(lambda x: started.set() or x, [1, 2], ahead=1)
    assert next(results) == 1
    assert started.wait(timeout=30)


def test_an_error_is_raised_where_its_result_would_come():
    def fail_at_two(number: int) -> int:
        if number == 2:
            raise KeyError("two")
        return number

    results = Threads(2).map_ahead(fail_at_two, [1, 2, 3], ahead=2)
    assert next(results) == 1
    with pytest.raises(KeyError, match="two"):
        next(results)
