"""Text files written by users: captions, class names, lists of images."""

from __future__ import annotations

import codecs

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.storage import Storage


def read_text(storage: Storage, path: str) -> str:
    """Read UTF-8, with or without a byte order mark, or UTF-16 with one.

    Raises:
        DataError: the file cannot be read or is in another encoding.
    """
    try:
        data = storage.read_bytes(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    is_utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if is_utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line} is not UTF-8 text (byte 0x{data[error.start]:02X}); save the "
            "file as UTF-8"
        ) from error
