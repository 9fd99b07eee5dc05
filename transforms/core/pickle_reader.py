"""Read pickles within bounds that the file's own size sets, and import nothing that they name.

Python's unpickler trusts a file with memory and time: an index makes it reserve gigabytes, nested
tuples as a key overflow the stack, and lists that share lists take for ever to walk. This reader
knows every opcode, builds plain data alone, and takes time and memory in proportion to the file.
"""

from __future__ import annotations

import codecs
import gc
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

MAX_DEPTH = 100
"""Of containers inside containers."""
MAX_EXPANSION = 32
"""How many times the file's size its content may be once everything shared is written out."""
_FREE_EXPANSION = 1 << 16
_MAX_INTEGER_BYTES = 9
_MAX_DIGITS = 20
_SCALARS = (str, bytes, int, float, bool, type(None))
_KEYS = frozenset(_SCALARS)
_CONTAINERS = frozenset({list, dict, tuple, set, frozenset})


class PickleReader:
    """Reads one pickle out of bytes.

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
        self._copied = 0

    def read(self) -> Any:
        """Return the content; `position` is then the end of the pickle.

        Raises:
            ValueError: damaged, or past a bound.
            Exception: whatever the hooks raise.
        """
        # Millions of new containers would be searched for cycles again and again.
        collects = gc.isenabled()
        gc.disable()
        try:
            return self._read()
        except IndexError:
            raise ValueError("an operation lacks what it works on") from None
        finally:
            if collects:
                gc.enable()

    def _read(self) -> Any:
        data, operations = self._data, _OPERATIONS
        size = len(data)
        while self.position < size:
            code = data[self.position]
            self.position += 1
            if code == _STOP:
                if len(self._stack) != 1 or self._marked:
                    raise ValueError("its end leaves an open container or no content")
                content = self._stack.pop()
                check_expansion(content, size=self.position - self._start, parts_of=self.parts_of)
                return content
            operation = operations[code]
            if operation is None:
                raise ValueError(f"there is no operation {code:#04x}")
            operation(self)
        raise ValueError("it is cut short")

    def named(self, module: str, name: str) -> Any:
        """Return what stands for a class or function. Raises for one that is refused."""
        raise ValueError(f"it names {module}.{name}")

    def called(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """Return what stands for the result of a call of what `named` returned."""
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

    def charge(self, amount: int) -> None:
        """Count what a call copies, and refuse a file that has things copied without end."""
        self._copied += amount
        if self._copied > MAX_EXPANSION * len(self._data) + _FREE_EXPANSION:
            raise ValueError("it has its content copied again and again")

    # Reading arguments.

    def _bytes(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self._data):
            raise ValueError(f"it is cut short: {count} bytes are announced, fewer follow")
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
            raise ValueError("arguments that are no tuple")
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
            raise ValueError("a name that is no text")
        self._stack.append(self.named(module, name))

    def _extension(self, size: int) -> None:
        raise ValueError(f"it names an extension, {int.from_bytes(self._bytes(size), 'little')}")

    def _out_of_band(self) -> NoReturn:
        raise ValueError("its buffers are in another file")

    def _string_line(self) -> None:
        line = self._line().strip()
        if len(line) < 2 or line[0] != line[-1] or line[:1] not in (b"'", b'"'):
            raise ValueError("a text without quotes")
        self._stack.append(_decoded(codecs.escape_decode(line[1:-1])[0]))  # type: ignore[attr-defined]

    def _truth_or_integer(self) -> None:
        line = self._line()
        value = {b"00": False, b"01": True}.get(line)
        self._stack.append(_integer(line) if value is None else value)

    def _long(self, count: int) -> None:
        if not 0 <= count <= _MAX_INTEGER_BYTES:
            raise ValueError(f"a whole number of {count} bytes; numbers of 64 bits are read")
        self._stack.append(int.from_bytes(self._bytes(count), "little", signed=True))


def keys_among(values: Sequence[Any]) -> Sequence[Any]:
    """Return values after checking that each can be a key without a hash that nests.

    Raises:
        ValueError: one is neither a text nor a number.
    """
    for value in values:
        if type(value) not in _KEYS:
            raise ValueError(f"a {type(value).__name__} is a key; texts and numbers are read")
    return values


def check_expansion(
    content: Any, *, size: int, parts_of: Callable[[Any], Iterable[Any]] = lambda _: ()
) -> None:
    """Refuse content that is deep, holds itself, or is huge once all that is shared is written out.

    Args:
        content: nested lists, dictionaries, tuples, sets, texts and numbers.
        size: of the file, in bytes.
        parts_of: what is inside a thing of another type.

    Raises:
        ValueError: past a bound.
    """
    left = MAX_EXPANSION * size + _FREE_EXPANSION
    level = [content]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for thing in level:
            kind = type(thing)
            if kind is dict:
                left -= sum(len(key) for key in thing if type(key) is str or type(key) is bytes)
                parts: Iterable[Any] = thing.values()
            else:
                parts = thing if kind in _CONTAINERS else parts_of(thing)
            left -= 1
            for part in parts:
                kind = type(part)
                if kind is str or kind is bytes:
                    left -= len(part)
                elif kind in _CONTAINERS or not isinstance(part, _SCALARS):
                    inner.append(part)
                left -= 1
            if left < 0:
                raise ValueError(
                    f"written out without shared parts it is more than {MAX_EXPANSION} times as "
                    "large as the file"
                )
        if not inner:
            return
        level = inner
    raise ValueError(f"it nests deeper than {MAX_DEPTH} levels, or holds itself")


def brief(value: Any) -> str:
    """Return the start of a text, a number, or the type of anything else, which may be huge."""
    if isinstance(value, str | bytes):
        value = value[:40]
    return repr(value) if isinstance(value, _SCALARS) else f"a {type(value).__name__}"


def _decoded(data: bytes) -> str:
    """Decode a text of Python 2, which wrote bytes."""
    return data.decode("utf-8", "replace")


def _integer(line: bytes) -> int:
    digits = line.strip().rstrip(b"L")
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits; numbers of 64 bits are read")
    return int(digits)


_U8, _U16, _I32 = struct.Struct("<B"), struct.Struct("<H"), struct.Struct("<i")
_U32, _U64, _F64 = struct.Struct("<I"), struct.Struct("<Q"), struct.Struct(">d")
_STOP = ord(".")

Operation = Callable[[PickleReader], Any]


# The operations that most of a pickle consists of, without calls inside.


def _short_unicode(reader: PickleReader) -> None:
    start = reader.position + 1
    end = start + reader._data[start - 1]
    if end > len(reader._data):
        raise ValueError("it is cut short in a text")
    reader._stack.append(str(reader._data[start:end], "utf-8", "surrogatepass"))
    reader.position = end


def _unicode(reader: PickleReader) -> None:
    start = reader.position + 4
    end = start + int.from_bytes(reader._data[start - 4 : start], "little")
    if end > len(reader._data):
        raise ValueError("it is cut short in a text")
    reader._stack.append(str(reader._data[start:end], "utf-8", "surrogatepass"))
    reader.position = end


def _put_short(reader: PickleReader) -> None:
    reader._memo[reader._data[reader.position]] = reader._stack[-1]
    reader.position += 1


def _put_long(reader: PickleReader) -> None:
    reader.position += 4
    index = int.from_bytes(reader._data[reader.position - 4 : reader.position], "little")
    reader._put(index)


def _get_short(reader: PickleReader) -> None:
    try:
        reader._stack.append(reader._memo[reader._data[reader.position]])
    except KeyError as error:
        raise ValueError(f"nothing is remembered under {error}") from None
    reader.position += 1


def _get_long(reader: PickleReader) -> None:
    end = reader.position + 4
    try:
        reader._stack.append(reader._memo[int.from_bytes(reader._data[end - 4 : end], "little")])
    except KeyError as error:
        raise ValueError(f"nothing is remembered under {error}") from None
    reader.position = end


def _memoize(reader: PickleReader) -> None:
    reader._memo[len(reader._memo)] = reader._stack[-1]


def _integer_of_32_bits(reader: PickleReader) -> None:
    end = reader.position + 4
    if end > len(reader._data):
        raise ValueError("it is cut short in a number")
    reader._stack.append(int.from_bytes(reader._data[end - 4 : end], "little", signed=True))
    reader.position = end


def _extend(reader: PickleReader) -> None:
    items = reader._stack
    reader._stack = stack = reader._marked.pop()
    target = stack[-1]
    if type(target) is not list:
        raise ValueError(f"items are appended to a {type(target).__name__}")
    target += items


_BY_NAME: dict[str, Operation] = {
    # Numbers and truth values.
    "N": lambda r: r._push(None),
    "\x88": lambda r: r._push(True),
    "\x89": lambda r: r._push(False),
    "I": PickleReader._truth_or_integer,
    "J": _integer_of_32_bits,
    "K": lambda r: r._push(r._number(_U8)),
    "M": lambda r: r._push(r._number(_U16)),
    "L": lambda r: r._push(_integer(r._line())),
    "\x8a": lambda r: r._long(r._number(_U8)),
    "\x8b": lambda r: r._long(r._number(_I32)),
    "F": lambda r: r._push(float(r._line())),
    "G": lambda r: r._push(r._number(_F64)),
    # Texts and bytes.
    "S": PickleReader._string_line,
    "T": lambda r: r._push(_decoded(r._counted(_U32))),
    "U": lambda r: r._push(_decoded(r._counted(_U8))),
    "V": lambda r: r._push(str(r._line(), "raw-unicode-escape")),
    "X": _unicode,
    "\x8c": _short_unicode,
    "\x8d": lambda r: r._push(str(r._counted(_U64), "utf-8", "surrogatepass")),
    "B": lambda r: r._push(r._counted(_U32)),
    "C": lambda r: r._push(r._counted(_U8)),
    "\x8e": lambda r: r._push(r._counted(_U64)),
    "\x96": lambda r: r._push(r._counted(_U64)),
    # Containers.
    "(": PickleReader._mark,
    "]": lambda r: r._push([]),
    "}": lambda r: r._push({}),
    ")": lambda r: r._push(()),
    "\x8f": lambda r: r._push(set()),
    "l": lambda r: r._push(r._since_mark()),
    "t": lambda r: r._push(tuple(r._since_mark())),
    "\x85": lambda r: r._tuple_of(1),
    "\x86": lambda r: r._tuple_of(2),
    "\x87": lambda r: r._tuple_of(3),
    "d": PickleReader._dict,
    "\x91": lambda r: r._push(frozenset(keys_among(r._since_mark()))),
    "a": PickleReader._append,
    "e": _extend,
    "s": PickleReader._set_item,
    "u": lambda r: r._set_items(r._since_mark()),
    "\x90": lambda r: r._add(r._since_mark()),
    # The stack and what is remembered.
    "0": PickleReader._pop,
    "1": lambda r: r._since_mark(),
    "2": lambda r: r._push(r._stack[-1]),
    "p": lambda r: r._put(_integer(r._line())),
    "q": _put_short,
    "r": _put_long,
    "\x94": _memoize,
    "g": lambda r: r._get(_integer(r._line())),
    "h": _get_short,
    "j": _get_long,
    # Names, calls, stored objects.
    "c": PickleReader._global,
    "\x93": PickleReader._stack_global,
    "R": PickleReader._reduce,
    "\x81": PickleReader._reduce,
    "\x92": PickleReader._new_with_keywords,
    "i": PickleReader._instance,
    "o": PickleReader._object,
    "b": PickleReader._build,
    "P": lambda r: r._push(r.stored(r._name())),
    "Q": lambda r: r._push(r.stored(r._stack.pop())),
    "\x82": lambda r: r._extension(1),
    "\x83": lambda r: r._extension(2),
    "\x84": lambda r: r._extension(4),
    "\x97": PickleReader._out_of_band,
    "\x98": PickleReader._out_of_band,
    # What the reader needs no help with.
    "\x80": lambda r: r._bytes(1),
    "\x95": lambda r: r._bytes(8),
}
_OPERATIONS: list[Operation | None] = [_BY_NAME.get(chr(code)) for code in range(256)]
