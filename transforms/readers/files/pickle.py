"""Pickles of plain containers, numbers and texts; anything else is refused without running it."""

from __future__ import annotations

import io
import pickle
from typing import Any, NoReturn

from hlmat.transforms.core.errors import DataError


def _bytes_of_latin1(text: object = "", encoding: object = "latin1", /) -> bytes:
    """Build what protocols 0 to 2 write for bytes, and nothing else."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError(f"bytes are made of a text in latin1, got {text!r:.40}, {encoding!r:.40}")
    return text.encode("latin1")


# What old pickles of plain sets and bytes name; calling these runs no code of the file's choosing.
_ADMITTED = {
    ("_codecs", "encode"): _bytes_of_latin1,
    ("builtins", "bytes"): _bytes_of_latin1,
    ("__builtin__", "bytes"): _bytes_of_latin1,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("__builtin__", "set"): set,
    ("__builtin__", "frozenset"): frozenset,
}


def load_plain_pickle(data: bytes, *, name: str) -> object:
    """Load a pickle that holds nothing but plain data.

    Args:
        data: the file's content, any protocol.
        name: of the file, for messages.

    Raises:
        DataError: it names a class or function, or is damaged.
    """
    try:
        return _PlainUnpickler(data, name).load()
    except DataError:
        raise
    # A damaged pickle raises errors of many types.
    except Exception as error:
        raise DataError(
            f"{name} is not a pickle, or is damaged ({type(error).__name__}: {error}); download it "
            "again"
        ) from error


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, data: bytes, name: str) -> None:
        # Python 2 wrote its texts as bytes; ASCII and UTF-8 ones come out as text.
        super().__init__(io.BytesIO(data), encoding="utf-8", errors="replace")
        self._name = name

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        admitted = _ADMITTED.get((module_name, global_name))
        if admitted is None:
            self._refuse(f"{module_name}.{global_name}")
        return admitted

    def persistent_load(self, pid: object, /) -> NoReturn:
        self._refuse(f"a persistent object {pid!r}")

    def _refuse(self, what: str) -> NoReturn:
        raise DataError(
            f"{self._name} is refused: its pickle names {what}, and loading that could run code; "
            "only lists, dictionaries, numbers and texts are read. Get the file from its authors"
        )
