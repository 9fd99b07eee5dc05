"""Runners by name, and flags that belong to another one."""

from __future__ import annotations

import pytest

from hlmat.pipelines.settings.runner_choice import (
    RunnerChoice,
    check_runner_flags,
    check_runner_name,
    known_runners,
)


def test_beams_runners_are_known_without_importing_it():
    from apache_beam.options.pipeline_options import StandardOptions

    assert known_runners() == set(StandardOptions.KNOWN_RUNNER_NAMES)


@pytest.mark.parametrize("name", ["local", "FlinkRunner", "flink", "portablerunner", "my.Runner"])
def test_a_runner_is_named_as_beam_takes_it(name: str):
    assert check_runner_name(RunnerChoice(name)) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("FlinkRuner", "did you mean 'FlinkRunner'?"),
        ("dataflowrunr", "did you mean 'DataflowRunner'?"),
        ("locl", "did you mean 'local'?"),
        ("zzz", "no runner has this name; Beam knows local, "),
        ("DaskRunner", "it drops rows silently"),
    ],
)
def test_a_misspelt_runner_is_refused_with_what_it_may_be(name: str, expected: str):
    problem = check_runner_name(RunnerChoice(name))
    assert problem is not None
    assert problem.startswith(f"--runner {name}: ")
    assert expected in problem


@pytest.mark.parametrize(
    ("runner", "flag", "expected"),
    [
        (
            "FlinkRunner",
            "--spark_master_url=x",
            "--spark_master_url is a flag of SparkRunner, not of FlinkRunner; remove it",
        ),
        (
            "DataflowRunner",
            "--job_endpoint=h:1",
            "--job_endpoint is a flag of portable runners, not of DataflowRunner; remove it",
        ),
        ("FlinkRunner", "--flink_mster=x", "unknown flag --flink_mster; did you mean"),
        ("FlinkRunner", "--flink_master=x", None),
        ("FlinkRunner", "--job_endpoint=h:1", None),
        # Its job server may be any.
        ("PortableRunner", "--spark_master_url=x", None),
    ],
)
def test_flags_of_another_runner_are_refused(runner: str, flag: str, expected: str | None):
    problems = check_runner_flags([flag], is_local=False, own_flags=(), runner=runner)
    assert len(problems) == (expected is not None)
    if expected is not None:
        assert problems[0].startswith(expected)
