"""Workers forked from a process that has imported what they need."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hlmat.pipelines.run import local_workers
from hlmat.pipelines.run.local_workers import LocalWorkers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")

_WORK = """\
import time
    def main(job):
        print(os.getpid(), os.getppid() == job, os.environ.get("OF_THE_REQUEST"), flush=True)
        exec(os.environ["WORK"])"""


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalWorkers]:
    """Workers that execute `WORK` of their environment instead of Beam's harness."""
    start = local_workers._START.replace("from hlmat.pipelines.run.local_worker import main", _WORK)
    monkeypatch.setattr(local_workers, "_START", start)
    monkeypatch.setattr(local_workers, "_POLL_S", 0.01)
    with LocalWorkers() as started:
        yield started


def request(workers: LocalWorkers, work: str, **environment: str) -> subprocess.Popen[bytes]:
    # Here and not in the fixture: output is captured again when a test begins.
    workers.start()
    return subprocess.Popen(
        workers.command(),
        shell=True,
        env={**os.environ, "WORK": work, **environment},
    )


def _patiently() -> Iterator[None]:
    """Yield every 10 ms for a minute, in which a machine does what does not take a second."""
    for _ in range(6000):
        yield
        time.sleep(0.01)


@pytest.mark.slow
def test_a_request_ends_as_its_worker_does(workers: LocalWorkers) -> None:
    ends = {"pass": 0, "sys.exit(3)": 3, "os._exit(4)": 4, "os.kill(os.getpid(), 9)": -9}
    asked = {work: request(workers, work) for work in ends}
    assert {work: one.wait() for work, one in asked.items()} == ends


@pytest.mark.slow
def test_each_worker_is_a_process_with_the_environment_of_its_request(
    workers: LocalWorkers, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = [request(workers, "pass", OF_THE_REQUEST=text) for text in ("one", "two\nlines", "ü")]
    assert [one.wait() for one in asked] == [0, 0, 0]
    printed = capfd.readouterr().out
    assert "True one\n" in printed
    assert "True two\nlines\n" in printed
    assert "True ü\n" in printed
    assert len({line.split()[0] for line in printed.splitlines() if " True " in line}) == 3


@pytest.mark.slow
def test_a_worker_that_nobody_waits_for_ends(
    workers: LocalWorkers, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = request(workers, "time.sleep(600)")
    printed = ""
    for _ in _patiently():
        if printed := capfd.readouterr().out:
            break
    asked.kill()
    asked.wait()
    process = f"/proc/{printed.split()[0]}"
    assert any(not os.path.exists(process) for _ in _patiently())


def test_the_end_of_the_template_is_the_end_of_the_workers(workers: LocalWorkers) -> None:
    assert workers.failure() is None
    asked = request(workers, "time.sleep(600)")
    assert workers._template is not None
    workers._template.kill()
    assert asked.wait() == 1
    failure = next(found for _ in _patiently() if (found := workers.failure()) is not None)
    assert failure.startswith("a worker process was killed by SIGKILL; if memory ran out")


@pytest.mark.slow
def test_an_error_of_the_worker_itself_is_reported(workers: LocalWorkers) -> None:
    assert request(workers, "raise ValueError('of the worker')").wait() == 1
    assert workers.failure() == "a worker process could not start: ValueError: of the worker"


@pytest.mark.slow
def test_workers_draw_from_generators_of_their_own(
    workers: LocalWorkers, capfd: pytest.CaptureFixture[str]
) -> None:
    work = "import numpy as np; print('drawn', np.random.random(), flush=True)"
    asked = [request(workers, work) for _ in range(3)]
    assert [one.wait() for one in asked] == [0, 0, 0]
    drawn = [line for line in capfd.readouterr().out.splitlines() if line.startswith("drawn")]
    assert len(set(drawn)) == 3


@pytest.mark.slow
def test_half_a_request_does_not_hold_up_the_next_one(workers: LocalWorkers) -> None:
    workers.start()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(workers._folder / local_workers._SOCKET))
        silent.sendall(b'{"half": ')
        assert request(workers, "pass").wait(timeout=60) == 0
        # The rest may come later, in pieces.
        for piece in (b'"of it", "WORK": ', json.dumps("os._exit(7)").encode(), b"}\n"):
            silent.sendall(piece)
        assert silent.makefile().readline() == "7\n"
    assert workers.failure() is None


@pytest.mark.slow
@pytest.mark.parametrize("text", [b"[1]\n", b"{\n", b"\xff\xfe\n", b"null\n"])
def test_what_is_no_request_is_passed_over(workers: LocalWorkers, text: bytes) -> None:
    workers.start()
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(workers._folder / local_workers._SOCKET))
        other.sendall(text)
        assert other.recv(1) == b""
    assert request(workers, "pass").wait() == 0
    assert workers.failure() is None


@pytest.mark.slow
def test_ctrl_c_reaches_neither_the_template_nor_its_workers(
    workers: LocalWorkers, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = request(workers, "time.sleep(0.5)")
    printed = next(out for _ in _patiently() if (out := capfd.readouterr().out))
    assert workers._template is not None
    for process in (workers._template.pid, int(printed.split()[0]), asked.pid):
        os.kill(process, signal.SIGINT)
    assert asked.wait() == 0
    assert workers.failure() is None


@pytest.mark.slow
def test_two_jobs_at_once_have_workers_of_their_own(
    workers: LocalWorkers, capfd: pytest.CaptureFixture[str]
) -> None:
    with LocalWorkers() as others:
        asked = [request(each, "time.sleep(0.2)") for each in (workers, others)]
        assert others._folder != workers._folder
        assert [one.wait() for one in asked] == [0, 0]
    lines = [line for line in capfd.readouterr().out.splitlines() if " True " in line]
    assert len({line.split()[0] for line in lines}) == 2
    # The end of one job leaves the other's workers alone.
    assert request(workers, "pass").wait() == 0


_JOB = """\
import os, subprocess, sys, time
from hlmat.pipelines.run import local_workers
local_workers._START = sys.stdin.read()
with local_workers.LocalWorkers() as workers:
    workers.start()
    os.environ["WORK"] = (
        "import threading; from hlmat.pipelines.run.local_worker import _end_with_the_job as end; "
        "threading.Thread(target=end, args=(job,), daemon=True).start(); time.sleep(600)"
    )
    asked = [subprocess.Popen(workers.command(), shell=True) for _ in range(2)]
    print("job", workers._template.pid, *(one.pid for one in asked), workers._folder, flush=True)
    time.sleep(600)
"""


def test_nothing_outlives_a_killed_job(workers: LocalWorkers) -> None:
    job = subprocess.Popen(
        [sys.executable, "-c", _JOB],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert job.stdin is not None
    assert job.stdout is not None
    # With the stand-in for Beam's harness, as in this process.
    job.stdin.write(local_workers._START)
    job.stdin.close()
    processes: list[int] = []
    folder = Path()
    while len(processes) < 5:
        words = job.stdout.readline().split()
        if words[0] == "job":
            processes += map(int, words[1:-1])
            folder = Path(words[-1])
        else:
            processes.append(int(words[0]))
    job.stdout.close()
    assert all(os.path.exists(f"/proc/{process}") for process in processes)
    job.kill()
    job.wait()
    assert any(
        not any(os.path.exists(f"/proc/{process}") for process in processes) for _ in _patiently()
    )
    # What it left on the disk goes when the next job begins, which may be one of another test.
    with LocalWorkers():
        assert not folder.exists()
