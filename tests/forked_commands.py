"""Calls of `hlmat` in processes of their own, forked from one that has imported what they need.

A call takes tenths of a second of processor time, instead of the seconds that importing takes.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from repository import REPOSITORY

_SERVER = """\
import atexit, json, os, signal, sys
import fsspec.config, fsspec.implementations.memory, gcsfs, s3fs
import hlmat.pipelines.evaluation.evaluate, hlmat.pipelines.evaluation.stats
import hlmat.pipelines.exporting.export, hlmat.pipelines.exporting.pipeline
import hlmat.pipelines.run.trajectories, hlmat.transforms.segmenters.disc
from hlmat.pipelines.cli.main import main

def call(request):
    os.environ.clear()
    os.environ.update(request["env"])
    fsspec.config.set_conf_env(fsspec.config.conf)
    if request["cwd"] is not None:
        os.chdir(request["cwd"])
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    code = main(request["argv"])
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    if os.fork() == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            call(request)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with open(request["end"] + ".new", "w") as f:
            f.write(str(code))
        os.replace(request["end"] + ".new", request["end"])
        os._exit(0)
"""


@dataclass
class Call:
    """A call that has started.

    Attributes:
        folder: of its output.
        returncode: None until it has ended, then the exit code or minus the signal.
    """

    folder: Path
    returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code if the call has ended."""
        end = self.folder / "end"
        if self.returncode is None and end.exists():
            self.returncode = int(end.read_text(encoding="ascii"))
        return self.returncode

    def communicate(self, timeout: float = 600) -> tuple[str, str]:
        """Wait for the end; return what the call printed and said."""
        ends = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < ends, self.read("err")
            time.sleep(0.02)
        return self.read("out"), self.read("err")

    def read(self, name: str) -> str:
        path = self.folder / name
        return path.read_text(encoding="utf-8") if path.exists() else ""


def start(argv: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path | None = None) -> Call:
    """Start a call.

    Args:
        argv: the command and its flags.
        env: its whole environment; that of imports is the one of the tests.
        cwd: its working folder.
    """
    folder = Path(tempfile.mkdtemp(dir=_folder()))
    request = {
        **{name: str(folder / name) for name in ("out", "err", "end")},
        "argv": list(map(str, argv)),
        "env": dict(env),
        "cwd": None if cwd is None else str(cwd),
    }
    server = _server()
    assert server.stdin is not None
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    return Call(folder)


@functools.cache
def _folder() -> str:
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return folder.name


@functools.cache
def _server() -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, "-P", "-c", _SERVER],
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "src")},
    )
    atexit.register(server.communicate)
    return server
