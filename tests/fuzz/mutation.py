"""Inputs that are nearly right: examples with something in them replaced, cut, doubled or moved."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

HOSTILE_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    7,
    2**31,
    2**63,
    2**64,
    10**30,
    1.5,
    -0.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    " ",
    "a",
    "0",
    "../x",
    "/etc/passwd",
    "C:\\x",
    "a\0b",
    "a\x1b[2J\r\n",
    "\ud800",
    "\u202e",
    "é" * 300,
    "9" * 5000,
    [],
    {},
    [[]],
    [None],
    [1, 2],
    {"a": 1},
    [[[[[[[[1]]]]]]]],
    [0, 1e308, "x", None],
)
HOSTILE_BYTES = (
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\n",
    b"\r",
    b'"',
    b"[" * 3000,
    b'{"a":' * 3000,
    b"1e999",
    b"-",
    b"9" * 5000,
    b"NaN",
    b"null",
    b"\x1b[2J",
    b"\xed\xa0\x80",
)


def near_bytes(examples: Sequence[bytes], words: Sequence[bytes] = ()) -> st.SearchStrategy[bytes]:
    """Generate examples with a few spans replaced by other spans or by hostile words."""
    pieces = st.sampled_from((*HOSTILE_BYTES, *words)) | st.binary(max_size=8)

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        data = draw(st.sampled_from(list(examples)))
        for _ in range(draw(st.integers(0, 4))):
            start = draw(st.integers(0, len(data)))
            end = min(start + draw(st.sampled_from((0, 1, 2, 5, 50))), len(data))
            span = draw(st.integers(0, len(data)))
            piece = draw(pieces | st.just(data[span : span + 20]))
            data = data[:start] + piece + data[end:]
        return data

    return changed() | st.binary(max_size=60)


def near_json(
    examples: Sequence[Any], *, encode: Callable[[Any], bytes] | None = None
) -> st.SearchStrategy[bytes]:
    """Generate files of examples with values replaced, removed or moved, and keys lost.

    Args:
        examples: plain values.
        encode: writes a file; JSON if not given.
    """
    written = encode or (lambda value: json.dumps(value).encode())
    hostile = st.sampled_from(HOSTILE_VALUES) | st.integers() | st.text(max_size=6)

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        content = _copied(draw(st.sampled_from(list(examples))))
        for _ in range(draw(st.integers(1, 3))):
            places = list(_places(content))
            if not places:
                content = _copied(draw(hostile))
                break
            parent, key = draw(st.sampled_from(places))
            match draw(st.sampled_from(("replace", "replace", "remove", "move", "repeat"))):
                case "replace":
                    parent[key] = _copied(draw(hostile))
                case "remove":
                    del parent[key]
                case "move":
                    other, name = draw(st.sampled_from(places))
                    parent[key] = _copied(other[name])
                case "repeat" if isinstance(parent, list):
                    parent.append(_copied(parent[key]))
        data = written(content)
        for _ in range(draw(st.sampled_from((0, 0, 0, 1)))):
            start = draw(st.integers(0, len(data)))
            data = data[:start] + draw(st.sampled_from(HOSTILE_BYTES)) + data[start + 1 :]
        return data

    return changed()


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def _places(value: Any, depth: int = 0) -> Any:
    """Yield each container with each key or index in it."""
    if not isinstance(value, dict | list):
        return
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(entries):
        yield value, key
        if depth < 8 and isinstance(inner, dict | list):
            yield from _places(inner, depth + 1)
