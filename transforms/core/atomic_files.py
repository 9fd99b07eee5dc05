"""Atomic writes: fill a temporary file or folder beside the target, then rename it."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from typing import BinaryIO


def temporary_path(path: str) -> str:
    """Return a new name beside a path, on the same file system, so that a rename is atomic."""
    return f"{path.rstrip('/')}.tmp-{uuid.uuid4().hex}"


@contextlib.contextmanager
def atomic_file(path: str) -> Iterator[BinaryIO]:
    """Yield a file to write; it replaces `path` once the block ends without an error.

    Makes the folder if needed and flushes to the disk before the move. An error in the block
    leaves `path` as it was and no temporary file.

    Raises:
        OSError: the file cannot be written or moved.
    """
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    temporary = temporary_path(path)
    try:
        with open(temporary, "wb") as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
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
    try:
        yield temporary
        os.rename(temporary, place)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
