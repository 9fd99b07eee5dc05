"""Worker processes of Beam's local engine: starting them, and reporting how one ended."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from hlmat.pipelines.run.worker_template import REQUEST
from hlmat.transforms.beam.faults import StepError
from hlmat.transforms.core.atomic_files import remove_stale_files, temporary_path
from hlmat.transforms.core.errors import IncompleteError
from hlmat.transforms.core.watchdog import stalls_reported_to

# Beam waits without limit for a worker that never connects. Only the standard library is imported
# before the `try`, so that any failure to start reaches the job as one line.
_START = """\
import os, sys
def sign_in():
    name = os.path.join(sys.argv[1], str(os.getpid()))
    open(name + ".pid", "w").close()
    os.environ["HLMAT_WORKER_NOTE"] = name + ".note"
    os.environ["HLMAT_WORKER_FAULT"] = name + ".fault"
    return name
name = sign_in()
try:
    job = int(sys.argv[2])
    if len(sys.argv) > 3:
        from hlmat.pipelines.run.worker_template import fork_on_request
        job = fork_on_request(int(sys.argv[3]), job=job)
        name = sign_in()
    from hlmat.pipelines.run.local_worker import main
    main(job=job)
except Exception as error:
    with open(name + ".tmp", "w") as f:
        f.write(" ".join(f"{type(error).__name__}: {error}".split()))
    os.replace(name + ".tmp", name + ".failed")
    sys.exit(1)
"""
_SOCKET = "template"
_BEAMS_WORDS = "Worker subprocess exited with return code "
# Threads that wait for a process, and that read what it sends.
_BEAMS_THREADS = ("run_worker", "beam_control_read", "read_grpc_client_inputs")
_POLL_S = 0.1
_JOIN_S = 2.0


class LocalWorkers:
    """Starts worker processes and reports any that ends before the job does.

    A context manager; on exit all worker processes have ended.
    """

    def __init__(self) -> None:
        self._folder = Path()
        self._template: subprocess.Popen[bytes] | None = None
        self._lost: str | None = None
        self._previous_hook = threading.excepthook

    def __enter__(self) -> LocalWorkers:
        remove_stale_files(tempfile.gettempdir())
        self._folder = Path(temporary_path("workers", folder=tempfile.gettempdir()))
        self._folder.mkdir(mode=0o700)
        self._previous_hook, threading.excepthook = threading.excepthook, self._note_lost_worker
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._template is not None:
            self._template.kill()
            self._template.wait()
        for path in self._folder.glob("*.pid"):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(int(path.stem), signal.SIGKILL)
        # They would report the end of a process, which is expected now.
        deadline = time.monotonic() + _JOIN_S
        for thread in threading.enumerate():
            if thread.name in _BEAMS_THREADS:
                thread.join(max(0.0, deadline - time.monotonic()))
        threading.excepthook = self._previous_hook
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start importing what workers need, if workers can be forked from that process.

        Otherwise, and if this is not called, each worker imports for itself.
        """
        if sys.platform != "linux" or self._template is not None:
            return
        with socket.socket(socket.AF_UNIX) as listener:
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                # A path through the folder's descriptor is never too long for a socket.
                listener.bind(f"/proc/self/fd/{folder}/{_SOCKET}")
            finally:
                os.close(folder)
            listener.listen()
            self._template = subprocess.Popen(
                _command([*self._words(), str(listener.fileno())]),
                shell=True,
                pass_fds=[listener.fileno()],
            )

    def command(self) -> str:
        """Return the shell command that starts one worker."""
        if self._template is None:
            return _command(self._words())
        return _command([sys.executable, "-I", "-S", "-c", REQUEST, str(self._folder), _SOCKET])

    def _words(self) -> list[str]:
        """Return the program of a worker, or of the process from which workers are forked.

        `-P` keeps the working folder, which may contain a `transforms.py`, off the import path.
        """
        return [sys.executable, "-P", "-c", _START, str(self._folder), str(os.getpid())]

    def run(self, work: Callable[[], object], *, watch: Callable[[], None] = lambda: None) -> None:
        """Run `work` in a thread until it returns or a worker is lost.

        Args:
            work: the job.
            watch: called repeatedly in the meantime; an exception from it ends the wait.

        Raises:
            IncompleteError: a worker could not start, or died.
            StepError: a worker met an error that ends the job; the others are not waited for.
            Exception: any exception that `work` or `watch` raised.
        """
        raised: list[BaseException] = []

        def call() -> None:
            try:
                work()
            # Passed to the calling thread, which raises it.
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=call, name="hlmat-pipeline", daemon=True)
        with stalls_reported_to(self._note_stall):
            thread.start()
            while thread.is_alive():
                thread.join(_POLL_S)
                watch()
                for path in self._folder.glob("*.fault"):
                    raise StepError(path.read_text(encoding="utf-8"))
                if (cause := self.failure()) is not None:
                    raise IncompleteError(cause)
        # Beam reports a lost worker as a broken connection; the exit status says more.
        if (cause := self.failure()) is not None:
            raise IncompleteError(cause)
        if raised:
            raise raised[0]

    def failure(self) -> str | None:
        """Return why a worker has ended, or None if all are running."""
        for path in self._folder.glob("*.failed"):
            return f"a worker process could not start: {path.read_text(errors='replace')}"
        for path in self._folder.glob("*.note"):
            # Its process is about to end; wait for that before reporting what it wrote.
            if self._lost is not None or time.time() - path.stat().st_mtime > _JOIN_S:
                return path.read_text(errors="replace")
        if self._lost is None and self._template is not None:
            code = self._template.poll()
            return None if code is None else _end_of_worker(code)
        return self._lost

    def _note_stall(self, sentence: str) -> None:
        """Record the watchdog's report of a call in this process."""
        self._lost = sentence

    def _note_lost_worker(self, args: Any) -> None:
        text = str(args.exc_value)
        if type(args.exc_value).__module__.partition(".")[0] == "grpc":
            # A connection broke: the exit of the process on the other side is the cause to report.
            return
        if not isinstance(args.exc_value, RuntimeError) or not text.startswith(_BEAMS_WORDS):
            self._previous_hook(args)
            return
        code = int(text.removeprefix(_BEAMS_WORDS))
        self._lost = _end_of_worker(code)


def _command(words: Sequence[str]) -> str:
    """Return a shell command that ignores Ctrl-C, which reaches every process of the terminal.

    The job's own process ends the workers. With `exec`, Beam kills a worker instead of its shell.
    """
    return f"trap '' INT; exec {shlex.join(words)}"


def _end_of_worker(code: int) -> str:
    """Describe how a worker ended, from its exit code as `subprocess` returns it."""
    if code < 0:
        return (
            f"a worker process was killed by {signal.Signals(-code).name}; if memory ran out, "
            "use fewer --workers"
        )
    return f"a worker process ended with exit code {code}"
