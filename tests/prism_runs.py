"""Commands run on Prism, Beam's portable runner in Go, with workers of each kind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import forked_commands
from forked_commands import Call
from repository import REPOSITORY

_BIN = str(Path(sys.executable).parent)
_WAIT_S = 700.0
POOL_MODULE = ("-m", "apache_beam.runners.worker.worker_pool_main")

SHAPES = (
    *("trajectories", "--dataset", "shapes", "--shapes-size", "64x80", "--unit-size", "4", "-q"),
    *("--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter"),
)
FEW, MANY = ("--shapes-images", "6"), ("--shapes-images", "150")
# For workers on a machine that does much else.
PATIENT = ("--worker-timeout", "600")


def environment(path: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), "PATH": path}


ENVIRONMENT = environment(f"{_BIN}{os.pathsep}{os.environ.get('PATH', '')}")


def find_program(name: str, target: str) -> str:
    """Return a program next to this interpreter or on PATH, or skip the test."""
    beside = os.path.join(_BIN, name)
    found = beside if os.path.isfile(beside) else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not here: `make {target}` installs it, with Go")
    return found


def start(*flags: str, of: tuple[str, ...] = SHAPES, cwd: Path | None = None) -> Call:
    return forked_commands.start([*of, *flags], env=ENVIRONMENT, cwd=cwd)


def run(*flags: str, of: tuple[str, ...] = SHAPES, cwd: Path | None = None) -> tuple[int, str]:
    """Run a command in a folder; return its exit code and what it said."""
    call = start(*flags, of=of, cwd=cwd)
    _, said = call.communicate(timeout=_WAIT_S)
    assert call.returncode is not None
    return call.returncode, said


def files_in(folder: Path) -> Mapping[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def free_port() -> int:
    with socket.create_server(("localhost", 0)) as server:
        return server.getsockname()[1]


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("localhost", port)) == 0


@contextmanager
def serving(port: int, *command: str, env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server, in a folder of its own, until the body ends."""
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, cwd=folder
        )
        try:
            wait_for(lambda: listens(port))
            yield server
        finally:
            server.terminate()
            server.wait()


@dataclass(frozen=True)
class Engine:
    """A job server of Prism.

    Attributes:
        flags: that send a job there.
        process: of the server.
    """

    flags: tuple[str, ...]
    process: subprocess.Popen[bytes]

    @property
    def loopback(self) -> tuple[str, ...]:
        """Flags for workers in the process of the command."""
        return (*self.flags, "--environment_type=LOOPBACK")


@contextmanager
def prism_server(program: str, env: Mapping[str, str] = ENVIRONMENT) -> Iterator[Engine]:
    port = free_port()
    with serving(port, program, f"-job_port={port}", "-serve_http=false", env=env) as server:
        yield Engine(("--runner", "PortableRunner", f"--job_endpoint=localhost:{port}"), server)


@dataclass(frozen=True)
class Pool:
    """A worker pool.

    Attributes:
        flags: that let it start a job's workers.
        process_id: of the pool.
    """

    flags: tuple[str, ...]
    process_id: int

    def kill_workers(self) -> int:
        """Kill the processes that the pool started; return their number."""
        killed = 0
        for task in Path(f"/proc/{self.process_id}/task").glob("*/children"):
            for worker in task.read_text(encoding="ascii").split():
                os.kill(int(worker), signal.SIGKILL)
                killed += 1
        return killed


@contextmanager
def worker_pool(*flags: str, path: str = ENVIRONMENT["PATH"], **variables: str) -> Iterator[Pool]:
    """Run a worker pool until the body ends."""
    port = free_port()
    command = (sys.executable, *POOL_MODULE, f"--service_port={port}", *flags)
    with serving(port, *command, env={**environment(path), **variables}) as server:
        address = f"--environment_config=localhost:{port}"
        yield Pool(("--environment_type=EXTERNAL", address), server.pid)


def assert_lost(said: str, victim: str) -> None:
    """Check that one line says what was killed, the worker or the engine."""
    assert said.startswith(
        "hlmat: error: a worker of PortableRunner was lost"
        if victim == "worker"
        else "hlmat: error: the connection to PortableRunner at localhost"
    ), said
    assert said.count("\n") == 1
