"""Bounds on plain content of files: keys, depth, and size with all shared parts written out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

MAX_DEPTH = 100
"""Of containers inside containers."""
MAX_EXPANSION = 32
"""How many times the file's size its content may be once all shared parts are written out."""
_FREE_EXPANSION = 1 << 16
_SCALARS = (str, bytes, int, float, bool, type(None))
_KEYS = frozenset(_SCALARS)
_CONTAINERS = frozenset({list, dict, tuple, set, frozenset})
_SIZED = _CONTAINERS | {str, bytes}


def expansion_limit(size: int) -> int:
    """Return how many items and characters a file of `size` bytes may expand to."""
    return MAX_EXPANSION * size + _FREE_EXPANSION


def size_of(value: Any) -> int:
    """Return the number of items or characters of a container or text; 0 for anything else."""
    return len(value) if type(value) in _SIZED else 0


def keys_among(values: Sequence[Any]) -> Sequence[Any]:
    """Return values after checking that each can be a key without a hash that nests.

    Raises:
        ValueError: one is neither a text nor a number.
    """
    for value in values:
        if type(value) not in _KEYS:
            raise ValueError(f"a {type(value).__name__} is a key; texts and numbers are read")
    return values


def check_expansion(
    content: Any, *, size: int, parts_of: Callable[[Any], Iterable[Any]] = lambda _: ()
) -> None:
    """Refuse content that is deep, holds itself, or is huge once all that is shared is written out.

    Args:
        content: nested lists, dictionaries, tuples, sets, texts and numbers.
        size: of the file, in bytes.
        parts_of: what is inside a thing of another type.

    Raises:
        ValueError: past a bound.
    """
    left = expansion_limit(size)
    level = [content]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for thing in level:
            kind = type(thing)
            if kind is dict:
                left -= sum(len(key) for key in thing if type(key) is str or type(key) is bytes)
                parts: Iterable[Any] = thing.values()
            else:
                parts = thing if kind in _CONTAINERS else parts_of(thing)
            left -= 1
            for part in parts:
                kind = type(part)
                if kind is str or kind is bytes:
                    left -= len(part)
                elif kind in _CONTAINERS or not isinstance(part, _SCALARS):
                    inner.append(part)
                left -= 1
            if left < 0:
                raise ValueError(
                    f"written out without shared parts it is more than {MAX_EXPANSION} times as "
                    "large as the file"
                )
        if not inner:
            return
        level = inner
    raise ValueError(f"it nests deeper than {MAX_DEPTH} levels, or holds itself")


def brief(value: Any) -> str:
    """Return the start of a text, a number, or the type of anything else, which may be huge."""
    if isinstance(value, str | bytes):
        value = value[:40]
    return repr(value) if isinstance(value, _SCALARS) else f"a {type(value).__name__}"
