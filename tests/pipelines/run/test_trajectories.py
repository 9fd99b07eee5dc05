"""The job's parts that need no run: its graph on Dataflow, its plan, and a bucket as its disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.render import PipelineRenderer, RenderOptions

import builders
from hlmat.pipelines.run.folder import RunFolder
from hlmat.pipelines.run.planning import Plan, write_plan
from hlmat.pipelines.run.runners import build_runner, pipeline_options
from hlmat.pipelines.run.trajectories import (
    Job,
    build_pipeline,
    make_trajectories,
    rollout_settings,
)
from hlmat.pipelines.settings.run_options import RunConfig
from hlmat.pipelines.settings.runner_choice import RunnerChoice
from hlmat.transforms.beam.shards import ShardPlan
from hlmat.transforms.beam.simulate import ClickWorker
from hlmat.transforms.core.errors import ConfigError, DataError, IncompleteError
from hlmat.transforms.core.storage import LocalStorage, MemoryStorage
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.dataset_io.layout import OutputLayout
from hlmat.transforms.policies.registry import PolicyOptions
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.shapes.reader import ShapesOptions
from hlmat.transforms.rollout.loop import Limits
from hlmat.transforms.segmenters.registry import SegmenterOptions
from scene_reader import SceneReader

ACCELERATOR = "type:nvidia-l4;count:1;install-nvidia-driver"
DATAFLOW = RunnerChoice(
    "DataflowRunner",
    flags=(
        "--project=p-1",
        "--region=us-central1",
        "--temp_location=gs://bucket/temp",
        "--staging_location=gs://bucket/staging",
        "--job_name=clicks",
        "--sdk_container_image=registry.example/clicks:1",
        "--sdk_location=container",
        "--dry_run=True",
        "--experiments=no_use_multiple_sdk_containers",
    ),
)


def config_for(out: str, **changes: Any) -> RunConfig:
    config = RunConfig(
        dataset="shapes",
        reader=ReaderOptions(shapes=ShapesOptions(count=4, height=64, width=80)),
        segmenter=SegmenterOptions("hlmat.transforms.segmenters.disc:DiscSegmenter"),
        policy=PolicyOptions("oracle", seed=0),
        limits=Limits(),
        out=out,
        unit_size=4,
    )
    return replace(config, **changes)


def dataflow_job(accelerator: str | None) -> Any:
    """Build the job graph that Dataflow would get, offline; return its pipeline."""
    config = config_for("gs://bucket/out", runner=DATAFLOW, accelerator=accelerator)
    settings = rollout_settings(
        config,
        reader=SceneReader(),
        provenance=builders.provenance("disc"),
    )
    options = pipeline_options(DATAFLOW)
    pipeline = beam.Pipeline(
        runner=build_runner(DATAFLOW, options, worker_command=""), options=options
    )
    plan = Plan(("gs://bucket/out/plan/units-00000.jsonl",), {"a": 1, "b": 1}, "")
    build_pipeline(pipeline, Job(config, plan, ShardPlan(2, 1), settings))
    result: Any = pipeline.run()
    return result.job.proto_pipeline


def accelerators(job: Any) -> dict[str, str | None]:
    """The accelerator hint of each leaf step, by its name."""
    hints = {}
    for transform in job.components.transforms.values():
        if transform.environment_id and not transform.subtransforms:
            environment = job.components.environments[transform.environment_id]
            hint = environment.resource_hints.get("beam:resources:accelerator:v1")
            hints[transform.unique_name] = None if hint is None else hint.decode()
    return hints


@pytest.mark.filterwarnings("ignore")
def test_on_dataflow_the_click_step_and_its_checkpoint_alone_get_the_accelerator():
    hints = accelerators(dataflow_job(ACCELERATOR))
    on_gpu = [name for name, hint in hints.items() if hint == ACCELERATOR]
    assert any("RunInference" in name for name in on_gpu)
    assert any("Write unit files" in name for name in on_gpu)
    assert all(name.startswith("Simulate/") for name in on_gpu)
    elsewhere = [name for name, hint in hints.items() if hint is None]
    assert any("Read the plan" in name for name in elsewhere)
    assert any("Write shards" in name for name in elsewhere)
    assert not any(name.startswith("Simulate/") for name in elsewhere)


@pytest.mark.filterwarnings("ignore")
def test_without_the_flag_no_step_carries_a_hint():
    assert set(accelerators(dataflow_job(None)).values()) == {None}


@pytest.mark.filterwarnings("ignore")
def test_the_dataflow_job_takes_all_from_its_container_and_nothing_from_this_machine():
    job = dataflow_job(ACCELERATOR)
    used = {
        transform.environment_id
        for transform in job.components.transforms.values()
        if transform.environment_id and not transform.subtransforms
    }
    environments = [job.components.environments[name] for name in used]
    assert len(environments) >= 2
    for environment in environments:
        assert environment.urn == "beam:env:docker:v1"
        payload = beam_runner_api_pb2.DockerPayload.FromString(environment.payload)
        assert payload.container_image == "registry.example/clicks:1"
        # A list of what is installed here, which Beam logs; no file that a step needs.
        (listed,) = environment.dependencies
        assert b"submission_environment_dependencies.txt" in listed.role_payload


@pytest.mark.filterwarnings("ignore")
def test_the_dataflow_job_can_be_drawn():
    dot = PipelineRenderer(dataflow_job(ACCELERATOR), RenderOptions()).to_dot()
    assert dot.startswith("digraph")
    for step in ("List plan files", "Check the worker", "Read work units", "Simulate"):
        assert f'label="{step}' in dot


def test_dataflow_cannot_see_this_disk():
    config = config_for("out", runner=DATAFLOW)
    config = replace(config, reader=replace(config.reader, data_root="data"))
    with pytest.raises(ConfigError) as caught:
        make_trajectories(config, quiet=True)
    assert len(caught.value.problems) == 2
    assert "--data-root data: --runner DataflowRunner runs on other machines" in str(caught.value)


def test_a_run_on_a_bucket_gives_the_bytes_of_a_run_on_the_disk(bucket: str, tmp_path: Path):
    local = str(tmp_path / "out")
    for out in (bucket, local):
        make_trajectories(config_for(out), quiet=True)
    storage = storage_for(bucket)
    assert storage.list_dir(bucket) == [
        "DATA_CARD.md",
        "manifest.json",
        "rejects/",
        "trajectories/",
    ]
    for name in ("DATA_CARD.md", "manifest.json", OutputLayout.trajectory_name(0, 1)):
        assert storage.read_bytes(f"{bucket}/{name}") == storage.read_bytes(f"{local}/{name}")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "other",
    [
        RunnerChoice("FnApiRunner"),
        RunnerChoice(
            "PortableRunner", flags=("--job_endpoint=embed", "--environment_type=LOOPBACK")
        ),
    ],
    ids=["FnApiRunner", "PortableRunner"],
)
def test_another_runner_by_name_gives_the_same_bytes(other: RunnerChoice, tmp_path: Path):
    for name, runner in (("a", RunnerChoice()), ("b", other)):
        make_trajectories(config_for(str(tmp_path / name), runner=runner), quiet=True)
    for name in ("manifest.json", OutputLayout.trajectory_name(0, 1)):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_run_with_dead_units_ends_incomplete_and_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    simulate = ClickWorker.simulate

    def die_once(self: ClickWorker, unit: Any) -> Any:
        if unit.index == 1:
            raise ZeroDivisionError("a bug")
        return simulate(self, unit)

    config = config_for(str(tmp_path / "out"))
    with monkeypatch.context() as patch:
        patch.setattr(ClickWorker, "simulate", die_once)
        with pytest.raises(IncompleteError) as caught:
            make_trajectories(config, quiet=True)
    message = str(caught.value)
    assert message.startswith("1 of ")
    assert "a bug" in message
    assert "run the same command again" in message
    report = make_trajectories(config, quiet=True)
    assert 0 < report.targets_done < 8
    assert (tmp_path / "out" / "manifest.json").exists()


def test_a_data_set_that_the_disk_refuses_is_no_fault_of_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(self: LocalStorage, path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    reader = ReaderOptions(data_root=str(tmp_path))
    config = config_for(str(tmp_path / "out"), dataset="ecssd", reader=reader)
    monkeypatch.setattr(LocalStorage, "list_dir", refuse)
    with pytest.raises(DataError, match=r"ecssd in .* cannot be read: .*Permission denied"):
        make_trajectories(config, quiet=True)


def test_a_plan_is_the_same_each_time_and_an_empty_one_is_reported():
    config = config_for("out")
    folder = RunFolder(OutputLayout("out"), MemoryStorage())
    reader = SceneReader(images=300)
    plans = [write_plan(reader, config, fingerprint="f", folder=folder) for _ in range(2)]
    assert plans[0] == plans[1]
    assert plans[0].num_targets == 900
    assert len(plans[0].files) == 3
    with pytest.raises(DataError, match=r"shapes has no target to work on \(0 scenes\)"):
        write_plan(SceneReader(images=0), config, fingerprint="f", folder=folder)
