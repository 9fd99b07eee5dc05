from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.readers.files.ids import Table, id_of, id_order, number_of


@pytest.mark.parametrize("value", [0, 7.0, "7", "b-7", " é ", 2**63 - 1, 2**64 + 1])
def test_numbers_and_texts_are_ids(value: object) -> None:
    assert id_of(value) == (value if isinstance(value, str) else str(int(str(value).split(".")[0])))


@pytest.mark.parametrize(
    "value", [-1, 10**38, 1.5, math.nan, math.inf, True, None, "", "  ", "a\x1b[2J", [1], {}]
)
def test_nothing_else_is(value: object) -> None:
    assert id_of(value) is None
    assert number_of(value) is None
    assert id_order(value) == (0, 0, "")


@pytest.mark.parametrize("text", ["007", "7.0", "٧", "b7", "9" * 19 + "9", "1" * 5000])
def test_texts_that_only_look_like_numbers(text: str) -> None:
    assert id_of(text) == text
    assert number_of(text) is None


@pytest.mark.parametrize("value", [2**63, 10**38 - 1])
def test_ids_that_no_column_of_numbers_holds_are_texts(value: int) -> None:
    assert number_of(value) is None
    assert id_order(value) == (2, 0, str(value))


@given(st.lists(st.integers(0, 50) | st.integers(0, 50).map(str) | st.text(max_size=3)))
def test_the_order_is_that_of_numbers_then_texts(values: list[int | str]) -> None:
    in_order = sorted((v for v in values if id_of(v)), key=id_order)
    numbers = [n for v in in_order if (n := number_of(v)) is not None]
    assert numbers == sorted(numbers)
    assert all(number_of(v) is None for v in in_order[len(numbers) :])


def test_entries_by_id() -> None:
    entries = [{"id": 7, "n": 1}, {"id": "7", "n": 2}, {"id": "x"}, {"id": None}, "no entry", {}]
    table = Table(entries)
    assert [entry["n"] for entry in table.all_of(7.0)] == [1, 2]
    assert table.all_of("y") == table.all_of([7]) == []
    assert [entry["id"] for entry in table] == [7, "x"]
