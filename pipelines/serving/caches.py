"""Values kept up to a number of bytes, the least recently used dropped first."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

_LEAST_BYTES = 512
_DEEPEST = 8

Value = TypeVar("Value")


class BoundedCache(Generic[Value]):
    """Keeps values by name; thread-safe.

    Args:
        max_bytes: of all values together; a value larger than that is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held = 0
        self._lock = threading.Lock()
        self._values: OrderedDict[str, tuple[Value, int]] = OrderedDict()

    @property
    def held_bytes(self) -> int:
        """The bytes of all values now."""
        return self._held

    def get(self, name: str) -> Value | None:
        """Return a value, which becomes the last to be dropped; None if it is not kept."""
        with self._lock:
            found = self._values.get(name)
            if found is None:
                return None
            self._values.move_to_end(name)
            return found[0]

    def put(self, name: str, value: Value, size: int) -> None:
        """Keep a value of a number of bytes, and drop others to make room for it.

        A value of the same name is replaced.
        """
        with self._lock:
            _, before = self._values.pop(name, (None, 0))
            self._held -= before
            self._values[name] = value, size
            self._held += size
            while self._held > self._max_bytes:
                _, (_, dropped) = self._values.popitem(last=False)
                self._held -= dropped


def bytes_of(value: Any, *, depth: int = 0) -> int:
    """Estimate the memory of a value: its arrays and tensors, wherever they are in it."""
    size = getattr(value, "nbytes", None)
    if isinstance(size, int):
        return size + _LEAST_BYTES
    if isinstance(value, bytes | bytearray | str):
        return len(value) + _LEAST_BYTES
    if depth == _DEEPEST:
        return _LEAST_BYTES
    parts: list[Any] = []
    if isinstance(value, Mapping):
        parts = list(value.values())
    elif isinstance(value, list | tuple | set | frozenset):
        parts = list(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    elif hasattr(value, "__dict__"):
        parts = list(vars(value).values())
    return _LEAST_BYTES + sum(bytes_of(part, depth=depth + 1) for part in parts)
