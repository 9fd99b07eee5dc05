"""Run a pipeline on another runner: separate log, readable failures, no endless wait."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import PortableOptions

from hlmat.pipelines.run.engine_checks import EMBEDDED, environment_type, pool_address
from hlmat.pipelines.run.local_workers import LocalWorkers
from hlmat.pipelines.run.runners import job_server_timeout, pipeline_options
from hlmat.pipelines.settings.runner_choice import RunnerChoice
from hlmat.transforms.beam.faults import carried_error
from hlmat.transforms.core.errors import HlmatError, IncompleteError

WORKER_TIMEOUT_S = 120
"""How long a portable runner's first worker may take, by default."""

_POLL_S = 1.0
_CANCEL_S = 5.0
# Runners that start their own job server if none is given.
_STARTING = ("PrismRunner", "FlinkRunner", "SparkRunner")
# Runners with their own limits.
_PATIENT = ("DataflowRunner", "FnApiRunner", "DirectRunner", "BundleBasedDirectRunner")
# The error of a worker with another Python version for a pickled function.
_OTHER_BYTECODE = re.compile(
    r"code\(\) argument|code expected at (least|most)|bad marshal data|unknown opcode"
)
_LOST_WORKER = re.compile(
    r"SDK disconnected|worker.{0,40}(disconnected|lost|died|exited)|Stream removed|Socket closed"
    r"|control stream|Broken pipe|Connection reset|EOF",
    re.IGNORECASE | re.DOTALL,
)
_NO_MODULE = re.compile(r"No module named '([\w.]+)'")
_NO_JAR = re.compile(r"remote job server jar at \S*?([\w.-]+\.jar)")
_OUR_FRAME = re.compile(r'File "[^"]*hlmat/(transforms|pipelines|export)/')


def run_on_engine(
    pipeline: beam.Pipeline,
    choice: RunnerChoice,
    *,
    log: str,
    has_begun: Callable[[], bool],
) -> None:
    """Run a pipeline on another runner and wait for its end.

    Args:
        log: a local file for the log of Beam and the runner; removed when the job succeeds.
        has_begun: whether a worker wrote its note.

    Raises:
        IncompleteError: the engine failed, or no worker began in time.
        Exception: raised by a step.
    """
    with engine_log(log) as note_trace:
        try:
            _run(pipeline, choice, has_begun=has_begun)
        except HlmatError as error:
            note_trace(error)
            raise
        except Exception as error:
            note_trace(error)
            fault = carried_error(error)
            if fault is not None and fault is not error:
                raise
            if (sentence := engine_fault(error, choice)) is None:
                raise
            if isinstance(error, grpc.RpcError) and not has_begun():
                # Prism exits when a pool starts no worker.
                sentence = f"{sentence} before a worker began; {_advice_on_workers(choice)}"
            raise IncompleteError(f"{sentence} (log: {log})") from error
    with contextlib.suppress(OSError):
        os.remove(log)


def _run(pipeline: Any, choice: RunnerChoice, *, has_begun: Callable[[], bool]) -> None:
    running: list[Any] = []

    def submit() -> None:
        _wait_for_job_server(choice)
        running.append(pipeline.run())

    def work() -> None:
        if not running:
            submit()
        running[0].wait_until_finish()

    with LocalWorkers() as workers, _stopping_job_servers(pipeline):
        if choice.beam_name in _STARTING and "--job_endpoint" not in str(choice.flags):
            # In this thread, because Beam's job server installs a handler for Ctrl-C.
            submit()
        workers.run(work, watch=_deadline(choice, has_begun, running))


@contextlib.contextmanager
def _stopping_job_servers(pipeline: Any) -> Iterator[None]:
    """Stop the job server that a runner starts when the body ends.

    Beam does that when the process exits, which a failed command does without Beam's part in it.
    """
    runner, servers = getattr(pipeline, "runner", None), list[Any]()
    build = getattr(runner, "default_job_server", None)
    if runner is None or build is None:
        yield
        return

    def noted(options: Any) -> Any:
        servers.append(build(options))
        return servers[-1]

    runner.default_job_server = noted
    try:
        yield
    finally:
        del runner.default_job_server
        for server in servers:
            # It may have ended by itself.
            with contextlib.suppress(Exception):
                server.stop()


def _wait_for_job_server(choice: RunnerChoice) -> None:
    """Wait for a connection to the job server that was named, if one was.

    Raises:
        grpc.FutureTimeoutError: something else listens there.
    """
    endpoint = pipeline_options(choice).view_as(PortableOptions).job_endpoint
    if endpoint and endpoint != EMBEDDED:
        with grpc.insecure_channel(endpoint) as channel:
            grpc.channel_ready_future(channel).result(timeout=job_server_timeout(choice))


def log_file(out: str) -> str:
    """Return the log of a run's engine: in its folder, or in a temporary one for a URL."""
    folder = tempfile.gettempdir() if "://" in out else out
    return os.path.join(folder, "engine.log")


def engine_fault(error: BaseException, choice: RunnerChoice) -> str | None:
    """Return what to report for an exception caused by the engine, None for any other.

    Args:
        error: raised by submitting the job or waiting for it.
        choice: the runner.
    """
    text = str(error)
    name = choice.beam_name
    options = pipeline_options(choice).view_as(PortableOptions)
    where = f" at {options.job_endpoint}" if options.job_endpoint else ""
    if isinstance(error, grpc.FutureTimeoutError):
        return (
            f"something listens{where}, but no job server of Beam answers; start it or correct "
            "--job_endpoint"
        )
    if isinstance(error, ImportError) and "Dataflow" in text:
        return (
            "--runner DataflowRunner needs the extra gcp; install it by `pip install 'hlmat[gcp]'`"
        )
    if (jar := _NO_JAR.search(text)) is not None:
        flag = f"--{name.removesuffix('Runner').lower()}_job_server_jar"
        return (
            f"the job server of {name}, {jar[1]}, is not here and cannot be downloaded; fetch it "
            f"on a machine that can and name it with {flag}, or start a job server and name it "
            "with --job_endpoint"
        )
    if "prism binary" in text:
        return (
            "Prism is not here and cannot be downloaded; install it by `make prism`, or name it "
            "with --prism_location"
        )
    if "get control connection" in text:
        return (
            f"no worker of {name} connected within the minute that Prism waits; "
            f"{_advice_on_workers(choice)}"
        )
    if "failed to start up with error" in text:
        return f"the job server that {name} starts ended at once; the log says why"
    if "credentials" in text.lower() and name == "DataflowRunner":
        return (
            "Google Cloud's credentials are not there; run `gcloud auth application-default login`"
        )
    if "validations errors" in text:
        return f"{name} refuses its flags: {_last_line(text)}"
    if (module := _NO_MODULE.search(text)) is not None:
        return (
            f"a worker of {name} has no package {module[1].partition('.')[0]!r}; install this "
            f"project with its extras where the workers run"
        )
    if _OTHER_BYTECODE.search(text):
        return (
            f"a worker of {name} cannot read the job's steps: it runs another Python than "
            f"{sys.version_info.major}.{sys.version_info.minor}; use the same there"
        )
    if isinstance(error, grpc.RpcError):
        return f"the connection to {name}{where} broke: it was stopped or killed"
    if _OUR_FRAME.search(text) and "Traceback" in text:
        return None
    if "docker" in text.lower():
        return f"{name} cannot start its workers in Docker; check that the image is there and fits"
    if _LOST_WORKER.search(text):
        return f"a worker of {name} was lost: it was killed, or its memory ran out"
    if isinstance(error, RuntimeError | ValueError | OSError | KeyError):
        return f"{name} failed: {_last_line(text)}"
    return None


def missing_workers(choice: RunnerChoice, *, waited_s: float) -> str:
    """Return the message for when no worker began in time."""
    return (
        f"no worker of {choice.beam_name} began within {waited_s:g} s; "
        f"{_advice_on_workers(choice)}, or give a slow start more time by --worker-timeout"
    )


def _advice_on_workers(choice: RunnerChoice) -> str:
    options = pipeline_options(choice)
    portable = options.view_as(PortableOptions)
    kind = environment_type(choice, options)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    causes = {
        "EXTERNAL": f"check that the pool at {pool_address(portable)} has the bin folder of its "
        f"environment first on PATH (its `python` must be {python} and import apache_beam and "
        "hlmat), and see what the pool prints",
        "PROCESS": "check that the command of --environment_config starts a worker where the "
        "engine runs (Prism 2.77 puts the worker's id between apostrophes; "
        "deploy/prism_worker.sh removes them), or use EXTERNAL",
        "DOCKER": "check that the image is there, is pulled in this time and fits this version "
        "of Beam",
        "LOOPBACK": "workers run in this process then, so the engine must run on this machine",
    }
    return causes.get(kind, "check its workers")


@contextlib.contextmanager
def engine_log(path: str) -> Iterator[Callable[[BaseException], None]]:
    """Send Beam's log, and what its threads print, to a file while the body runs.

    With `--verbose` the console shows it too. Yields a function that adds an exception.
    """
    root, beams = logging.getLogger(), logging.getLogger("apache_beam")
    is_verbose = root.getEffectiveLevel() <= logging.INFO
    levels = root.level, beams.level
    console = [] if is_verbose else list(root.handlers)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    handler = logging.FileHandler(path, mode="w", encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for other in console:
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(min(root.level, logging.INFO))
    beams.setLevel(logging.NOTSET)

    def note(error: BaseException) -> None:
        root.error("the job failed", exc_info=error)

    def note_thread(arguments: Any) -> None:
        root.error("in thread %s", arguments.thread, exc_info=arguments.exc_value)

    stderr, hook = sys.stderr, threading.excepthook
    if not is_verbose:
        sys.stderr, threading.excepthook = _LogStream(root), note_thread
    try:
        yield note
    finally:
        sys.stderr, threading.excepthook = stderr, hook
        root.removeHandler(handler)
        for other in console:
            root.addHandler(other)
        root.setLevel(levels[0])
        beams.setLevel(levels[1])
        if not is_verbose:
            # Beam passes on Prism's messages at any level.
            logging.getLogger("PrismJobServer").setLevel(logging.CRITICAL)
        handler.close()


class _LogStream:
    """A stream for workers in this process, which also print what they report."""

    encoding = "utf-8"

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def write(self, text: str) -> int:
        if text.strip():
            self._logger.info("%s", text.rstrip())
        return len(text)

    def flush(self) -> None:
        return

    def isatty(self) -> bool:
        return False


def _deadline(
    choice: RunnerChoice, has_begun: Callable[[], bool], running: list[Any]
) -> Callable[[], None]:
    """Return a function that raises IncompleteError when no worker began in time.

    The time starts with the submission of the job, for which Beam lists the installed packages.
    """
    limit_s = choice.worker_timeout_s
    if limit_s is None and choice.beam_name in _PATIENT:
        return lambda: None
    limit_s = limit_s or WORKER_TIMEOUT_S
    started = asked = time.monotonic()
    begun, is_submitted = False, bool(running)

    def watch() -> None:
        nonlocal begun, asked, started, is_submitted
        now = time.monotonic()
        if running and not is_submitted:
            is_submitted, started = True, now
        if begun or now - asked < _POLL_S:
            return
        begun, asked = has_begun(), now
        if not begun and now - started > (
            limit_s if is_submitted else max(limit_s, WORKER_TIMEOUT_S)
        ):
            canceller = threading.Thread(target=_cancel, args=(running,), daemon=True)
            canceller.start()
            canceller.join(_CANCEL_S)
            raise IncompleteError(missing_workers(choice, waited_s=limit_s))

    return watch


def _cancel(running: list[Any]) -> None:
    # The engine itself may be gone.
    with contextlib.suppress(Exception):
        running[0].cancel()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it gives no reason"
