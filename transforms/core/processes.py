"""Which process something belongs to, and whether it still runs."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from dataclasses import dataclass
from functools import cache

_FORM = re.compile(r"([0-9a-f]{8})-([0-9]+)-([0-9]+)")


@dataclass(frozen=True)
class ProcessIdentity:
    """A process that no later one is taken for: process ids are used again, start times are not.

    Attributes:
        machine: digest of the host's name and of the process namespace.
        pid: process id on that machine.
        started: ticks after the machine's start; 0 where the system does not tell.

    >>> ProcessIdentity.parse(str(ProcessIdentity.own())) == ProcessIdentity.own()
    True
    """

    machine: str
    pid: int
    started: int

    @classmethod
    def own(cls) -> ProcessIdentity:
        """Return the identity of this process."""
        return _identity_of(os.getpid())

    @classmethod
    def parse(cls, text: str) -> ProcessIdentity | None:
        """Return the identity that `str` wrote, None for any other text."""
        found = _FORM.fullmatch(text)
        return found and cls(found[1], int(found[2]), int(found[3]))

    def __str__(self) -> str:
        return f"{self.machine}-{self.pid}-{self.started}"

    @property
    def is_local(self) -> bool:
        """Whether its process would be seen from here."""
        return self.machine == _machine()

    def is_alive(self) -> bool:
        """Return whether the process runs, on this machine."""
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            pass
        return self.started in (0, _started(self.pid))


@cache
def _identity_of(pid: int) -> ProcessIdentity:
    return ProcessIdentity(_machine(), pid, _started(pid))


@cache
def _machine() -> str:
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return hashlib.sha256(f"{socket.gethostname()} {namespace}".encode()).hexdigest()[:8]


def _started(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            # The name before the last bracket may hold blanks; see proc_pid_stat(5), field 22.
            fields = f.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    # A process that ended but is not yet waited for runs no more.
    return -1 if fields[0] in (b"Z", b"X") else int(fields[19])
