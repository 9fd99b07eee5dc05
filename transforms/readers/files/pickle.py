"""Pickles of plain containers, numbers and texts; anything else is refused without running it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.pickle_reader import PickleReader
from hlmat.transforms.core.plain_content import brief, keys_among


def _bytes_of_latin1(text: object = "", encoding: object = "latin1", /) -> bytes:
    """Build what protocols 0 to 2 write for bytes, and nothing else."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError(
            f"bytes are made of a text in latin1, got {brief(text)}, {brief(encoding)}"
        )
    return text.encode("latin1")


def _set_of(items: object = (), /) -> set[Any]:
    return set(_items(items))


def _frozenset_of(items: object = (), /) -> frozenset[Any]:
    return frozenset(_items(items))


def _items(items: object) -> Any:
    if not isinstance(items, list | tuple):
        raise ValueError(f"a set is made of a list, got a {type(items).__name__}")
    return keys_among(items)


# Names in old pickles of plain sets and bytes, each with a safe replacement.
_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _bytes_of_latin1,
    ("builtins", "bytes"): _bytes_of_latin1,
    ("__builtin__", "bytes"): _bytes_of_latin1,
    ("builtins", "set"): _set_of,
    ("builtins", "frozenset"): _frozenset_of,
    ("__builtin__", "set"): _set_of,
    ("__builtin__", "frozenset"): _frozenset_of,
}


def load_plain_pickle(data: bytes, *, name: str) -> object:
    """Load a pickle that has nothing but plain data.

    Time and memory are in proportion to the file: deep nesting, self-reference, content that grows
    huge when shared parts are expanded, numbers of more than 64 bits, and keys other than texts and
    numbers are refused.

    Args:
        data: the file's content, any protocol.
        name: of the file, for messages.

    Raises:
        DataError: it names a class or function, exceeds a bound, or is damaged.
    """
    try:
        return _PlainReader(data, name).read()
    except DataError:
        raise
    # A damaged pickle raises errors of many types.
    except Exception as error:
        raise DataError(
            f"{name} is not a pickle, or is damaged ({type(error).__name__}: {error}); download it "
            "again"
        ) from error


class _PlainReader(PickleReader):
    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self._file = name

    def named(self, module: str, name: str) -> Any:
        admitted = _ADMITTED.get((module, name))
        if admitted is None:
            self._refuse(f"{module}.{name}"[:80])
        return admitted

    def called(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        if function not in _ADMITTED.values():
            self._refuse(f"a call of a {type(function).__name__}")
        return function(*arguments)

    def stored(self, identity: Any) -> Any:
        self._refuse(f"a persistent object, {brief(identity)}")

    def _refuse(self, what: str) -> NoReturn:
        raise DataError(
            f"{self._file} is refused: its pickle names {what}, and loading that could run code; "
            "only lists, dictionaries, numbers and texts are read. Get the file from its authors"
        )
