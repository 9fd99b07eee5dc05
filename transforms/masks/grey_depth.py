"""How many bits of a stored value an image uses: 12 bit in files of 16 are common."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_USUAL_BITS = (8, 10, 12, 14, 16)
_CHUNKS_BEFORE_PIXELS = 64


@dataclass(frozen=True)
class Depth:
    """The bits of a PNG file's values.

    Attributes:
        stored: for each value.
        used: the greatest number that the file says its original had (chunk sBIT); None if it does
            not say.
    """

    stored: int
    used: int | None


def png_depth(data: bytes) -> Depth | None:
    """Return the depth of a PNG file, from its header; None for anything else."""
    if not data.startswith(_SIGNATURE) or len(data) < 33:
        return None
    stored, place = data[24], len(_SIGNATURE)
    for _ in range(_CHUNKS_BEFORE_PIXELS):
        if place + 8 > len(data):
            break
        (length,) = struct.unpack_from(">I", data, place)
        kind = data[place + 4 : place + 8]
        if kind in (b"IDAT", b"IEND"):
            break
        if kind == b"sBIT":
            used = [bits for bits in data[place + 8 : place + 8 + min(length, 4)] if bits]
            return Depth(stored, max(used) if used and max(used) <= stored else None)
        place += 12 + length
    return Depth(stored, None)


def usual_top(brightest: float, *, used_bits: int | None) -> float:
    """Return the value of white in a grey image of 16 bit.

    Args:
        brightest: its greatest value; above 16 bit it is cut off.
        used_bits: the depth that the file states, if it does.

    >>> usual_top(4000, used_bits=None), usual_top(4000, used_bits=16), usual_top(0, used_bits=None)
    (4095.0, 65535.0, 65535.0)
    """
    tops = [float((1 << bits) - 1) for bits in _USUAL_BITS]
    if used_bits is not None and brightest <= (1 << used_bits) - 1:
        return float((1 << used_bits) - 1)
    if brightest <= 0:
        return tops[-1]
    return next((top for top in tops if brightest <= top), tops[-1])
