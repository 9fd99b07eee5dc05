"""Paths that workers of another runner open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hlmat.pipelines.run.worker_paths import with_worker_paths
from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.settings.evaluation_options import evaluation_config
from hlmat.pipelines.settings.run_options import RunConfig
from hlmat.pipelines.settings.runner_choice import RunnerChoice
from hlmat.transforms.core.errors import ConfigError

PORTABLE = RunnerChoice("PortableRunner", flags=("--job_endpoint=h:1",))


def config_of(*flags: str, runner: RunnerChoice = PORTABLE, out: str = "out") -> RunConfig:
    argv = ["--dataset", "folder", "--data-root", "data", f"--out={out}", *flags]
    run = evaluation_config(parse_command("evaluate", argv)).run
    return replace(run, runner=runner)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a model and recorded answers."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "answers.json").write_text("[]")
    return tmp_path


def test_relative_paths_lead_workers_in_another_folder_to_the_same_files(here: Path):
    flags = ("--segmenter", "sam", "--checkpoint", "w.pth", "--policy", "mllm", "--model")
    found = with_worker_paths(config_of(*flags, "model"))
    policy: object = found.policy
    assert (found.out, found.reader.data_root) == (f"{here}/out", f"{here}/data")
    assert found.segmenter.checkpoint == f"{here}/w.pth"
    assert policy.answerer.model == f"{here}/model"  # pyright: ignore[reportAttributeAccessIssue]
    by_id = with_worker_paths(config_of(*flags, "org/name")).policy
    assert by_id.answerer.model == "org/name"  # pyright: ignore[reportAttributeAccessIssue]


def test_urls_and_the_local_runner_keep_their_paths():
    local = config_of("--policy", "centre", runner=RunnerChoice())
    assert with_worker_paths(local) is local
    url = config_of("--policy", "centre", out="s3://bucket/out")
    assert with_worker_paths(url).out == "s3://bucket/out"


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--policy", "mllm", "--model", "model"), "--model model: "),
        (("--policy", "replay", "--answers", "answers.json"), "--answers answers.json: "),
    ],
)
@pytest.mark.parametrize("name", ["DataflowRunner", "dataflow"])
def test_dataflow_has_no_model_of_this_machine(name: str, flags: tuple[str, ...], named: str):
    config = config_of(*flags, runner=RunnerChoice(name), out="gs://bucket/out")
    config = replace(config, reader=replace(config.reader, data_root="gs://bucket/data"))
    with pytest.raises(ConfigError) as caught:
        with_worker_paths(config)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{named}--runner {name} runs on other machines, which have no such")


def test_dataflow_may_have_the_model_of_its_image(here: Path):
    flags = ("--policy", "mllm", "--model", f"{here}/model")
    config = config_of(*flags, runner=RunnerChoice("DataflowRunner"), out="gs://bucket/out")
    config = replace(config, reader=replace(config.reader, data_root="gs://bucket/data"))
    assert with_worker_paths(config) == config


def test_dataflow_by_any_spelling_sees_no_local_path():
    with pytest.raises(ConfigError, match="--data-root data: --runner dataflow runs on other"):
        with_worker_paths(config_of("--policy", "centre", runner=RunnerChoice("dataflow")))
