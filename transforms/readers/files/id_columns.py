"""A column of ids as numbers: of millions of entries, the ids alone would fill gigabytes."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hlmat.transforms.readers.files.ids import id_of, number_of

_MISSING = -1
_MAX_NUMBER = (1 << 63) - 1

Codes = npt.NDArray[np.int64]


class IdColumn:
    """Ids of entries, in the order of their file; compared as `id_of` does.

    An id has a code: a number is its own, a missing id is -1, and texts count down from -2.
    """

    def __init__(self, values: Iterable[object] = ()) -> None:
        self._codes = array("q")
        self._code_of_text: dict[str, int] = {}
        for value in values:
            self.append(value)

    def append(self, value: object) -> None:
        """Add the id of one more entry, as the file has it."""
        # Nearly every id is such a number.
        if type(value) is int and 0 <= value <= _MAX_NUMBER:
            self._codes.append(value)
            return
        number, text = number_of(value), id_of(value)
        if number is None and text is not None:
            number = self._code_of_text.setdefault(text, -2 - len(self._code_of_text))
        self._codes.append(_MISSING if number is None else number)

    def __len__(self) -> int:
        return len(self._codes)

    @cached_property
    def codes(self) -> Codes:
        """All codes, once every id is added."""
        return np.frombuffer(self._codes, np.int64) if self._codes else np.zeros(0, np.int64)

    def code_of(self, value: object) -> int | None:
        """Return the code of an id; None for what no entry has, and for what is no id."""
        number = number_of(value)
        if number is not None:
            return number
        text = id_of(value)
        return None if text is None else self._code_of_text.get(text)

    def id_of_code(self, code: int) -> str | None:
        """Return the id of a code as `id_of` does."""
        if code >= 0:
            return str(code)
        return None if code == _MISSING else self._texts[-2 - code]

    def positions_of(self, value: object) -> Codes:
        """Return the positions of the entries with an id, in the order of the file."""
        code = self.code_of(value)
        if code is None:
            return self.codes[:0]
        order, in_order = self._sorted
        first = np.searchsorted(in_order, code, side="left")
        last = np.searchsorted(in_order, code, side="right")
        return order[first:last]

    def sort_keys(self) -> list[Codes]:
        """Return keys for `np.lexsort` that order entries as `id_order` does, the last key first:
        missing ids, then numbers by value, then texts."""
        codes = self.codes
        if not self._texts:
            return [codes]
        rank_of = {text: rank for rank, text in enumerate(sorted(self._texts))}
        ranks = np.array([rank_of[text] for text in self._texts])
        is_text = codes < _MISSING
        values = codes.copy()
        values[is_text] = ranks[-2 - codes[is_text]]
        return [values, is_text.astype(np.int64)]

    @property
    def is_first(self) -> npt.NDArray[np.bool_]:
        """Whether an entry is the first with its id. Shape: (entries,)."""
        first = np.zeros(len(self), np.bool_)
        order, in_order = self._sorted
        if len(order):
            first[order[np.r_[True, in_order[1:] != in_order[:-1]]]] = True
        return first

    @property
    def _texts(self) -> list[str]:
        return list(self._code_of_text)

    @cached_property
    def _sorted(self) -> tuple[Codes, Codes]:
        """The positions of the entries by code, and the sorted codes."""
        codes = self.codes
        if len(codes) < 2 or bool((codes[1:] >= codes[:-1]).all()):
            return np.arange(len(codes)), codes
        order = np.argsort(codes, kind="stable")
        return order, codes[order]
