"""The flex template of Dataflow: current, and in agreement with the command's flags."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hlmat.pipelines.cli.flex_template import (
    arguments_of_template,
    metadata_text,
    template_flags,
    template_metadata,
)
from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.settings.run_options import trajectories_config
from repository import REPOSITORY

DEPLOY = REPOSITORY / "deploy"


def regexes() -> dict[str, list[str]]:
    return {p["name"]: p.get("regexes", []) for p in template_metadata()["parameters"]}


def test_the_template_in_the_repository_is_current():
    shipped = (DEPLOY / "trajectories.json").read_text(encoding="utf-8")
    assert shipped == metadata_text(), "write it again with `make flex-template`"
    required = {p["name"] for p in json.loads(shipped)["parameters"] if not p["isOptional"]}
    assert required == {"dataset", "out"}


@pytest.mark.parametrize(
    ("name", "accepted", "refused"),
    [
        ("dataset", ["hqseg44k", "refcoco+"], ["hqseg", "shapes2"]),
        ("out", ["gs://bucket/out"], ["out", "/data/out"]),
        ("overwrite", ["true", "false"], ["yes", ""]),
        ("max-clicks", ["7"], ["-1", "many"]),
        ("target-iou", ["0.9"], ["high"]),
        ("shapes-size", ["240x320"], ["240"]),
        ("partition", ["1/8"], ["1"]),
        ("policy", ["oracle"], ["orcale"]),
    ],
)
def test_what_the_command_refuses_the_template_refuses(
    name: str, accepted: list[str], refused: list[str]
):
    (pattern,) = regexes()[name]
    assert all(re.fullmatch(pattern, text) for text in accepted)
    assert not any(re.fullmatch(pattern, text) for text in refused)


@pytest.mark.parametrize("name", [n for n in template_flags() if regexes()[n]])
def test_the_template_takes_every_default_of_the_command(name: str):
    flag = template_flags()[name]
    default = flag.default_value
    if flag.pair is None and isinstance(default, int | float) and not flag.is_switch:
        assert re.search(regexes()[name][0], str(default))


def test_parameters_become_the_commands_arguments():
    found = arguments_of_template(
        [
            *("--dataset=shapes", "--out=gs://bucket/out", "--overwrite=true", "--resume=false"),
            *("--segmenter-arg=precision=bf16", "--split=", "--project=p", "--runner=x"),
        ]
    )
    assert found == [
        *("--dataset=shapes", "--out=gs://bucket/out", "--overwrite"),
        *("--segmenter-arg=precision=bf16", "--project=p", "--runner=x"),
    ]
    ours = [a for a in found if not a.startswith(("--project", "--runner"))]
    config = trajectories_config(parse_command("trajectories", ours))
    assert (config.out, config.overwrite) == ("gs://bucket/out", True)


def test_the_images_program_runs_the_command():
    asked = subprocess.run(
        [sys.executable, "-P", str(DEPLOY / "flex_template.py"), "--dataset=shapez", "--out=o"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(REPOSITORY / "src")},
        check=False,
    )
    assert asked.returncode == 2
    assert "did you mean 'shapes'" in asked.stderr or "shapez" in asked.stderr


def test_the_dockerfile_is_clean_and_has_this_beam():
    program = Path(sys.executable).parent / "hadolint"
    if not program.is_file():
        pytest.skip("hadolint is not installed")
    dockerfile = DEPLOY / "Dockerfile"
    asked = subprocess.run([program, dockerfile], capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stdout) == (0, "")
    pinned = re.search(
        r"^apache-beam(?:\[\w+\])?==(\S+)",
        (REPOSITORY / "constraints.txt").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert pinned is not None
    assert f"ARG BEAM_VERSION={pinned[1]}\n" in dockerfile.read_text(encoding="utf-8")
