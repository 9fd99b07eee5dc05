"""A process that has imported what workers need and forks a worker for each request.

Importing takes a worker 2.5 s of processor time; a fork of this process takes 0.2 s. Neither
Beam's harness nor a segmenter runs in it, so its only other threads are those of libraries that
handle forks (OpenBLAS, jemalloc).
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress

_IMPORTS = (
    "apache_beam.runners.worker.sdk_worker_main",
    "hlmat.transforms.beam.read_units",
    "hlmat.transforms.beam.shards",
    "hlmat.transforms.beam.simulate",
    "hlmat.transforms.policies.oracle",
)
_POLL_S = 0.05
_RECEIVED_BYTES = 1 << 16

REQUEST = """\
import json, os, socket, sys
os.chdir(sys.argv[1])
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[2])
    connection.sendall(json.dumps(dict(os.environ)).encode() + b"\\n")
    code = int(connection.makefile().readline() or 1)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""
"""A program that asks for a worker with its own environment and ends as the worker does.

Its arguments are the folder and the name of the socket; it needs only the standard library.
"""


def fork_on_request(listener: int, *, job: int) -> int:
    """Fork a worker for each request; return only in the worker.

    Args:
        listener: file descriptor of the socket on which `REQUEST` connects.
        job: process id of the job; this process ends when the job does.

    Returns:
        The process id of the template; the worker must end when the template does.
    """
    _import_what_workers_need()
    template = os.getpid()
    requests: dict[socket.socket, bytes] = {}
    workers: dict[int, socket.socket] = {}
    server = socket.socket(fileno=listener)
    server.setblocking(False)
    while os.getppid() == job:
        watched = [server, *requests, *workers.values()]
        ready = select.select(watched, [], [], _POLL_S)[0]
        for pid, connection in list(workers.items()):
            if connection in ready:
                # The other side ended: the job no longer needs the worker.
                os.kill(pid, signal.SIGKILL)
        _report_ends(workers)
        if server in ready:
            # Its other side may be gone by now.
            with suppress(OSError):
                requests[server.accept()[0]] = b""
        for connection in [each for each in requests if each in ready]:
            environment = _read_request(connection, requests)
            if environment is None:
                continue
            pid = os.fork()
            if pid == 0:
                for open_socket in (server, connection, *requests, *workers.values()):
                    open_socket.close()
                os.environ.clear()
                os.environ.update(environment)
                _reseed()
                return template
            workers[pid] = connection
    os._exit(1)


def _read_request(
    connection: socket.socket, requests: dict[socket.socket, bytes]
) -> dict[str, str] | None:
    """Read what has arrived of a request; return its environment when it is complete.

    Then, and when it ends before or is no environment, it is no longer among the requests.
    """
    try:
        arrived = connection.recv(_RECEIVED_BYTES)
    except OSError:
        arrived = b""
    text = requests[connection] + arrived
    if arrived and not text.endswith(b"\n"):
        requests[connection] = text
        return None
    del requests[connection]
    if arrived:
        with suppress(ValueError, AttributeError):
            return {str(name): str(value) for name, value in json.loads(text).items()}
    connection.close()
    return None


def _import_what_workers_need() -> None:
    from hlmat.transforms.beam.imports import import_beam_without_connectors
    from hlmat.transforms.core.garbage import no_cycle_search

    with no_cycle_search():
        import_beam_without_connectors()
        for name in _IMPORTS:
            importlib.import_module(name)
    import numpy as np

    from hlmat.transforms.oracle.click import oracle_click

    # The first call loads compiled code, which takes as long as all other imports.
    nothing = np.zeros((8, 8), np.bool_)
    oracle_click(nothing, ~nothing)
    # A worker's search for cycles would visit, and so copy, what it shares with this process.
    gc.freeze()


def _reseed() -> None:
    """Give NumPy's global generator a state of its own, as in a process that was not forked."""
    if (random := sys.modules.get("numpy.random")) is not None:
        random.seed()


def _report_ends(workers: dict[int, socket.socket]) -> None:
    """Send the exit code of every worker that has ended, negative for a signal."""
    for pid in list(workers):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with workers.pop(pid) as connection, suppress(OSError):
                connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
