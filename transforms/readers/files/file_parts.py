"""A file read once from start to end, and later again in parts, without keeping it in memory."""

from __future__ import annotations

from hlmat.transforms.core.storage import OpensFiles, ReadableFile, Storage


def open_parts(storage: Storage, path: str) -> ReadableFile:
    """Open a file; one that its storage only returns as a whole is kept in memory.

    Raises:
        OSError: it cannot be read; FileNotFoundError: it does not exist.
    """
    file = storage.open_file(path) if isinstance(storage, OpensFiles) else None
    return _BytesInMemory(storage.read_bytes(path)) if file is None else file


class _BytesInMemory:
    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    def read_on(self, size: int) -> bytes:
        piece = self._data[self._position : self._position + size]
        self._position += len(piece)
        return piece

    def part(self, start: int, end: int) -> bytes:
        return self._data[start:end]
