"""A storage that notes the content of what is read while a data set is listed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from hlmat.transforms.core.storage import OpensFiles, ReadableFile, Storage
from hlmat.transforms.core.url_storage import FileStamp, UrlStorage


class ReadLog:
    """Passes everything on to another storage; keeps size and sha256 of each file read.

    A copy in another process notes nothing: there, images are read.

    Attributes:
        read: bytes and sha256 (hex) by path, as of the last reading.
    """

    def __init__(self, inner: Storage) -> None:
        self._inner = inner
        self._is_noting = True
        self.read: dict[str, tuple[int, str]] = {}

    def stop(self) -> None:
        """Note nothing from now on."""
        self._is_noting = False

    def read_bytes(self, path: str) -> bytes:
        data = self._inner.read_bytes(path)
        if self._is_noting:
            self.read[path] = (len(data), hashlib.sha256(data).hexdigest())
        return data

    def open_file(self, path: str) -> ReadableFile | None:
        """Open a file, which is noted once it is read to its end; None if it must be read whole."""
        file = self._inner.open_file(path) if isinstance(self._inner, OpensFiles) else None
        if file is None or not self._is_noting:
            return file
        return _NotedFile(file, lambda size, sha256: self.read.update({path: (size, sha256)}))

    def listed_stamp(self, path: str) -> FileStamp | None:
        """Return what a listing of a store says of a file, as `UrlStorage.listed_stamp`."""
        return self._inner.listed_stamp(path) if isinstance(self._inner, UrlStorage) else None

    def write_bytes(self, path: str, data: bytes) -> None:
        self._inner.write_bytes(path, data)

    def write_pieces(self, path: str, pieces: Iterable[bytes]) -> None:
        self._inner.write_pieces(path, pieces)

    def list_dir(self, path: str) -> list[str]:
        return self._inner.list_dir(path)

    def is_file(self, path: str) -> bool:
        return self._inner.is_file(path)

    def is_dir(self, path: str) -> bool:
        return self._inner.is_dir(path)

    def remove(self, path: str) -> None:
        self._inner.remove(path)

    def remove_dir(self, path: str) -> None:
        self._inner.remove_dir(path)

    def __getstate__(self) -> dict[str, Any]:
        return {"_inner": self._inner, "_is_noting": False, "read": {}}


class _NotedFile:
    """A file whose size and digest are passed on when its end is reached."""

    def __init__(self, inner: ReadableFile, note: Callable[[int, str], None]) -> None:
        self._inner, self._note = inner, note
        self._size, self._digest = 0, hashlib.sha256()

    def read_on(self, size: int) -> bytes:
        data = self._inner.read_on(size)
        self._size += len(data)
        self._digest.update(data)
        if not data:
            self._note(self._size, self._digest.hexdigest())
        return data

    def part(self, start: int, end: int) -> bytes:
        return self._inner.part(start, end)
