"""Instances files read without keeping their annotations, of which there may be millions.

One pass over the file notes where each annotation is, and its ids; an annotation is parsed again
when it is asked for. Files that this pass cannot read, such as those with NaN or with annotations
that are no objects, are read whole by Python's own parser, which says what is wrong with them.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from hlmat.transforms.core.errors import DataError, LayoutError
from hlmat.transforms.core.garbage import no_cycle_search
from hlmat.transforms.core.storage import ReadableFile, Storage
from hlmat.transforms.readers.files.file_parts import open_parts
from hlmat.transforms.readers.files.id_columns import IdColumn
from hlmat.transforms.readers.files.json import need_list, read_json

_READ_BYTES = 1 << 22
_AHEAD_BYTES = 1 << 16
_START = re.compile(rb'"annotations"[ \t\r\n]*:[ \t\r\n]*\[[ \t\r\n]*(?=\{)')
_END_OF_OBJECT = re.compile(rb"\}[ \t\r\n]*(?:,[ \t\r\n]*(?=\{)|(\]))")
_STAND_IN = "the annotations that were left out"
_LONGEST_START = 4096
_LONGEST_OBJECT = 1 << 26
_MOST_NESTED = 256
"""Longer annotations, and those with more objects inside, are left to a parser that finds their
end at once."""
_DIGITS = bytes(ord("0") if ord("0") <= code <= ord("9") else code for code in range(256))
_LONG_NUMBER = b"0" * 19
"""As digits; orjson rounds whole numbers that 64 bits cannot hold."""


class CocoAnnotations:
    """The annotations of an instances file.

    Attributes:
        ids: of the annotations.
        image_ids: of the annotations' images.
    """

    ids: IdColumn
    image_ids: IdColumn

    def __init__(self, entries: Sequence[Any]) -> None:
        self._entries: Sequence[Any] = entries
        fields = [entry if isinstance(entry, dict) else {} for entry in entries]
        self.ids = IdColumn(entry.get("id") for entry in fields)
        self.image_ids = IdColumn(entry.get("image_id") for entry in fields)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, position: int) -> Any:
        """Return an annotation as the file has it, by its position in the file."""
        return self._entries[position]

    def __iter__(self) -> Iterator[Any]:
        return (self[position] for position in range(len(self)))


class _UnreadAnnotations(CocoAnnotations):
    """Annotations that are parsed each time they are asked for."""

    def __init__(self, parts: ReadableFile, path: str) -> None:
        self.ids, self.image_ids = IdColumn(), IdColumn()
        self._parts, self._path = parts, path
        self._starts, self._ends = array("q"), array("q")
        self._last = -1
        """The position of the annotation that was last asked for."""
        self._ahead, self._ahead_from = b"", 0
        """A piece of the file, and where it starts there."""

    def add(self, entry: Mapping[str, Any], start: int, end: int) -> None:
        self.ids.append(entry.get("id"))
        self.image_ids.append(entry.get("image_id"))
        self._starts.append(start)
        self._ends.append(end)

    def __getitem__(self, position: int) -> Any:
        try:
            return orjson.loads(self._bytes_of(position))
        except (orjson.JSONDecodeError, OSError) as error:
            raise DataError(
                f"{self._path} cannot be read again, or changed while it was read ({error}); start "
                "again once nothing writes to it"
            ) from error

    def _bytes_of(self, position: int) -> bytes:
        """Return the bytes of an annotation; of those after it too, if they are asked for in the
        order of the file, read as one piece."""
        start, end = self._starts[position], self._ends[position]
        first = start - self._ahead_from
        if first < 0 or end - self._ahead_from > len(self._ahead):
            is_next = position == self._last + 1
            self._ahead = self._parts.part(start, max(end, start + _AHEAD_BYTES * is_next))
            self._ahead_from, first = start, 0
        self._last = position
        return self._ahead[first : end - self._ahead_from]


def read_instances(
    storage: Storage, path: str, *, tables: Iterable[str] = ("images",)
) -> tuple[Any, CocoAnnotations]:
    """Read an instances file.

    Args:
        storage: reaches it.
        path: of the file.
        tables: the lists that it must have besides the annotations.

    Returns:
        Its content except for the annotations; these.

    Raises:
        LayoutError: it does not exist.
        DataError: it cannot be read, is not JSON, or lacks a table.
    """
    try:
        with no_cycle_search():
            found = _Pass(open_parts(storage, path), path).read()
    except FileNotFoundError as error:
        raise LayoutError(f"{path} does not exist; check --data-root and --split") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    content, annotations = (read_json(storage, path), None) if found is None else found
    for table in tables:
        need_list(content, table, path=path)
    if annotations is None:
        annotations = CocoAnnotations(need_list(content, "annotations", path=path))
    return content, annotations


class _Pass:
    """One pass over a file."""

    def __init__(self, parts: ReadableFile, path: str) -> None:
        self._parts = parts
        self._annotations = _UnreadAnnotations(parts, path)
        self._data = b""
        self._offset = 0
        """Of `_data` in the file."""
        self._has_long_number = False

    def read(self) -> tuple[Any, CocoAnnotations] | None:
        """Return the content and the annotations; None for what this pass cannot read."""
        position = 0
        while (start := _START.search(self._data, position)) is None:
            position = max(0, len(self._data) - _LONGEST_START)
            if not self._read_on(keep_from=0):
                return None
        head = self._data[: start.end()].rstrip()[:-1]
        if not self._read_annotations(start.end()):
            return None
        # Whoever records what was read needs all of it.
        while self._read_on(keep_from=0):
            pass
        if self._has_long_number:
            return None
        try:
            content = orjson.loads(head + orjson.dumps(_STAND_IN) + self._data)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(content, dict) or content.pop("annotations", None) != _STAND_IN:
            return None
        return content, self._annotations

    def _read_annotations(self, start: int) -> bool:
        """Read the list whose first object starts at a place of `_data`; return False if its
        objects cannot be distinguished. `_data` then starts after the list."""
        nested = 0
        while True:
            for end in _END_OF_OBJECT.finditer(self._data, start):
                try:
                    entry = orjson.loads(self._data[start : end.start() + 1])
                except orjson.JSONDecodeError:
                    # The end of an object inside, or of what looks like one in a text.
                    nested += 1
                    if nested > _MOST_NESTED:
                        return False
                    continue
                self._annotations.add(entry, self._offset + start, self._offset + end.start() + 1)
                start, nested = end.end(), 0
                if end[1]:
                    self._data = self._data[start:]
                    return True
            is_long = len(self._data) - start > _LONGEST_OBJECT
            if is_long or not self._read_on(keep_from=start):
                return False
            start = nested = 0

    def _read_on(self, *, keep_from: int) -> bool:
        """Drop what is before a place of `_data`, add the next piece; return False at the end."""
        kept = self._data[keep_from:]
        piece = self._parts.read_on(max(_READ_BYTES, len(kept)))
        if not piece:
            return False
        digits = (kept[-len(_LONG_NUMBER) :] + piece).translate(_DIGITS)
        self._has_long_number |= _LONG_NUMBER in digits
        self._data, self._offset = kept + piece, self._offset + keep_from
        return not self._has_long_number
