"""Atomic writes: fill a hidden temporary file or folder, then rename it.

A temporary name says which process it belongs to, so that those of dead processes are removed by
whoever writes in the same folder next.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import shutil
import time
import uuid
from collections.abc import Iterator
from typing import BinaryIO

from hlmat.transforms.core.processes import ProcessIdentity

_PREFIX = ".tmp-"
_ANOTHER_MACHINES_S = 24 * 3600.0
"""Age at which temporary files of another machine, whose processes are out of sight, are stale."""

_swept: set[str] = set()


def temporary_path(path: str, *, folder: str | None = None) -> str:
    """Return a new hidden name that shares nothing with `path` but its file system.

    Args:
        path: what the file or folder will be called.
        folder: where the name is; None takes the folder of `path`.

    >>> temporary_path("out/a.parquet").partition("-")[0]
    'out/.tmp'
    """
    beside = posixpath.dirname(path.rstrip("/")) if folder is None else folder
    return posixpath.join(beside, f"{_PREFIX}{ProcessIdentity.own()}-{uuid.uuid4().hex[:12]}")


def remove_stale_files(folder: str) -> None:
    """Remove the temporary files and folders that dead processes left in a folder."""
    try:
        with os.scandir(folder or ".") as entries:
            stale = [entry for entry in entries if _is_stale(entry)]
    except OSError:
        return
    for entry in stale:
        with contextlib.suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.remove(entry.path)


@contextlib.contextmanager
def atomic_file(path: str, *, scratch: str | None = None) -> Iterator[BinaryIO]:
    """Yield a file to write; it replaces `path` once the block ends without an error.

    Makes the folder if needed and flushes to the disk before the move. An error in the block
    leaves `path` as it was and no temporary file.

    Args:
        path: the file.
        scratch: a folder of the same file system for the temporary file; None takes that of
            `path`.

    Raises:
        OSError: the file cannot be written or moved.
    """
    folder = os.path.dirname(path)
    temporary = temporary_path(path, folder=scratch)
    os.makedirs(folder or ".", exist_ok=True)
    if scratch is not None:
        os.makedirs(scratch, exist_ok=True)
    _sweep_once(scratch or folder)
    try:
        with open(temporary, "wb") as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        # A full disk names no file, and nobody knows the temporary one.
        if isinstance(error, OSError) and error.filename in (None, temporary):
            error.filename = path
        raise


@contextlib.contextmanager
def atomic_folder(path: str) -> Iterator[str]:
    """Yield a new folder to fill; it is moved to `path` once the block ends without an error.

    An error in the block leaves nothing at `path` and no temporary folder.

    Args:
        path: does not exist, or is an empty folder.

    Raises:
        OSError: the folder cannot be made, or `path` is not empty.
    """
    place = os.path.abspath(path)
    temporary = temporary_path(place)
    os.makedirs(temporary)
    _sweep_once(os.path.dirname(place))
    try:
        yield temporary
        os.rename(temporary, place)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _sweep_once(folder: str) -> None:
    place = os.path.abspath(folder)
    if place not in _swept:
        _swept.add(place)
        remove_stale_files(place)


def _is_stale(entry: os.DirEntry[str]) -> bool:
    if not entry.name.startswith(_PREFIX):
        return False
    owner = ProcessIdentity.parse(entry.name.removeprefix(_PREFIX).rpartition("-")[0])
    if owner is None:
        return False
    if owner.is_local:
        return not owner.is_alive()
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _ANOTHER_MACHINES_S
    except OSError:
        return False
