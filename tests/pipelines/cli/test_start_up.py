"""What a command line imports before there is anything to do: seen in a process of its own."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hlmat.pipelines.cli.commands import COMMANDS
from hlmat.pipelines.settings.runner_choice import known_beam_flags

HEAVY = ("apache_beam", "torch", "pandas", "pyarrow", "numpy", "cv2", "PIL", "scipy", "numba")
SCRIPT = """
import contextlib, io, json, sys
from hlmat.pipelines.cli.main import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    try:
        code = main(sys.argv[1:])
    except SystemExit as end:
        code = end.code
print(json.dumps({"code": code, "modules": list(sys.modules)}))
"""


def start(*argv: str, cwd: Path) -> tuple[int, set[str]]:
    """Return the exit code and the modules that were imported."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *argv], cwd=cwd, check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    return found["code"], set(found["modules"])


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--help"], 0),
        ([], 2),
        (["trajectorys"], 2),
        *[([name, "--help"], 0) for name in COMMANDS],
        (["trajectories", "--dataset", "shapes", "--out", "o", "--sede", "1"], 2),
        (["trajectories", "--dataset", "shapes", "--out", "o", "--max-clicks", "x"], 2),
        (["evaluate", "--dataset", "shapes", "--model", "m", "--out", "o", "--polcy", "x"], 2),
        (["refine", "--dataset", "shapes", "--model", "m", "--out", "o", "--polcy", "x"], 2),
        (["evaluate", "--recipe", "mini", "--polcy", "x", "--out", "o"], 2),
        (["filter", "--recipe", "mini_refine", "--keep-at", "7"], 2),
        (["train", "--recipe", "mini", "--limit", "x"], 2),
        (["train", "--recpe", "mini"], 2),
        (["export", "--form", "trace"], 2),
        (["stats", "o", "--jsn"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_help_and_mistakes_import_nothing_heavy(argv: list[str], code: int, tmp_path: Path) -> None:
    found, modules = start(*argv, cwd=tmp_path)
    assert found == code
    assert modules.isdisjoint((*HEAVY, "matplotlib", "transformers"))


def test_the_overview_builds_no_settings(tmp_path: Path) -> None:
    _, modules = start("--help", cwd=tmp_path)
    assert "pydantic" not in modules
    assert not [name for name in modules if name.startswith("hlmat.pipelines.settings.")]


def test_a_command_builds_its_own_settings_alone(tmp_path: Path) -> None:
    _, modules = start("stats", "--help", cwd=tmp_path)
    others = {"run_flags", "evaluation_options", "export_options", "tiny_vlm_options"}
    assert modules.isdisjoint(f"hlmat.pipelines.settings.{name}" for name in others)


def test_the_figures_of_a_run_need_no_beam_and_no_model(tmp_path: Path) -> None:
    code, modules = start("stats", "nowhere", cwd=tmp_path)
    assert code == 3
    assert modules.isdisjoint(("apache_beam", "torch", "pandas", "scipy", "matplotlib"))


@pytest.mark.slow
def test_a_run_on_this_machine_imports_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    few = ("--shapes-images", "1", "--shapes-size", "64x80", "--limit", "1", "-q")
    disc = ("--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter")
    argv = ("trajectories", "--dataset", "shapes", *few, *disc, "--workers", "1", "--out", "o")
    code, modules = start(*argv, cwd=tmp_path)
    assert code == 0
    assert {"apache_beam", "pyarrow", "numba"} <= modules
    unused = ("torch", "pymongo", "bson", "matplotlib", "fsspec", "boto3", "google.auth")
    assert modules.isdisjoint(unused)


def test_beams_flags_are_those_that_beam_declares() -> None:
    from apache_beam.options.pipeline_options import GoogleCloudOptions, StandardOptions

    for options_class in (GoogleCloudOptions, StandardOptions):
        parser: Any = argparse.ArgumentParser(add_help=False)
        options_class._add_argparse_args(parser)
        words = (word.strip("[]") for word in parser.format_usage().split())
        names = {word for word in words if word.startswith("--")}
        assert names
        assert names <= known_beam_flags()
