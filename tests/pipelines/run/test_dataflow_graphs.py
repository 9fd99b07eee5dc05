"""The graph that Dataflow gets for each command: its container, and nothing of this machine."""

from __future__ import annotations

import base64
import bz2
import os
from pathlib import Path
from typing import Any

import apache_beam as beam
import fsspec
import pytest
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.render import PipelineRenderer, RenderOptions

import annotated_data
from hlmat.pipelines.cli.main import EXIT_INCOMPLETE, EXIT_OK, main
from hlmat.pipelines.run import launching
from hlmat.transforms.core.errors import IncompleteError

HINT = "type:nvidia-l4;count:1;install-nvidia-driver"
DATAFLOW = (
    *("--runner", "DataflowRunner", "--project=p-1", "--region=us-central1", "--dry_run=True"),
    *("--temp_location=gs://bucket/temp", "--staging_location=gs://bucket/staging"),
    *("--sdk_container_image=registry.example/clicks:1", "--sdk_location=container"),
)
RUN = ("--dataset", "folder", "--unit-size", "2", "--max-clicks", "1", "-q")


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[beam.Pipeline]:
    """The pipelines that would be run on another runner."""
    pipelines: list[beam.Pipeline] = []

    def capture(pipeline: beam.Pipeline, *_: object, **__: object) -> None:
        pipelines.append(pipeline)
        raise IncompleteError("not run")

    monkeypatch.setattr(launching, "run_on_engine", capture)
    return pipelines


def made(bucket: str, tmp_path: Path) -> None:
    """Put a data set and a run over it in a bucket."""
    annotated_data.write_folder(tmp_path / "data", names=["a", "b", "c", "d"])
    local = ("--data-root", str(tmp_path / "data"), "--out", str(tmp_path / "run"))
    assert main(["trajectories", *RUN, "--workers", "1", *local]) == EXIT_OK
    memory = fsspec.filesystem("memory")
    for name in ("data", "run"):
        memory.put(str(tmp_path / name), f"{bucket}/{name}", recursive=True)


def step_of(transform: beam_runner_api_pb2.PTransform) -> bytes:
    """Return the pickle of a step's function, b"" for steps of Beam's own."""
    if transform.spec.urn != "beam:transform:pardo:v1":
        return b""
    function = beam_runner_api_pb2.ParDoPayload.FromString(transform.spec.payload).do_fn
    pickled = bz2.decompress(base64.b64decode(function.payload))
    # Beam's own lambdas say where Beam lies.
    return pickled.replace(os.path.dirname(beam.__file__).encode(), b"")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("command", ["trajectories", "evaluate", "export"])
def test_a_job_takes_all_from_its_container_and_nothing_from_this_machine(
    command: str,
    bucket: str,
    captured: list[beam.Pipeline],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    made(bucket, tmp_path)
    data = ("--data-root", f"{bucket}/data", "--out", f"{bucket}/{command}")
    argv = {
        "trajectories": ("trajectories", *RUN, "--accelerator", HINT, *data),
        "evaluate": ("evaluate", *RUN, "--policy", "centre", "--accelerator", HINT, *data),
        "export": ("export", "--from", f"{bucket}/run", "--format", "llama-factory", "-q", *data),
    }[command]
    assert main([*argv, *DATAFLOW]) == EXIT_INCOMPLETE
    (pipeline,) = captured
    result: Any = pipeline.run()
    proto = result.job.proto_pipeline
    components = proto.components
    leaves = [
        transform
        for transform in components.transforms.values()
        if transform.environment_id and not transform.subtransforms
    ]
    names = {transform.unique_name for transform in leaves}
    assert any(name.startswith("Check the worker") for name in names)
    hints = set[bytes | None]()
    for transform in leaves:
        environment = components.environments[transform.environment_id]
        assert environment.urn == "beam:env:docker:v1"
        payload = beam_runner_api_pb2.DockerPayload.FromString(environment.payload)
        assert payload.container_image == "registry.example/clicks:1"
        # A list of what is installed here, which Beam logs; no file that a step needs.
        (listed,) = environment.dependencies
        assert b"submission_environment_dependencies.txt" in listed.role_payload
        hints.add(environment.resource_hints.get("beam:resources:accelerator:v1"))
    # The steps name no folder of this machine, such as the one in which the command runs.
    steps = b"".join(step_of(transform) for transform in leaves)
    assert f"{bucket}/{command}".encode() in steps
    assert str(tmp_path).encode() not in steps
    assert hints == ({None} if command == "export" else {None, HINT.encode()})
    dot = PipelineRenderer(proto, RenderOptions()).to_dot()
    assert dot.startswith("digraph")
    assert 'label="Check the worker' in dot
