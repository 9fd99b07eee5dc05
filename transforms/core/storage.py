"""Reading and writing files behind one small interface: the local disk, or memory in tests.

Paths are strings with forward slashes. URLs (``s3://``, ``gs://``, ``https://``) have the same
interface in `hlmat.transforms.core.url_storage`.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import posixpath
import re
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from hlmat.transforms.core.atomic_files import atomic_file
from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.records import RejectReason

_DRIVE = re.compile("[A-Za-z]:")


class Storage(Protocol):
    """Files by path. Small and picklable."""

    def read_bytes(self, path: str) -> bytes:
        """Return a file's content. Raises FileNotFoundError, or OSError if it cannot be read."""
        ...

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file atomically; make folders as needed. Raises OSError."""
        ...

    def write_pieces(self, path: str, pieces: Iterable[bytes]) -> None:
        """Write a file as `write_bytes` does, without holding all of its pieces in memory.

        An exception of `pieces` leaves `path` as it was.
        """
        ...

    def list_dir(self, path: str) -> list[str]:
        """Return the sorted names in a folder, sub-folders with a trailing slash; [] if absent."""
        ...

    def is_file(self, path: str) -> bool:
        """Return whether the file exists."""
        ...

    def is_dir(self, path: str) -> bool:
        """Return whether the folder exists."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file if it exists."""
        ...

    def remove_dir(self, path: str) -> None:
        """Remove a folder and its content if it exists."""
        ...


class ReadableFile(Protocol):
    """A file that is open for reading."""

    def read_on(self, size: int) -> bytes:
        """Return the next bytes, at most `size`; none at the end. Raises OSError."""
        ...

    def part(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` to before `end`, fewer where the file ends. Raises
        OSError."""
        ...


@runtime_checkable
class OpensFiles(Protocol):
    """A storage that can open a file instead of returning all of it."""

    def open_file(self, path: str) -> ReadableFile | None:
        """Open a file for reading; None if it can only be read whole. Raises as `read_bytes`."""
        ...


def join_under(root: str, name: str) -> str:
    """Join a name from a data file to a root that it must not leave.

    A backslash may be part of a name or separate folders, as on Windows, so a name must stay below
    the root both ways. Percent signs stand for themselves.

    Raises:
        TargetError: PATH_ESCAPES_ROOT for absolute names, drive letters, addresses, and what leaves
            `root` by ``..`` with either separator.

    >>> join_under("data", "a/b.jpg"), join_under("data", "a/../b.jpg")
    ('data/a/b.jpg', 'data/b.jpg')
    """
    spellings = (posixpath.normpath(name), posixpath.normpath(name.replace("\\", "/")))
    if any(_escapes(each) for each in spellings) or "://" in name or "\0" in name:
        raise TargetError(
            RejectReason.PATH_ESCAPES_ROOT,
            f"{name!r} leads out of {root!r}: names must stay inside the data root",
        )
    return posixpath.join(root, spellings[0] if ".." in name else name)


def _escapes(normal: str) -> bool:
    parts = normal.split("/")
    has_drive = any(_DRIVE.fullmatch(part) for part in parts) or _DRIVE.match(parts[0])
    return normal.startswith("/") or parts[0] == ".." or bool(has_drive)


class LocalFile:
    """A file of the local disk, closed when nothing refers to this object any more.

    Attributes:
        number: what the operating system calls it.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def read_on(self, size: int) -> bytes:
        return os.read(self.number, size)

    def part(self, start: int, end: int) -> bytes:
        return os.pread(self.number, end - start, start)

    def __del__(self) -> None:
        os.close(self.number)


@dataclass(frozen=True)
class LocalStorage:
    """The local disk.

    Attributes:
        scratch: folder of temporary files, on the same file system; None puts a hidden one next to
            each file.
    """

    scratch: str | None = None

    def read_bytes(self, path: str) -> bytes:
        # Opening a pipe waits for its writer, and opening a device may do anything.
        _check_regular(os.stat(path), path)
        with open(path, "rb", opener=_without_waiting) as f:
            _check_regular(os.fstat(f.fileno()), path)
            return f.read()

    def open_file(self, path: str) -> LocalFile:
        """Open a file for reading. Raises FileNotFoundError, or OSError if it cannot be read."""
        _check_regular(os.stat(path), path)
        file = LocalFile(_without_waiting(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
        _check_regular(os.fstat(file.number), path)
        return file

    def write_bytes(self, path: str, data: bytes) -> None:
        self.write_pieces(path, [data])

    def write_pieces(self, path: str, pieces: Iterable[bytes]) -> None:
        with atomic_file(path, scratch=self.scratch) as f:
            f.writelines(pieces)

    def list_dir(self, path: str) -> list[str]:
        try:
            with os.scandir(path or ".") as entries:
                return sorted(e.name + "/" if e.is_dir() else e.name for e in entries)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def is_file(self, path: str) -> bool:
        return os.path.isfile(path)

    def is_dir(self, path: str) -> bool:
        return os.path.isdir(path or ".")

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)

    def remove_dir(self, path: str) -> None:
        if os.path.isdir(path):
            shutil.rmtree(path)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_regular(state: os.stat_result, path: str) -> None:
    """Raise OSError for a pipe, device or socket, and for a file larger than half of the memory."""
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(state.st_mode):
        kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(state.st_mode), "a device")
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", path)
    if state.st_size > _max_file_bytes():
        raise OSError(
            errno.EFBIG, f"it has {state.st_size:,} bytes, more than half of the memory", path
        )


@functools.cache
def _max_file_bytes() -> int:
    # Not every system tells its memory.
    if not hasattr(os, "sysconf"):
        return 1 << 40
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


@dataclass(frozen=True)
class MemoryStorage:
    """Files in a dictionary, for tests and examples."""

    files: dict[str, bytes] = field(default_factory=dict)

    def read_bytes(self, path: str) -> bytes:
        try:
            return self.files[posixpath.normpath(path)]
        except KeyError:
            raise FileNotFoundError(path) from None

    def write_bytes(self, path: str, data: bytes) -> None:
        self.files[posixpath.normpath(path)] = data

    def write_pieces(self, path: str, pieces: Iterable[bytes]) -> None:
        self.write_bytes(path, b"".join(pieces))

    def list_dir(self, path: str) -> list[str]:
        names = set()
        prefix = _folder_prefix(path)
        for file in self.files:
            if file.startswith(prefix):
                first, slash, _ = file[len(prefix) :].partition("/")
                names.add(first + slash)
        return sorted(names)

    def is_file(self, path: str) -> bool:
        return posixpath.normpath(path) in self.files

    def is_dir(self, path: str) -> bool:
        prefix = _folder_prefix(path)
        return any(f.startswith(prefix) for f in self.files)

    def remove(self, path: str) -> None:
        self.files.pop(posixpath.normpath(path), None)

    def remove_dir(self, path: str) -> None:
        prefix = _folder_prefix(path)
        for file in [f for f in self.files if f.startswith(prefix)]:
            del self.files[file]


def _folder_prefix(path: str) -> str:
    normal = posixpath.normpath(path or ".")
    return "" if normal == "." else normal.rstrip("/") + "/"
