"""JSON in a model's text, read without forgiving anything: numbers stay the texts they are."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from hlmat.transforms.prompting.coordinates import CoordinateCodec

_SHOWN_CHARACTERS = 60
_SHOWN_DEPTH = 8


class NumberText(str):
    """A number of a JSON text, as it is written."""

    __slots__ = ()


def parse_strict_json(text: str) -> Any:
    """Return the value of a JSON text, its numbers as `NumberText`.

    Raises:
        ValueError: not JSON, a key twice in an object, NaN or infinity, or too deep.

    >>> parse_strict_json('{"x": 0.50}')
    {'x': '0.50'}
    """
    try:
        return json.loads(
            text,
            parse_int=NumberText,
            parse_float=NumberText,
            parse_constant=_refused,
            object_pairs_hook=_object,
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None


def parse_point(value: Any, *, size_hw: tuple[int, int], codec: CoordinateCodec) -> tuple[int, int]:
    """Return the pixel (x, y) of a list of two numbers.

    Raises:
        ValueError: anything else, or a number out of the codec's range.
    """
    first, second = _numbers(value, 2)
    return codec.pixel(first, second, size_hw=size_hw)


def parse_corners(
    value: Any, *, size_hw: tuple[int, int], codec: CoordinateCodec
) -> tuple[int, int, int, int]:
    """Return the first and the last pixel (x0, y0, x1, y1) of a list of four numbers.

    Raises:
        ValueError: anything else, or a number out of the codec's range.
    """
    numbers = _numbers(value, 4)
    x0, y0 = codec.pixel(numbers[0], numbers[1], size_hw=size_hw)
    x1, y1 = codec.pixel(numbers[2], numbers[3], size_hw=size_hw)
    return x0, y0, x1, y1


def expect_keys(value: Any, *keys: str) -> dict[str, Any]:
    """Return an object that has these keys and no others.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(value, dict):
        raise ValueError(f"got {shown(value)}, expected an object")
    if value.keys() != set(keys):
        raise ValueError(
            f"an object with the keys {_listed(value)}, expected {_listed(keys) or 'none'}"
        )
    return value


def shown(value: Any) -> str:
    """Return a short text for a value."""
    text = _text_of(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def _text_of(value: Any, depth: int = _SHOWN_DEPTH) -> str:
    match value:
        case NumberText():
            return str(value)
        case list() | dict() if not depth:
            return "..."
        case list():
            entries = (_text_of(entry, depth - 1) for entry in value[:_SHOWN_CHARACTERS])
            return f"[{', '.join(entries)}]"
        case dict():
            pairs = (f"{json.dumps(k)}: {_text_of(entry, depth - 1)}" for k, entry in value.items())
            return f"{{{', '.join(pairs)}}}"
        case _:
            return json.dumps(value)


def _numbers(value: Any, count: int) -> list[NumberText]:
    if (
        not isinstance(value, list)
        or len(value) != count
        or not all(isinstance(number, NumberText) for number in value)
    ):
        raise ValueError(f"got {shown(value)}, expected a list of {count} numbers")
    return value


def _listed(keys: Any) -> str:
    return ", ".join(repr(str(key)) for key in keys)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} occurs twice in one object")
        found[key] = value
    return found


def _refused(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
