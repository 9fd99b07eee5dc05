"""Ids of data files: numbers or texts, compared as texts, and entries found by them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hlmat.transforms.masks.rle import whole_number

_MAX_NUMBER = (1 << 63) - 1
_TOO_LARGE = 10**38

Entry = Mapping[str, Any]


def id_of(value: object) -> str | None:
    """Return an id as text, None for what cannot be one.

    Ids are whole numbers from 0 of up to 38 digits, and printable texts that are not blank. A
    number equals its digits as text: tools write both into one file.

    >>> id_of(7), id_of(7.0), id_of("7"), id_of("b-7"), id_of(-1), id_of(None)
    ('7', '7', '7', 'b-7', None, None)
    """
    if isinstance(value, str):
        return value if value.isprintable() and value.strip() else None
    # Nearly every id is one, and files have millions.
    number = value if type(value) is int else whole_number(value)
    return str(number) if number is not None and 0 <= number < _TOO_LARGE else None


def number_of(value: object) -> int | None:
    """Return an id as a number from 0 that fits 64 bits, None if it is not one.

    >>> number_of("42"), number_of("042"), number_of("b-7")
    (42, None, None)
    """
    if type(value) is int:
        return value if 0 <= value <= _MAX_NUMBER else None
    text = id_of(value)
    if text is None or not (text.isascii() and text.isdigit()) or str(int(text[:20])) != text:
        return None
    return int(text) if int(text) <= _MAX_NUMBER else None


def id_order(value: object) -> tuple[int, int, str]:
    """Return the sort key of ids: missing ones first, then numbers by value, then texts."""
    number = number_of(value)
    if number is not None:
        return 1, number, ""
    text = id_of(value)
    return (0, 0, "") if text is None else (2, 0, text)


class Table:
    """The entries of a list by id; an id may occur more than once.

    Args:
        entries: of a data file; non-objects and entries without an id are left out.
    """

    def __init__(self, entries: Iterable[Any]) -> None:
        self._by_id: dict[str, list[Entry]] = {}
        for entry in entries:
            key = id_of(entry.get("id")) if isinstance(entry, dict) else None
            if key is not None:
                self._by_id.setdefault(key, []).append(entry)

    def all_of(self, value: object) -> list[Entry]:
        """Return the entries with an id, in the order of the file."""
        key = id_of(value)
        return [] if key is None else self._by_id.get(key, [])

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over the first entry of each id, in the order of the file."""
        return (entries[0] for entries in self._by_id.values())
