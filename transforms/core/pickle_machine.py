"""The operations of a pickle: a stack, a memo, and hooks for the names in it."""

from __future__ import annotations

import codecs
import struct
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from hlmat.transforms.core.plain_content import brief, expansion_limit, keys_among, size_of

_MAX_INTEGER_BYTES = 9
_MAX_DIGITS = 20


class PickleMachine:
    """The state of a pickle being read, and its operations.

    Subclasses say what the names in it stand for; here every name is refused.

    Args:
        data: holds the pickle, any protocol.
        start: where it begins.
    """

    def __init__(self, data: bytes, start: int = 0) -> None:
        self._data = data
        self._start = start
        self.position = start
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._walked = 0

    def named(self, module: str, name: str) -> Any:
        """Return what stands for a class or function. Raises for one that is refused."""
        raise ValueError(f"it names {module}.{name}")

    def called(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """Return what stands for the result of a call of what `named` returned.

        It may walk through the arguments and what they hold directly: both are charged.
        """
        raise ValueError("it calls something")

    def stored(self, identity: Any) -> Any:
        """Return what stands for an object that is kept outside of the pickle."""
        raise ValueError(f"it refers to a stored object, {brief(identity)}")

    def filled(self, thing: Any, *, items: Sequence[Any] = (), state: Any = None) -> None:
        """Take keys and values in turn, or a state, for what `called` returned."""
        raise ValueError(f"it fills a {type(thing).__name__}")

    def parts_of(self, thing: Any) -> Iterable[Any]:
        """Return what is inside a thing that `called` returned; nothing for all others."""
        return ()

    def _charge(self, amount: int) -> None:
        """Count what calls walk through; refuse a file that passes the same content repeatedly."""
        self._walked += amount
        if self._walked > expansion_limit(len(self._data)):
            raise ValueError("it passes the same content to call after call")

    # Reading arguments.

    def _bytes(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self._data):
            raise ValueError(f"it is cut short: it declares {count} more bytes")
        found = self._data[self.position : end]
        self.position = end
        return found

    def _number(self, layout: struct.Struct) -> int:
        return layout.unpack(self._bytes(layout.size))[0]

    def _counted(self, layout: struct.Struct) -> bytes:
        return self._bytes(self._number(layout))

    def _line(self) -> bytes:
        end = self._data.find(b"\n", self.position)
        if end < 0:
            raise ValueError("it is cut short in a line")
        line = self._data[self.position : end]
        self.position = end + 1
        return line

    def _name(self) -> str:
        return self._line().decode("utf-8", "replace")

    # Building.

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        items = self._stack
        self._stack = self._marked.pop()
        return items

    def _put(self, index: int) -> None:
        if not 0 <= index <= len(self._data):
            raise ValueError(f"something is to be remembered under {index}, past the file's size")
        self._memo[index] = self._stack[-1]

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise ValueError(f"nothing is remembered under {index}")
        self._stack.append(self._memo[index])

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise ValueError(f"items are appended to a {type(target).__name__}")
        target.extend(items)

    def _add(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not set:
            raise ValueError(f"items are added to a {type(target).__name__}")
        target.update(keys_among(items))

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if len(items) % 2:
            raise ValueError("a key without a value")
        if type(target) is dict:
            target.update(zip(keys_among(items[::2]), items[1::2], strict=True))
        else:
            self.filled(target, items=items)

    def _call(self, function: Any, arguments: Any) -> None:
        if type(arguments) is not tuple:
            raise ValueError("arguments that are not a tuple")
        self._charge(len(arguments))
        self._charge(sum(map(size_of, arguments)))
        self._stack.append(self.called(function, arguments))

    def _dict(self) -> None:
        items = self._since_mark()
        self._stack.append({})
        self._set_items(items)

    def _tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            raise IndexError
        self._stack[-count:] = [tuple(self._stack[-count:])]

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def _append(self) -> None:
        item = self._stack.pop()
        self._extend([item])

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def _reduce(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        self._call(function, arguments)

    def _new_with_keywords(self) -> None:
        keywords = self._stack.pop()
        if keywords != {}:
            raise ValueError("an object is made with keywords")
        self._reduce()

    def _build(self) -> None:
        state = self._stack.pop()
        self.filled(self._stack[-1], state=state)

    def _instance(self) -> None:
        module, name = self._name(), self._name()
        self._call(self.named(module, name), tuple(self._since_mark()))

    def _object(self) -> None:
        function, *arguments = self._since_mark() or [None]
        self._call(function, tuple(arguments))

    def _global(self) -> None:
        self._stack.append(self.named(self._name(), self._name()))

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("a name that is not text")
        self._stack.append(self.named(module, name))

    def _extension(self, size: int) -> None:
        raise ValueError(f"it names an extension, {int.from_bytes(self._bytes(size), 'little')}")

    def _out_of_band(self) -> NoReturn:
        raise ValueError("its buffers are in another file")

    def _string_line(self) -> None:
        line = self._line().strip()
        if len(line) < 2 or line[0] != line[-1] or line[:1] not in (b"'", b'"'):
            raise ValueError("a text without quotes")
        self._stack.append(decoded(codecs.escape_decode(line[1:-1])[0]))  # type: ignore[attr-defined]

    def _truth_or_integer(self) -> None:
        line = self._line()
        value = {b"00": False, b"01": True}.get(line)
        self._stack.append(integer(line) if value is None else value)

    def _long(self, count: int) -> None:
        if not 0 <= count <= _MAX_INTEGER_BYTES:
            raise ValueError(f"a whole number of {count} bytes; numbers of 64 bits are read")
        self._stack.append(int.from_bytes(self._bytes(count), "little", signed=True))


def decoded(data: bytes) -> str:
    """Decode a text of Python 2, which wrote bytes."""
    return data.decode("utf-8", "replace")


def integer(line: bytes) -> int:
    """Read a whole number of at most 64 bits. Raises ValueError."""
    digits = line.strip().rstrip(b"L")
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits; numbers of 64 bits are read")
    return int(digits)
