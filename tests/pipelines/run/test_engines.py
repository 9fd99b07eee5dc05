"""Failures of another runner, as sentences; those of its parts that can be had run for real."""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import apache_beam as beam
import grpc
import pytest

from hlmat.pipelines.run.engines import engine_fault, engine_log, log_file, run_on_engine
from hlmat.pipelines.run.runners import pipeline_options
from hlmat.pipelines.settings.runner_choice import RunnerChoice
from hlmat.transforms.beam.faults import carried_error
from hlmat.transforms.beam.worker_check import CheckWorker, WorkerNote, installed_versions
from hlmat.transforms.core.errors import ConfigError, IncompleteError
from hlmat.transforms.core.storage import MemoryStorage

PORTABLE = RunnerChoice("PortableRunner", flags=("--job_endpoint=localhost:8099",))


class Connection(grpc.RpcError):
    """A broken connection, as grpc raises it."""


@pytest.mark.parametrize(
    ("choice", "error", "expected"),
    [
        (PORTABLE, Connection("Socket closed"), "the connection to PortableRunner at localhost"),
        (
            PORTABLE,
            grpc.FutureTimeoutError(),
            "something listens at localhost:8099, but no job server",
        ),
        (
            PORTABLE,
            RuntimeError("Traceback\nModuleNotFoundError: No module named 'hlmat.transforms'"),
            "a worker of PortableRunner has no package 'hlmat'; install this project",
        ),
        (
            PORTABLE,
            RuntimeError("TypeError: code() argument 13 must be str, not int"),
            "a worker of PortableRunner cannot read the job's steps: it runs another Python",
        ),
        (
            PORTABLE,
            RuntimeError("SDK disconnected: worker 3"),
            "a worker of PortableRunner was lost: it was killed, or its memory ran out",
        ),
        (
            PORTABLE,
            RuntimeError("prism worker[a] didn't get control connection to b after 1m0s"),
            "no worker of PortableRunner connected within the minute that Prism waits; check that",
        ),
        (
            PORTABLE,
            RuntimeError("one\n\nthe quota is used up\n"),
            "PortableRunner failed: the quota is used up",
        ),
        (
            RunnerChoice("DataflowRunner"),
            ImportError("Google Cloud Dataflow runner not available"),
            "--runner DataflowRunner needs the extra gcp",
        ),
        (
            RunnerChoice("SparkRunner"),
            RuntimeError("Unable to fetch remote job server jar at https://e/x-3.jar: 404"),
            "the job server of SparkRunner, x-3.jar, is not here and cannot be downloaded",
        ),
        (
            RunnerChoice("PrismRunner"),
            RuntimeError("Unable to fetch remote prism binary at https://e"),
            "Prism is not here and cannot be downloaded; install it by `make prism`",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_fault_of_the_engine_is_one_sentence(
    choice: RunnerChoice, error: BaseException, expected: str
):
    sentence = engine_fault(error, choice)
    assert sentence is not None
    assert sentence.startswith(expected)
    assert "\n" not in sentence


def test_a_bug_of_a_step_stays_one():
    trace = 'Traceback (most recent call last):\n  File "/x/hlmat/transforms/a.py"\nKeyError: 3'
    assert engine_fault(RuntimeError(trace), PORTABLE) is None


def test_a_worker_of_other_versions_is_named():
    note = WorkerNote("note", MemoryStorage(), {**installed_versions(), "Python": "3.99"})
    with pytest.raises(Exception, match="hlmat fault") as caught:
        list(CheckWorker(note).process("a"))
    fault = carried_error(caught.value)
    assert isinstance(fault, ConfigError)
    assert " instead of 3.99; install there what the machine that starts the job has" in str(fault)
    assert not note.storage.is_file("note")


def test_a_worker_that_fits_leaves_a_note_and_passes_elements_on():
    note = WorkerNote("note", MemoryStorage(), installed_versions())
    assert list(CheckWorker(note).process("a")) == ["a"]
    assert json.loads(note.storage.read_bytes("note")) == installed_versions()


class Job:
    """A job that ends when it is cancelled."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def run(self) -> Job:
        return self

    def wait_until_finish(self) -> None:
        self.cancelled.wait(60)

    def cancel(self) -> None:
        self.cancelled.set()


def test_what_listens_without_being_a_job_server_is_told(tmp_path: Path):
    with socket.create_server(("localhost", 0)) as silent:
        endpoint = f"localhost:{silent.getsockname()[1]}"
        flags = (f"--job_endpoint={endpoint}", "--job_server_timeout=1")
        with pytest.raises(IncompleteError) as caught:
            run_on_engine(
                Job(),  # pyright: ignore[reportArgumentType]
                RunnerChoice("PortableRunner", flags=flags),
                log=str(tmp_path / "log"),
                has_begun=lambda: False,
            )
    assert str(caught.value).startswith(
        f"something listens at {endpoint}, but no job server of Beam answers; start it or correct "
        "--job_endpoint (log: "
    )


class StartingRunner:
    """A runner that starts a job server of its own."""

    def __init__(self) -> None:
        self.stopped = 0

    def default_job_server(self, options: object) -> StartingRunner:
        return self

    def stop(self) -> None:
        self.stopped += 1


class JobOfItsOwnServer:
    """A job that fails on the server that its runner started."""

    def __init__(self) -> None:
        self.runner = StartingRunner()

    def run(self) -> None:
        self.runner.default_job_server(None)
        raise RuntimeError("the quota is used up")


def test_a_job_server_that_was_started_ends_with_a_failed_job(tmp_path: Path):
    job: Any = JobOfItsOwnServer()
    with pytest.raises(IncompleteError, match="PrismRunner failed: the quota is used up"):
        run_on_engine(
            job, RunnerChoice("PrismRunner"), log=str(tmp_path / "log"), has_begun=lambda: True
        )
    assert job.runner.stopped == 1


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            ("--environment_type=EXTERNAL", "--environment_config=localhost:50011"),
            "check that the pool at localhost:50011 has the bin folder of its environment first",
        ),
        (("--environment_type=PROCESS",), "check that the command of --environment_config"),
        (("--environment_type=LOOPBACK",), "the engine must run on this machine"),
        ((), "check that the image is there"),
    ],
)
def test_workers_that_never_appear_end_the_wait(
    flags: tuple[str, ...], expected: str, tmp_path: Path
):
    choice = RunnerChoice("PortableRunner", flags=flags, worker_timeout_s=1)
    job: Any = Job()
    with pytest.raises(IncompleteError) as caught:
        run_on_engine(job, choice, log=str(tmp_path / "log"), has_begun=lambda: False)
    assert str(caught.value).startswith("no worker of PortableRunner began within 1 s; ")
    assert expected in str(caught.value)
    assert job.cancelled.is_set()


def test_what_libraries_say_goes_to_the_log_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(logging.getLogger(), "level", logging.CRITICAL)
    path = tmp_path / "out" / "engine.log"
    with engine_log(str(path)) as note:
        logging.getLogger("apache_beam.runners").info("a worker says")
        sys.stderr.write("a harness prints\n")
        thread = threading.Thread(target=lambda: 1 // 0)
        thread.start()
        thread.join()
        note(ValueError("the end"))
    assert capsys.readouterr().err == ""
    text = path.read_text(encoding="utf-8")
    for expected in ("a worker says", "a harness prints", "ZeroDivisionError", "the end"):
        assert expected in text


@pytest.mark.filterwarnings("ignore")
def test_a_step_that_fails_on_the_embedded_job_server_leaves_its_log(tmp_path: Path):
    choice = RunnerChoice(
        "PortableRunner", flags=("--job_endpoint=embed", "--environment_type=LOOPBACK")
    )
    pipeline = beam.Pipeline(options=pipeline_options(choice))
    _ = pipeline | beam.Create([0]) | beam.Map(lambda zero: 1 // zero)
    log = tmp_path / "engine.log"
    with pytest.raises(IncompleteError, match=r"\(log: .*engine\.log\)") as caught:
        run_on_engine(pipeline, choice, log=str(log), has_begun=lambda: True)
    assert "\n" not in str(caught.value)
    assert "ZeroDivisionError" in log.read_text(encoding="utf-8")


def test_the_log_of_a_run_on_a_url_is_on_this_machine(tmp_path: Path):
    assert log_file(str(tmp_path)) == str(tmp_path / "engine.log")
    assert "://" not in log_file("gs://bucket/out")
