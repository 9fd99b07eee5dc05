"""Check what another runner needs, from this machine and before anything is written."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from urllib.parse import urlparse

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    SparkRunnerOptions,
)

from hlmat.pipelines.run.runners import pipeline_options
from hlmat.pipelines.settings.runner_choice import RunnerChoice
from hlmat.transforms.core.errors import ConfigError, IncompleteError
from hlmat.transforms.core.suggestions import did_you_mean

EMBEDDED = "embed"
"""The endpoint of Beam's job server inside the process of the command."""

ENVIRONMENTS = ("LOOPBACK", "EXTERNAL", "PROCESS", "DOCKER")
_PORTABLE = ("PortableRunner", "PrismRunner", "FlinkRunner", "SparkRunner")
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1", "[::1]")
_CONNECT_S = 5.0
_DOCKER_S = 20.0


def check_engine(choice: RunnerChoice) -> None:
    """Report now what would otherwise fail, or hang, when the job is submitted.

    Raises:
        ConfigError: the runner's flags are invalid.
        IncompleteError: a job server, a worker pool, a program or a jar is missing.
    """
    if choice.beam_name not in _PORTABLE:
        return
    options = pipeline_options(choice)
    portable = options.view_as(PortableOptions)
    endpoint = portable.job_endpoint
    if choice.beam_name == "PortableRunner" and not endpoint:
        raise ConfigError(
            ["--runner PortableRunner needs --job_endpoint=HOST:PORT, where its job server listens"]
        )
    kind = environment_type(choice, options)
    if not _is_name_of_another(kind) and kind not in ENVIRONMENTS:
        raise ConfigError(
            [
                f"--environment_type {kind}: {did_you_mean(kind, ENVIRONMENTS)}expected one of "
                f"{', '.join(ENVIRONMENTS)}"
            ]
        )
    if not endpoint:
        for missing in _missing_job_server(choice, options):
            raise IncompleteError(missing)
    elif endpoint != EMBEDDED:
        host, port = _address(endpoint, flag="--job_endpoint")
        _connect(
            host,
            port,
            f"no job server answers at {endpoint}",
            "start it, or correct --job_endpoint, and run the same command again",
        )
    is_here = not endpoint or endpoint == EMBEDDED or _is_local(endpoint)
    _check_environment(kind, portable, is_here=is_here)


def environment_type(choice: RunnerChoice, options: PipelineOptions) -> str:
    """Return where a runner's workers run, one of `ENVIRONMENTS`, a URN or a class."""
    given = options.view_as(PortableOptions).environment_type
    if given:
        return given if _is_name_of_another(given) else given.upper()
    masters = {
        "PrismRunner": "[local]",
        "FlinkRunner": options.view_as(FlinkRunnerOptions).flink_master,
        "SparkRunner": options.view_as(SparkRunnerOptions).spark_master_url,
    }
    master = masters.get(choice.beam_name) or ""
    return "LOOPBACK" if master in ("[local]", "[auto]") or master.startswith("local") else "DOCKER"


def _is_name_of_another(environment: str) -> bool:
    """Return whether an environment is a URN or the user's own class."""
    return "." in environment or ":" in environment


def pool_address(portable: PortableOptions) -> str | None:
    """Return the address of the worker pool of environment EXTERNAL, None if none is given."""
    return portable.environment_config or _option(portable, "external_service_address")


def _option(portable: PortableOptions, name: str) -> str | None:
    found = portable.lookup_environment_option(name)
    return found if isinstance(found, str) else None


def _missing_job_server(choice: RunnerChoice, options: PipelineOptions) -> Iterator[str]:
    """Yield what is missing for a job server that Beam starts on this machine."""
    if choice.beam_name == "PrismRunner":
        place = options.view_as(PrismRunnerOptions).prism_location
        if place and not urlparse(place).scheme and not os.path.isfile(place):
            yield (
                f"--prism_location {place}: there is no such file; install Prism by `make prism` "
                "and name .venv/bin/prism"
            )
        return
    java = options.view_as(JobServerOptions).job_server_java_launcher
    if shutil.which(java) is None:
        yield f"{choice.beam_name} needs Java, and {java!r} is not there; install a Java runtime"
    flag, jar = (
        ("--flink_job_server_jar", options.view_as(FlinkRunnerOptions).flink_job_server_jar)
        if choice.beam_name == "FlinkRunner"
        else ("--spark_job_server_jar", options.view_as(SparkRunnerOptions).spark_job_server_jar)
    )
    if jar and not urlparse(jar).scheme and not os.path.isfile(jar):
        yield (
            f"{flag} {jar}: there is no such file; name the jar of Beam's job server for "
            f"{choice.beam_name.removesuffix('Runner')}"
        )


def _check_environment(kind: str, portable: PortableOptions, *, is_here: bool) -> None:
    """Check what workers need if the engine runs on this machine."""
    if kind == "EXTERNAL":
        address = pool_address(portable)
        if not address:
            raise ConfigError(
                ["--environment_type=EXTERNAL needs a worker pool: --environment_config=HOST:PORT"]
            )
        host, port = _address(address, flag="--environment_config")
        if is_here and _is_local(address):
            _connect(
                host,
                port,
                f"no worker pool answers at {address}",
                "start one by `python -m apache_beam.runners.worker.worker_pool_main "
                f"--service_port={port}` and run the same command again",
            )
    if kind == "PROCESS":
        command = _process_command(portable)
        if not command:
            raise ConfigError(
                [
                    "--environment_type=PROCESS needs "
                    '--environment_config=\'{"command": "/path/to/boot"}\''
                ]
            )
        if is_here and shutil.which(command) is None:
            raise IncompleteError(
                f"the workers' command {command} is not there or not executable; correct "
                "--environment_config and run the same command again"
            )
    if kind == "DOCKER" and is_here and (problem := _docker_problem()) is not None:
        raise IncompleteError(
            f"workers would run in Docker, but {problem}; start Docker, or choose another place "
            "for them, such as --environment_type=LOOPBACK"
        )


def _process_command(portable: PortableOptions) -> str | None:
    text = portable.environment_config
    if not text:
        return _option(portable, "process_command")
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ConfigError([f"--environment_config {text}: expected JSON with the key command"])
    return content.get("command")


def _docker_problem() -> str | None:
    if shutil.which("docker") is None:
        return "the command docker is not there"
    try:
        asked = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            timeout=_DOCKER_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "its daemon does not answer"
    return None if asked.returncode == 0 else "its daemon does not run"


def _address(text: str, *, flag: str) -> tuple[str, int]:
    host, colon, port = text.removeprefix("http://").rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError([f"{flag} {text}: expected HOST:PORT, as localhost:8099"])
    return host, int(port)


def _is_local(address: str) -> bool:
    return address.removeprefix("http://").rpartition(":")[0] in _LOCAL_HOSTS


def _connect(host: str, port: int, problem: str, advice: str) -> None:
    try:
        socket.create_connection((host.strip("[]"), port), timeout=_CONNECT_S).close()
    except OSError as error:
        raise IncompleteError(f"{problem} ({error.strerror or error}); {advice}") from error
