"""Pickles that are small to store and endless, or fatal, to read with Python's own unpickler."""

from __future__ import annotations

import struct

PROTO = b"\x80\x02"


def _nested_tuple_key(depth: int) -> bytes:
    """A dictionary whose key is a tuple in a tuple, and so on: its hash overflows the stack."""
    return PROTO + b"}" + b")" + b"\x85" * depth + b"K\x01s."


def _shared(opening: bytes, closing: bytes, levels: int = 60) -> bytes:
    """Containers of two references to the one before: 2^levels of them once written out."""
    parts = [opening[:1] if opening else b")", b"q\x000"]
    for level in range(levels):
        get, put = b"h" + bytes([level]), b"q" + bytes([level + 1])
        parts.append(opening + get + get + closing + put + b"0")
    return b"".join(parts) + b"h" + bytes([levels])


_LISTS, _TUPLES = _shared(b"](", b"e"), _shared(b"", b"\x86")


def _copied(times: int) -> bytes:
    """A long text that is made bytes of again and again."""
    text = struct.pack("<I", 100_000) + b"a" * 100_000
    call = b"h\x01h\x00h\x02\x86R"
    return (
        PROTO
        + b"X"
        + text
        + b"q\x000c_codecs\nencode\nq\x010X\x06\0\0\0latin1q\x020]("
        + (call * times)
        + b"e."
    )


def _called_with(content: bytes, *, name: bytes, times: int = 20_000) -> bytes:
    """One large container that is an argument, or all arguments, of call after call."""
    return (
        PROTO + b"c" + name + b"\nq\x010" + content + b"q\x020](" + b"h\x01h\x02R0" * times + b"e."
    )


_MANY_KEYS = b"}(" + b"".join(b"X\x08\0\0\0%08dN" % number for number in range(20_000)) + b"u\x85"

HOSTILE_PICKLES: dict[str, bytes] = {
    "tuples in tuples as a key": _nested_tuple_key(100_000),
    "an index of 2^28": PROTO + b"]r" + struct.pack("<I", 1 << 28) + b"(K\x01K\x02e.",
    "an index of 2^28 in text": b"(lp268435456\n.",
    "shared lists": PROTO + _LISTS + b".",
    "shared tuples": PROTO + _TUPLES + b".",
    "shared tuples as a key": PROTO + b"}" + _TUPLES + b"K\x01s.",
    "shared tuples in a set": b"\x80\x04\x8f(" + _TUPLES + b"\x90.",
    "a list that holds itself": PROTO + b"]q\x00h\x00a.",
    "lists in lists": PROTO + b"](" * 100_000 + b"e" * 100_000 + b".",
    "tuples in tuples": PROTO + b")" + b"\x85" * 100_000 + b".",
    "a long text, shared": PROTO
    + b"X"
    + struct.pack("<I", 100_000)
    + b"a" * 100_000
    + b"q\x000]("
    + b"h\x00" * 100_000
    + b"e.",
    "a long text, copied": _copied(100_000),
    "a dictionary in call after call": _called_with(_MANY_KEYS, name=b"builtins\nset"),
    "arguments of call after call": _called_with(
        b"(" + b"K\x01" * 20_000 + b"t", name=b"torch\nSize"
    ),
    "a text of 2^62 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"a.",
    "bytes of 2^31": b"\x80\x03B" + struct.pack("<I", (1 << 31) - 1) + b"a.",
    "a number of 2^30 bytes": PROTO + b"\x8b" + struct.pack("<i", 1 << 30) + b"a.",
    "a number of many digits": b"I" + b"9" * 100_000 + b"\n.",
    "a repeated mark": PROTO + b"(" * 100_000 + b".",
    "a call of a list": PROTO + b"]q\x00](h\x00h\x00e)R.",
    "a stored object of shared lists": PROTO + _LISTS + b"Q.",
    "a codec of shared lists": b"\x80\x02c_codecs\nencode\n(" + _LISTS + b"V\ntR.",
}
"""By what is wrong with each."""
