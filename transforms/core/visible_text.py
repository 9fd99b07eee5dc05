"""Texts shown without the characters that command a terminal, reorder text or break a stream."""

from __future__ import annotations

import contextlib
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

# Joiners are part of scripts and emoji, and all spaces are harmless.
_HARMLESS = frozenset("\u200c\u200d")


def visible(text: str, *, keep: str = "\n") -> str:
    """Return a text whose control characters, except those to keep, are written as escapes.

    >>> visible("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    if text.isprintable():
        return text
    return "".join(c if _is_visible(c) or c in keep else _escaped(c) for c in text)


def visible_json(text: str) -> str:
    """Return JSON, as `json.dumps` makes it, with the same content and without such characters.

    >>> visible_json('["\\x9b2J"]')
    '["\\\\u009b2J"]'
    """
    if text.isprintable():
        return text
    return "".join(c if _is_visible(c) or c == "\n" else _json_escaped(c) for c in text)


class VisibleStream:
    """A text stream that passes everything written through `visible`.

    It never fails on a character that the stream's encoding lacks.

    Args:
        stream: what is written to.

    Attributes:
        unfiltered: the stream itself, for progress bars.
    """

    def __init__(self, stream: TextIO) -> None:
        self.unfiltered = stream

    def write(self, text: str) -> int:
        self.unfiltered.write(self._encodable(visible(text)))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unfiltered, name)

    def _encodable(self, text: str) -> str:
        encoding = self.unfiltered.encoding or "utf-8"
        return text.encode(encoding, "backslashreplace").decode(encoding)


@contextlib.contextmanager
def visible_output() -> Iterator[None]:
    """Pass what is printed within the block, to either stream, through `visible`."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (VisibleStream(stream) for stream in before)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def unfiltered(stream: TextIO) -> TextIO:
    """Return the stream below a `VisibleStream`, or the stream itself."""
    return getattr(stream, "unfiltered", stream)


def _is_visible(character: str) -> bool:
    if character.isprintable() or character in _HARMLESS:
        return True
    return unicodedata.category(character) == "Zs"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _json_escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))
