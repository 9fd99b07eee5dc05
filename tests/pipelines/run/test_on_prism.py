"""Runs on Prism, an engine of another code base: the same bytes, and kills in the middle."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from repository import REPOSITORY

pytestmark = pytest.mark.engine

_SHAPES = (
    *("trajectories", "--dataset", "shapes", "--shapes-size", "64x80", "--unit-size", "4", "-q"),
    *("--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter"),
)
_FEW, _MANY = ("--shapes-images", "6"), ("--shapes-images", "150")
_BIN = str(Path(sys.executable).parent)
_WAIT_S = 120.0


def environment(path: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), "PATH": path}


ENVIRONMENT = environment(f"{_BIN}{os.pathsep}{os.environ.get('PATH', '')}")


def start(*flags: str, of: tuple[str, ...] = _SHAPES) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "hlmat", *of, *flags],
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def run(*flags: str, of: tuple[str, ...] = _SHAPES) -> tuple[int, str]:
    """Run a command; return its exit code and what it said."""
    process = start(*flags, of=of)
    _, said = process.communicate(timeout=_WAIT_S)
    return process.returncode, said


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
    """Run a server until the body ends."""
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env
    )
    try:
        wait_for(lambda: listens(port))
        yield server
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="session")
def prism() -> str:
    """The program."""
    beside = os.path.join(_BIN, "prism")
    found = beside if os.path.isfile(beside) else shutil.which("prism")
    if found is None:
        pytest.skip("Prism is not here: `make prism` installs it, with Go")
    return found


@pytest.fixture
def engine(prism: str) -> Iterator[tuple[tuple[str, ...], subprocess.Popen[bytes]]]:
    """The flags of Prism's job server, and its process."""
    port = free_port()
    command = (prism, f"-job_port={port}", "-serve_http=false")
    with serving(port, *command, env=ENVIRONMENT) as server:
        yield ("--runner", "PortableRunner", f"--job_endpoint=localhost:{port}"), server


@contextmanager
def pool(path: str = ENVIRONMENT["PATH"]) -> Iterator[tuple[tuple[str, ...], int]]:
    """The flags of a worker pool, and its process id."""
    port = free_port()
    module = ("-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}")
    with serving(port, sys.executable, *module, env=environment(path)) as server:
        yield (
            ("--environment_type=EXTERNAL", f"--environment_config=localhost:{port}"),
            server.pid,
        )


@pytest.mark.slow
def test_prism_gives_the_bytes_of_the_local_runner(
    prism: str, engine: tuple[tuple[str, ...], object], tmp_path: Path
):
    portable, _ = engine
    with pool() as (external, _):
        runners = {
            "local": (),
            "loopback": (*portable, "--environment_type=LOOPBACK"),
            "external": (*portable, *external),
            "prism": ("--runner", "PrismRunner", f"--prism_location={prism}"),
        }
        for name, flags in runners.items():
            assert run(*_FEW, *flags, "--out", str(tmp_path / name)) == (0, "")
    local = files_in(tmp_path / "local")
    assert "trajectories/trajectories-00000-of-00001.parquet" in local
    for name in runners:
        assert files_in(tmp_path / name) == local


@pytest.mark.slow
def test_an_export_on_prism_has_the_bytes_of_the_local_one(
    prism: str, engine: tuple[tuple[str, ...], object], tmp_path: Path
):
    portable, _ = engine
    made = tmp_path / "run"
    assert run(*_FEW, "--out", str(made)) == (0, "")
    of = ("export", "--from", str(made), "--format", "llama-factory", "--unit-size", "4", "-q")
    runners = {
        "local": (),
        "loopback": (*portable, "--environment_type=LOOPBACK"),
        "prism": ("--runner", "PrismRunner", f"--prism_location={prism}"),
    }
    for name, flags in runners.items():
        assert run(*flags, "--out", str(tmp_path / name), of=of) == (0, "")
    local = files_in(tmp_path / "local")
    assert "dataset_info.json" in local
    for name in runners:
        assert files_in(tmp_path / name) == local


def test_a_pool_whose_path_lacks_its_environment_ends_the_wait(
    engine: tuple[tuple[str, ...], object], tmp_path: Path
):
    with pool("/nowhere") as (external, _):
        flags = (*engine[0], *external, "--worker-timeout", "3")
        code, said = run(*_FEW, *flags, "--out", str(tmp_path / "out"))
    address = external[1].partition("=")[2]
    assert code == 5
    # Sometimes Prism ends by itself before the time is up.
    assert re.match(
        r"hlmat: error: (no worker of PortableRunner began within 3 s|the connection to "
        r"PortableRunner at localhost:\d+ broke: it was stopped or killed before a worker began); "
        rf"check that the pool at {address} has the bin folder of its environment",
        said,
    ), said
    assert said.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "engine"])
def test_a_kill_is_one_sentence_and_another_runner_finishes(
    victim: str, engine: tuple[tuple[str, ...], subprocess.Popen[bytes]], tmp_path: Path
):
    out = tmp_path / "killed"
    flags, server = engine
    with pool() as (external, pool_id):
        process = start(*_MANY, *flags, *external, "--out", str(out))
        wait_for(lambda: any((out / "units").glob("*.parquet")))
        if victim == "engine":
            server.kill()
        else:
            for task in Path(f"/proc/{pool_id}/task").glob("*/children"):
                for worker in task.read_text(encoding="ascii").split():
                    os.kill(int(worker), signal.SIGKILL)
        _, said = process.communicate(timeout=_WAIT_S)
    assert process.returncode == 5
    assert said.startswith(
        "hlmat: error: a worker of PortableRunner was lost"
        if victim == "worker"
        else "hlmat: error: the connection to PortableRunner at localhost"
    )
    assert f"finished units are kept in {out}/units" in said
    assert said.count("\n") == 1
    assert not (out / "manifest.json").exists()
    assert run(*_MANY, "--out", str(out)) == (0, "")
    assert run(*_MANY, "--out", str(tmp_path / "whole")) == (0, "")
    assert files_in(out) == files_in(tmp_path / "whole")
