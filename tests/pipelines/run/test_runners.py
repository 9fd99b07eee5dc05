"""The options of Beam that a command line stands for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PortableOptions,
    PrismRunnerOptions,
    SparkRunnerOptions,
    StandardOptions,
)

from hlmat.pipelines.run.engine_checks import environment_type
from hlmat.pipelines.run.runners import JOB_SERVER_TIMEOUT_S, job_server_timeout, pipeline_options
from hlmat.pipelines.settings.commands import groups_of
from hlmat.pipelines.settings.flags import add_flags
from hlmat.pipelines.settings.run_options import trajectories_config
from hlmat.pipelines.settings.runner_choice import RunnerChoice
from hlmat.pipelines.settings.validation import ArgumentParser


def choice_of(*flags: str) -> RunnerChoice:
    """The runner of a command line."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    add_flags(parser, groups_of("trajectories"))
    arguments, rest = parser.parse_known_args(["--dataset", "shapes", "--out", "out", *flags])
    return trajectories_config(arguments, rest=rest).runner


def test_a_command_line_for_flink_builds_its_options():
    choice = choice_of(
        *("--runner", "flink", "--flink_master=flink.example:8081", "--flink_version=2.0"),
        *("--parallelism=8", "--flink_job_server_jar=server.jar", "--worker-timeout", "600"),
        *("--environment_type=DOCKER", "--environment_config=image:1"),
    )
    options = pipeline_options(choice)
    flink, portable = options.view_as(FlinkRunnerOptions), options.view_as(PortableOptions)
    assert (choice.beam_name, choice.worker_timeout_s) == ("FlinkRunner", 600)
    assert (flink.flink_master, flink.flink_version) == ("flink.example:8081", "2.0")
    assert (flink.parallelism, flink.flink_job_server_jar) == (8, "server.jar")
    assert (portable.environment_type, portable.environment_config) == ("DOCKER", "image:1")
    assert environment_type(choice, options) == "DOCKER"


def test_a_command_line_for_spark_builds_its_options():
    choice = choice_of(
        *("--runner", "SparkRunner", "--spark_master_url=spark://spark.example:7077"),
        *("--spark_job_server_jar=server.jar", "--environment_type=DOCKER"),
    )
    options = pipeline_options(choice)
    spark = options.view_as(SparkRunnerOptions)
    assert options.view_as(StandardOptions).runner == "SparkRunner"
    assert spark.spark_master_url == "spark://spark.example:7077"
    assert spark.spark_job_server_jar == "server.jar"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--runner", "FlinkRunner"), "LOOPBACK"),
        (("--runner", "FlinkRunner", "--flink_master=h:8081"), "DOCKER"),
        (("--runner", "SparkRunner", "--spark_master_url=local[4]"), "LOOPBACK"),
        (("--runner", "PrismRunner"), "LOOPBACK"),
        (("--runner", "PortableRunner", "--job_endpoint=h:1"), "DOCKER"),
        (("--runner", "FlinkRunner", "--environment_type=external"), "EXTERNAL"),
    ],
)
def test_where_workers_run_is_known_beforehand(flags: tuple[str, ...], expected: str):
    choice = choice_of(*flags)
    assert environment_type(choice, pipeline_options(choice)) == expected


@pytest.mark.parametrize(
    ("flags", "expected"), [((), JOB_SERVER_TIMEOUT_S), (("--job_server_timeout=7",), 7)]
)
def test_a_job_server_answers_in_a_minute_and_a_job_may_take_years(
    flags: tuple[str, ...], expected: int
):
    choice = RunnerChoice("PortableRunner", flags=flags)
    assert job_server_timeout(choice) == expected
    assert pipeline_options(choice).view_as(PortableOptions).job_server_timeout > 9 * 365 * 86400


def test_prism_is_found_where_make_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    (tmp_path / "prism").write_bytes(b"")
    options = pipeline_options(RunnerChoice("prism"))
    assert options.view_as(PrismRunnerOptions).prism_location == str(tmp_path / "prism")
    given = pipeline_options(RunnerChoice("prism", flags=("--prism_location=/p",)))
    assert given.view_as(PrismRunnerOptions).prism_location == "/p"
