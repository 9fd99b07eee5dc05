"""What another runner needs is checked before anything is written."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hlmat.pipelines.run.engine_checks import check_engine
from hlmat.pipelines.settings.runner_choice import RunnerChoice
from hlmat.transforms.core.errors import ConfigError, HlmatError, IncompleteError

HERE = "--job_endpoint=embed"


@pytest.fixture
def closed_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.create_server(("localhost", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def open_port() -> Iterator[int]:
    """A port of this machine on which somebody listens, who never answers."""
    with socket.create_server(("localhost", 0)) as server:
        yield server.getsockname()[1]


def problem_of(name: str, *flags: str) -> HlmatError:
    with pytest.raises(HlmatError) as caught:
        check_engine(RunnerChoice(name, flags=flags))
    return caught.value


def test_a_job_server_that_is_not_there_is_noticed_at_once(closed_port: int):
    error = problem_of("portable", f"--job_endpoint=localhost:{closed_port}")
    assert isinstance(error, IncompleteError)
    assert str(error).startswith(f"no job server answers at localhost:{closed_port} (")
    assert "correct --job_endpoint" in str(error)


@pytest.mark.parametrize("endpoint", ["localhost", "localhost:", ":8099", "localhost:99999", "a:b"])
def test_an_endpoint_is_a_host_and_a_port(endpoint: str):
    error = problem_of("PortableRunner", f"--job_endpoint={endpoint}")
    assert str(error) == f"--job_endpoint {endpoint}: expected HOST:PORT, as localhost:8099"


def test_a_portable_runner_needs_an_endpoint():
    assert "needs --job_endpoint=HOST:PORT" in str(problem_of("PortableRunner"))


def test_a_worker_pool_that_is_not_there_is_noticed_at_once(closed_port: int):
    address = f"localhost:{closed_port}"
    error = problem_of(
        "PortableRunner", HERE, "--environment_type=EXTERNAL", f"--environment_config={address}"
    )
    assert isinstance(error, IncompleteError)
    assert str(error).startswith(f"no worker pool answers at {address} (")
    assert f"worker_pool_main --service_port={closed_port}`" in str(error)


def test_a_pool_on_another_machine_is_the_engines_to_reach(open_port: int):
    check_engine(
        RunnerChoice(
            "PortableRunner",
            flags=(
                f"--job_endpoint=localhost:{open_port}",
                "--environment_type=EXTERNAL",
                "--environment_config=pool.example:50000",
            ),
        )
    )


def test_a_command_of_workers_that_is_not_there_is_named():
    error = problem_of(
        "PortableRunner",
        HERE,
        "--environment_type=PROCESS",
        '--environment_config={"command": "/no/boot"}',
    )
    assert isinstance(error, IncompleteError)
    assert str(error).startswith("the workers' command /no/boot is not there or not executable")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--environment_type=EXTERNAL",), "needs a worker pool"),
        (("--environment_type=PROCESS",), "PROCESS needs --environment_config="),
        (("--environment_type=PROCESS", "--environment_config=x"), "expected JSON"),
        (("--environment_type=LOPBACK",), "did you mean 'LOOPBACK'? expected one of LOOPBACK"),
    ],
)
def test_an_environment_that_cannot_be_is_a_wrong_command_line(
    flags: tuple[str, ...], expected: str
):
    error = problem_of("PortableRunner", HERE, *flags)
    assert isinstance(error, ConfigError)
    assert expected in str(error)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (None, "workers would run in Docker, but the command docker is not there"),
        ("#!/bin/sh\nexit 1\n", "workers would run in Docker, but its daemon does not run"),
    ],
)
def test_without_docker_workers_cannot_run_in_it(
    script: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    if script is not None:
        (tmp_path / "docker").write_text(script, encoding="utf-8")
        (tmp_path / "docker").chmod(0o755)
    error = problem_of("PortableRunner", HERE)
    assert isinstance(error, IncompleteError)
    assert str(error).startswith(expected)


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("FlinkRunner", "--flink_job_server_jar"),
        ("SparkRunner", "--spark_job_server_jar"),
        ("PrismRunner", "--prism_location"),
    ],
)
def test_a_job_server_to_start_must_be_there(
    name: str, flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "java").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    error = problem_of(name, f"{flag}=/no/such/file")
    assert isinstance(error, IncompleteError)
    assert str(error).startswith(f"{flag} /no/such/file: there is no such file")


@pytest.mark.parametrize("name", ["FlinkRunner", "SparkRunner"])
def test_flink_and_spark_need_java(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    expected = f"{name} needs Java, and 'java' is not there; install a Java runtime"
    assert str(problem_of(name)) == expected


def test_the_local_runner_needs_none_of_it():
    check_engine(RunnerChoice(flags=("--environment_type=LOPBACK",)))
