"""What a server keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.pipelines.serving.caches import BoundedCache, bytes_of


def test_the_least_recently_used_goes_first() -> None:
    cache: BoundedCache[str] = BoundedCache(10)
    for name in "abc":
        cache.put(name, name.upper(), 3)
    assert cache.get("a") == "A"
    cache.put("d", "D", 4)
    assert [cache.get(name) for name in "abcd"] == ["A", None, "C", "D"]
    assert cache.held_bytes == 10


def test_a_value_is_replaced() -> None:
    cache: BoundedCache[int] = BoundedCache(10)
    cache.put("a", 1, 8)
    cache.put("a", 2, 9)
    assert (cache.get("a"), cache.held_bytes) == (2, 9)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 12))), st.integers(1, 20))
def test_it_never_holds_more_than_its_limit(puts: list[tuple[str, int]], limit: int) -> None:
    cache: BoundedCache[int] = BoundedCache(limit)
    sizes: dict[str, int] = {}
    for name, size in puts:
        cache.put(name, size, size)
        sizes[name] = size
        assert cache.held_bytes <= limit
        kept = {n: v for n in sizes if (v := cache.get(n)) is not None}
        assert sum(kept.values()) == cache.held_bytes
        assert all(sizes[n] == v for n, v in kept.items())


@dataclass
class Memory:
    mask: Any
    more: list[Any]


class Plain:
    def __init__(self, value: Any) -> None:
        self.value = value


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(1000, np.uint8),
        [np.zeros(500, np.uint8), {"a": np.zeros(500, np.uint8)}],
        Memory(np.zeros(400, np.uint8), [np.zeros((30, 20), np.bool_)]),
        Plain((np.zeros(1000, np.uint8), "text")),
        bytes(1000),
    ],
)
def test_arrays_count_wherever_they_are(value: Any) -> None:
    assert 1000 <= bytes_of(value) < 1000 + 8 * 512


def test_what_refers_to_itself_has_a_size() -> None:
    own: list[Any] = []
    own.append(own)
    assert bytes_of(own) == 9 * 512
