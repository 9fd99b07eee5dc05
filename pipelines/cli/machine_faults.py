"""What the machine can do to a command: a full disk, a refused file, no memory left."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from hlmat.pipelines.cli.exit_codes import EXIT_DATA, EXIT_INCOMPLETE, EXIT_OUTPUT

_NO_ROOM = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EFBIG: "raise the limit on file sizes, see `ulimit -f`",
    errno.EROFS: "choose a place that can be written",
}
_OF_A_FILE = {
    errno.EACCES: "check the permissions",
    errno.EPERM: "check the permissions",
    errno.EIO: "check the disk",
    errno.ESTALE: "check that the network disk is there",
    errno.ENOTCONN: "check that the network disk is there",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "check the path",
    errno.EEXIST: "choose another path",
    errno.ENOTEMPTY: "choose another path",
    errno.ELOOP: "check the path",
    errno.ENAMETOOLONG: "choose a shorter path",
}
_OF_THE_PROCESS = {
    errno.EMFILE: "raise the limit on open files, see `ulimit -n`",
    errno.ENFILE: "raise the limit on open files, see `ulimit -n`",
    errno.ENOMEM: "use fewer --workers, or a machine with more memory",
    errno.EAGAIN: "raise the limit on processes, see `ulimit -u`",
}


@dataclass(frozen=True)
class MachineFault:
    """A fault for which the program is not to blame, as it is reported."""

    sentence: str
    exit_code: int


def machine_fault(error: BaseException) -> MachineFault | None:
    """Return what to report for an exception that the machine caused, None for any other."""
    if isinstance(error, MemoryError):
        detail = f" ({error})" if str(error) else ""
        return MachineFault(
            f"memory ran out{detail}; use fewer --workers, or a machine with more memory",
            EXIT_INCOMPLETE,
        )
    if not isinstance(error, OSError) or error.errno is None:
        return None
    number, what = error.errno, error.strerror or str(error)
    name = None if error.filename is None else os.fsdecode(error.filename)
    if number in _NO_ROOM:
        return MachineFault(
            f"{name or 'the output'} cannot be written: {what}; {_NO_ROOM[number]} and run the "
            "same command again",
            EXIT_OUTPUT,
        )
    if number in _OF_A_FILE and name is not None:
        is_input = os.path.exists(name) and not os.access(name, os.R_OK)
        return MachineFault(
            f"{name}: {what}; {_OF_A_FILE[number]}", EXIT_DATA if is_input else EXIT_OUTPUT
        )
    if number == errno.EIO:
        return MachineFault(
            f"a file cannot be read or written: {what}; check the disk", EXIT_OUTPUT
        )
    if number in _OF_THE_PROCESS:
        return MachineFault(f"{what}; {_OF_THE_PROCESS[number]}", EXIT_INCOMPLETE)
    return None
