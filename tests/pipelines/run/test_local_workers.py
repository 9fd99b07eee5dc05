"""Worker processes that cannot start or die end the run with the cause."""

from __future__ import annotations

import os
import shlex
import sys
import threading
from contextlib import suppress
from pathlib import Path

# Runners other than `local` need Beam's connectors, which a local run would leave out.
import apache_beam  # noqa: F401
import grpc
import pytest

from hlmat.pipelines.cli.main import EXIT_INCOMPLETE, main
from hlmat.pipelines.run import local_workers
from hlmat.pipelines.run.local_workers import LocalWorkers
from hlmat.transforms.beam.faults import (
    FAULT_VARIABLE,
    StepError,
    carried_error,
    carried_errors,
)
from hlmat.transforms.core.errors import IncompleteError, OutputError

_SHAPES = ["--dataset", "shapes", "--shapes-images", "2", "--shapes-size", "64x80", "-q"]


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        ("exec sh -c 'exit 3'", "a worker process ended with exit code 3"),
        ("/no/such/python", "a worker process ended with exit code 127"),
        ("kill -9 $$", "a worker process was killed by SIGKILL; if memory ran out, use fewer"),
    ],
)
def test_a_worker_that_ends_at_once_ends_the_run(
    command: str,
    cause: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(LocalWorkers, "command", lambda self: command)
    out = tmp_path / "out"
    code = main(["trajectories", *_SHAPES, "--workers", "2", "--out", str(out)])
    printed = capfd.readouterr().err
    assert code == EXIT_INCOMPLETE
    assert cause in printed
    assert f"finished units are kept in {out}/units: fix the cause and run" in printed
    assert "Traceback" not in printed
    assert not (out / "manifest.json").exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "flags",
    [
        [
            *("--runner", "FnApiRunner"),
            *("--direct_running_mode=multi_processing", "--direct_num_workers=2"),
        ],
        [
            *("--runner", "PortableRunner", "--job_endpoint=embed"),
            *("--environment_type=beam:env:harness_subprocess_python:v1",),
            *("--environment_config=exec /no/such/python",),
        ],
    ],
    ids=["FnApiRunner", "PortableRunner"],
)
def test_a_worker_of_a_named_runner_that_cannot_start_ends_the_run(
    flags: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    # With FnApiRunner, Beam starts this interpreter.
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    out = tmp_path / "out"
    assert main(["trajectories", *_SHAPES, *flags, "--out", str(out)]) == EXIT_INCOMPLETE
    # The shells of the workers print first that there is no such program.
    assert capfd.readouterr().err.splitlines()[-1] == (
        "hlmat: error: a worker process ended with exit code 127; finished units are kept in "
        f"{out}/units: fix the cause and run the same command again"
    )
    assert not (out / "manifest.json").exists()


@pytest.mark.slow
def test_an_import_that_fails_in_a_worker_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    start = local_workers._START.replace("hlmat.pipelines.run.local_worker", "no_such_module")
    monkeypatch.setattr(local_workers, "_START", start)
    code = main(["trajectories", *_SHAPES, "--workers", "2", "--out", str(tmp_path / "out")])
    assert code == EXIT_INCOMPLETE
    assert (
        "a worker process could not start: ModuleNotFoundError: No module named 'no_such_module'"
        in capfd.readouterr().err
    )


def test_an_exception_of_the_job_reaches_the_caller():
    def fail() -> None:
        raise ValueError("from the pipeline")

    with LocalWorkers() as workers, pytest.raises(ValueError, match="from the pipeline"):
        workers.run(fail)


def test_no_process_and_no_file_outlives_the_job():
    with LocalWorkers() as workers:
        words = shlex.split(workers.command())
        folder = Path(words[-2])
        assert words[3:5] == ["exec", sys.executable]
        child = os.posix_spawn(
            sys.executable, [sys.executable, "-c", "import time; time.sleep(600)"], os.environ
        )
        (folder / f"{child}.pid").touch()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert not folder.exists()


def test_other_threads_exceptions_are_reported_as_before(monkeypatch: pytest.MonkeyPatch):
    seen: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args.exc_value))

    def fail() -> None:
        raise KeyError("not a worker's")

    with LocalWorkers() as workers:
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        assert workers.failure() is None
    assert [type(error) for error in seen] == [KeyError]


@pytest.mark.parametrize("name", local_workers._BEAMS_THREADS)
def test_connections_that_break_when_workers_are_ended_are_no_errors(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    seen: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args.exc_value))
    broken, joined = threading.Event(), threading.Event()

    def read() -> None:
        broken.wait()
        raise grpc.RpcError

    class Reader(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            broken.set()
            super().join(timeout)
            joined.set()

    with LocalWorkers():
        thread = Reader(target=read, name=name, daemon=True)
        thread.start()
    assert joined.is_set()
    assert seen == []


def test_a_lost_worker_wins_over_the_broken_connection():
    def break_off() -> None:
        raise ConnectionError("stream removed")

    with LocalWorkers() as workers:
        workers._lost = "a worker process was killed by SIGKILL"
        with pytest.raises(IncompleteError, match="killed by SIGKILL"):
            workers.run(break_off)


def test_an_error_that_a_worker_left_ends_the_wait_for_the_others():
    ended = threading.Event()
    with LocalWorkers() as workers:
        fault = Path(shlex.split(workers.command())[-2]) / "1.fault"

        def leave_it_and_wait() -> None:
            with pytest.MonkeyPatch.context() as patch, suppress(StepError), carried_errors():
                patch.setenv(FAULT_VARIABLE, str(fault))
                raise OutputError("out cannot be written: é")
            ended.wait()

        with pytest.raises(StepError) as raised:
            workers.run(leave_it_and_wait)
        ended.set()
    found = carried_error(raised.value)
    assert isinstance(found, OutputError)
    assert str(found) == "out cannot be written: é"
