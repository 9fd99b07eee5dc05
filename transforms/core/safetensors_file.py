"""The header of a safetensors file, read within bounds."""

from __future__ import annotations

import json
import os
import struct

_MAX_HEADER = 25_000_000
"""Bytes; the headers of models with hundreds of billions of weights are a tenth of that."""
_BYTES_PER_BRACKET = 12
"""At least: an entry has three pairs of brackets in some 70 bytes."""


def announced_size(path: str | os.PathLike[str]) -> int:
    """Return the size that a safetensors file has by its header, in bytes.

    Raises:
        OSError: it cannot be read.
        ValueError: another kind of file, or a header past the bounds.
    """
    with open(path, "rb") as f:
        start = f.read(8)
        if len(start) < 8:
            raise ValueError("it has less than 8 bytes")
        length = struct.unpack("<Q", start)[0]
        if length > _MAX_HEADER:
            raise ValueError(f"its header would have {length} bytes")
        text = f.read(length)
    if text.count(b"[") + text.count(b"{") > 4 + len(text) // _BYTES_PER_BRACKET:
        raise ValueError("its header lists no tensors, but brackets")
    try:
        header = json.loads(text)
        ends = [int(t["data_offsets"][1]) for name, t in header.items() if name != "__metadata__"]
    # A header that is another thing than a table of tensors ends this in any way.
    except Exception as error:
        raise ValueError(f"its header cannot be read: {error}") from error
    return 8 + length + max(ends, default=0)
