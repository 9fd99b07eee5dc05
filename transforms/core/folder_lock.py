"""A lock on a folder, which ends with the process that holds it, however that ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator

from hlmat.transforms.core.errors import OutputError

LOCK_NAME = ".lock"

_UNSUPPORTED = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})


@contextlib.contextmanager
def locked_folder(folder: str, *, is_shared: bool = False) -> Iterator[None]:
    """Hold the lock on a local folder while the body runs; make the folder if needed.

    Shared locks exclude only the other kind.

    The system releases the lock when the process ends, so a killed one leaves a file without
    meaning. On a file system without locks the body runs without one.

    Raises:
        OutputError: another process, or another thread of this one, holds a lock that excludes
            this one.
        OSError: the folder cannot be written.
    """
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, LOCK_NAME)
    descriptor = _take(path, folder, is_shared=is_shared)
    try:
        yield
    finally:
        # Removed while it is held: whoever opened it before finds that it is gone, see `_take`.
        # A shared one is first made an exclusive one, which fails if others hold it.
        with contextlib.suppress(OSError):
            if is_shared:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.remove(path)
        os.close(descriptor)


def _take(path: str, folder: str, *, is_shared: bool) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return descriptor
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
            os.close(descriptor)
            if not isinstance(error, BlockingIOError | PermissionError):
                raise
            raise OutputError(
                f"{folder}: another run works in this folder"
                f"{f' ({holder})' if holder.isprintable() and holder else ''}; wait for it, "
                "or choose another --out"
            ) from None
        if _is_still_there(descriptor, path):
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
            return descriptor
        os.close(descriptor)


def _is_still_there(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
