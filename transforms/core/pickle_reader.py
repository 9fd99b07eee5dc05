"""Read pickles within bounds set by the file's size, without importing anything that they name.

Python's unpickler trusts a file with memory and time: an index makes it reserve gigabytes, nested
tuples as a key overflow the stack, and lists that share lists take forever to walk. This reader
knows every opcode, builds only plain data, and takes time and memory in proportion to the file.
"""

from __future__ import annotations

import gc
import struct
from collections.abc import Callable
from typing import Any

from hlmat.transforms.core.pickle_machine import PickleMachine, decoded, integer
from hlmat.transforms.core.plain_content import check_expansion, keys_among


class PickleReader(PickleMachine):
    """Reads one pickle out of bytes.

    Subclasses say what the names in it stand for; here every name is refused.

    Args:
        data: holds the pickle, any protocol.
        start: where it begins.
    """

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
            raise ValueError("an operation has no operand") from None
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
                    raise ValueError("it ends inside a container, or without content")
                content = self._stack.pop()
                check_expansion(content, size=self.position - self._start, parts_of=self.parts_of)
                return content
            operation = operations[code]
            if operation is None:
                raise ValueError(f"there is no operation {code:#04x}")
            operation(self)
        raise ValueError("it is cut short")


_U8, _U16, _I32 = struct.Struct("<B"), struct.Struct("<H"), struct.Struct("<i")
_U32, _U64, _F64 = struct.Struct("<I"), struct.Struct("<Q"), struct.Struct(">d")
_STOP = ord(".")

Operation = Callable[[PickleMachine], Any]


# The operations that most of a pickle consists of, without calls inside.


def _short_unicode(reader: PickleMachine) -> None:
    start = reader.position + 1
    end = start + reader._data[start - 1]
    if end > len(reader._data):
        raise ValueError("it is cut short in a text")
    reader._stack.append(str(reader._data[start:end], "utf-8", "surrogatepass"))
    reader.position = end


def _unicode(reader: PickleMachine) -> None:
    start = reader.position + 4
    end = start + int.from_bytes(reader._data[start - 4 : start], "little")
    if end > len(reader._data):
        raise ValueError("it is cut short in a text")
    reader._stack.append(str(reader._data[start:end], "utf-8", "surrogatepass"))
    reader.position = end


def _put_short(reader: PickleMachine) -> None:
    reader._memo[reader._data[reader.position]] = reader._stack[-1]
    reader.position += 1


def _put_long(reader: PickleMachine) -> None:
    reader.position += 4
    index = int.from_bytes(reader._data[reader.position - 4 : reader.position], "little")
    reader._put(index)


def _get_short(reader: PickleMachine) -> None:
    try:
        reader._stack.append(reader._memo[reader._data[reader.position]])
    except KeyError as error:
        raise ValueError(f"nothing is remembered under {error}") from None
    reader.position += 1


def _get_long(reader: PickleMachine) -> None:
    end = reader.position + 4
    try:
        reader._stack.append(reader._memo[int.from_bytes(reader._data[end - 4 : end], "little")])
    except KeyError as error:
        raise ValueError(f"nothing is remembered under {error}") from None
    reader.position = end


def _memoize(reader: PickleMachine) -> None:
    reader._memo[len(reader._memo)] = reader._stack[-1]


def _integer_of_32_bits(reader: PickleMachine) -> None:
    end = reader.position + 4
    if end > len(reader._data):
        raise ValueError("it is cut short in a number")
    reader._stack.append(int.from_bytes(reader._data[end - 4 : end], "little", signed=True))
    reader.position = end


def _extend(reader: PickleMachine) -> None:
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
    "I": PickleMachine._truth_or_integer,
    "J": _integer_of_32_bits,
    "K": lambda r: r._push(r._number(_U8)),
    "M": lambda r: r._push(r._number(_U16)),
    "L": lambda r: r._push(integer(r._line())),
    "\x8a": lambda r: r._long(r._number(_U8)),
    "\x8b": lambda r: r._long(r._number(_I32)),
    "F": lambda r: r._push(float(r._line())),
    "G": lambda r: r._push(r._number(_F64)),
    # Texts and bytes.
    "S": PickleMachine._string_line,
    "T": lambda r: r._push(decoded(r._counted(_U32))),
    "U": lambda r: r._push(decoded(r._counted(_U8))),
    "V": lambda r: r._push(str(r._line(), "raw-unicode-escape")),
    "X": _unicode,
    "\x8c": _short_unicode,
    "\x8d": lambda r: r._push(str(r._counted(_U64), "utf-8", "surrogatepass")),
    "B": lambda r: r._push(r._counted(_U32)),
    "C": lambda r: r._push(r._counted(_U8)),
    "\x8e": lambda r: r._push(r._counted(_U64)),
    "\x96": lambda r: r._push(r._counted(_U64)),
    # Containers.
    "(": PickleMachine._mark,
    "]": lambda r: r._push([]),
    "}": lambda r: r._push({}),
    ")": lambda r: r._push(()),
    "\x8f": lambda r: r._push(set()),
    "l": lambda r: r._push(r._since_mark()),
    "t": lambda r: r._push(tuple(r._since_mark())),
    "\x85": lambda r: r._tuple_of(1),
    "\x86": lambda r: r._tuple_of(2),
    "\x87": lambda r: r._tuple_of(3),
    "d": PickleMachine._dict,
    "\x91": lambda r: r._push(frozenset(keys_among(r._since_mark()))),
    "a": PickleMachine._append,
    "e": _extend,
    "s": PickleMachine._set_item,
    "u": lambda r: r._set_items(r._since_mark()),
    "\x90": lambda r: r._add(r._since_mark()),
    # The stack and what is remembered.
    "0": PickleMachine._pop,
    "1": lambda r: r._since_mark(),
    "2": lambda r: r._push(r._stack[-1]),
    "p": lambda r: r._put(integer(r._line())),
    "q": _put_short,
    "r": _put_long,
    "\x94": _memoize,
    "g": lambda r: r._get(integer(r._line())),
    "h": _get_short,
    "j": _get_long,
    # Names, calls, stored objects.
    "c": PickleMachine._global,
    "\x93": PickleMachine._stack_global,
    "R": PickleMachine._reduce,
    "\x81": PickleMachine._reduce,
    "\x92": PickleMachine._new_with_keywords,
    "i": PickleMachine._instance,
    "o": PickleMachine._object,
    "b": PickleMachine._build,
    "P": lambda r: r._push(r.stored(r._name())),
    "Q": lambda r: r._push(r.stored(r._stack.pop())),
    "\x82": lambda r: r._extension(1),
    "\x83": lambda r: r._extension(2),
    "\x84": lambda r: r._extension(4),
    "\x97": PickleMachine._out_of_band,
    "\x98": PickleMachine._out_of_band,
    # The protocol and the size of a frame, which the reader does not use.
    "\x80": lambda r: r._bytes(1),
    "\x95": lambda r: r._bytes(8),
}
_OPERATIONS: list[Operation | None] = [_BY_NAME.get(chr(code)) for code in range(256)]
