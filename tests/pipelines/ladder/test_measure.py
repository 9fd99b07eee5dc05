"""The whole command on a tiny recipe: every model trained, every table made, nothing twice."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest

from hlmat.export.reports.ladder_tables import render_ladder
from hlmat.pipelines.cli.main import EXIT_CONFIG, EXIT_OK, main
from hlmat.pipelines.ladder import measure
from hlmat.pipelines.recipes.recipe import RECIPES

LADDER = """\
sets:
  simple: {shapes-images: 3}
  thin: {shapes-difficulty: thin, shapes-images: 3}
search: 2
steps: [1, 2]
initial-actions: [none, box]
codecs: [thousandths]
mask-colours: [red]
filter: 0.0-1.0
refine: 0.3-0.9
controls: [shuffled]
"""
EXPORT = """\
task: prm,refine
prompt: prompt.txt
score: true
codec: decimal
digits: 2
image-format: png
expressions: each
"""
RUNGS = ["sft", "star-plus", "stop", "search"]

pytestmark = pytest.mark.slow


def climb(root: Path, out: str = "out") -> int:
    """Make the ladder of a recipe whose models learn nothing in eight steps."""
    flags = [f"--out={root / out}", f"--first={root / 'first'}", f"--star={root / 'star'}"]
    return main(["ladder", f"--recipe={root / 'tiny'}", *flags, "--limit=3", "-q"])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ladder")
    shutil.copytree(RECIPES / "mini_smoke", root / "tiny")
    (root / "tiny" / "export.yaml").write_text(EXPORT)
    (root / "tiny" / "ladder.yaml").write_text(LADDER)
    assert climb(root) == EXIT_OK
    return root


def report_of(root: Path) -> dict[str, Any]:
    return json.loads((root / "out" / "ladder.json").read_bytes())


def test_every_table_has_figures_for_every_set(root: Path) -> None:
    report = report_of(root)
    assert list(report["sets"]) == ["simple", "thin"]
    for figures in report["sets"].values():
        assert [rung["name"] for rung in figures["rungs"]] == RUNGS
        assert [rung["against"] for rung in figures["rungs"]] == [None, *RUNGS[:-1]]
        assert [row["clicks"] for row in figures["steps"]] == [1, 2]
        assert [row["label"] for row in figures["initial_actions"]] == ["none", "box"]
        assert [row["label"] for row in figures["codecs"]] == ["thousandths"]
        assert [row["label"] for row in figures["mask_colours"]] == ["red"]
        assert [row["against"] for row in figures["controls"]] == ["sft"]
        assert figures["filter"]["kept"] + figures["filter"]["doubtful"] == 3
        assert figures["refine"]["gain"]["change"] in ("rises", "falls", "no change shown")


def test_figures_are_those_of_the_evaluations(root: Path) -> None:
    for figures in report_of(root)["sets"].values():
        for row in (*figures["rungs"], *figures["initial_actions"], *figures["codecs"]):
            metrics = json.loads((Path(row["out"]) / "metrics.json").read_bytes())
            assert row["gIoU"] == metrics["gIoU"]
            assert row["model_calls_per_target"] == metrics["model_calls_per_target"]
        for row in figures["rungs"][1:]:
            before = next(r for r in figures["rungs"] if r["name"] == row["against"])
            change = row["gIoU"]["value"] - before["gIoU"]["value"]
            assert row["difference"]["value"] == pytest.approx(change)
        # All clicks and the last mask: the greedy rung itself.
        star = figures["rungs"][1]
        assert figures["steps"][-1]["last"]["gIoU"]["value"] == pytest.approx(star["gIoU"]["value"])
        assert figures["initial_actions"][0]["out"] == star["out"]


def test_tables_and_chart_are_written(root: Path) -> None:
    text = (root / "out" / "ladder.md").read_text(encoding="utf-8")
    assert text == render_ladder(report_of(root))
    assert cv2.imread(str(root / "out" / "ladder.png")) is not None
    scored = [s["filter"].get("score_calibration") for s in report_of(root)["sets"].values()]
    assert (root / "out" / "reliability.png").exists() == any(scored)


def test_a_second_call_does_nothing_twice(root: Path) -> None:
    once = [*root.rglob("manifest.json"), *root.rglob("model.safetensors")]
    before = {path: path.stat().st_mtime_ns for path in once}
    report = (root / "out" / "ladder.json").read_bytes()
    assert climb(root) == EXIT_OK
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (root / "out" / "ladder.json").read_bytes() == report


def test_grpo_is_measured_beside_the_models_that_it_is_compared_with(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []

    def copy_start_model(arguments: argparse.Namespace) -> None:
        started.append(Path(arguments.model))
        shutil.copytree(arguments.model, Path(arguments.out) / "model")

    monkeypatch.setattr(measure, "reinforce", copy_start_model)
    monkeypatch.setattr(measure, "rl_python", lambda: Path("python"))
    monkeypatch.setattr(measure, "installed_trl", lambda python: "1.0")
    ladder = "sets:\n  thin: {shapes-difficulty: thin, shapes-images: 3, until: star-plus}\n"
    (root / "tiny" / "ladder.yaml").write_text(ladder + "reinforcement: mini_grpo\n")
    assert climb(root, "with-grpo") == EXIT_OK
    report = json.loads((root / "with-grpo" / "ladder.json").read_bytes())
    assert started == [root / "first" / "model"]
    assert report["models"]["grpo"] == str(root / "with-grpo" / "grpo" / "model")
    same, other = report["sets"]["thin"]["reinforcement"]
    assert (same["against"], other["against"]) == ("sft", "star-plus")
    # A copy of the first model does what it does.
    assert same["difference"]["value"] == same["clicks_difference"]["value"] == 0
    assert same["gIoU"] == report["sets"]["thin"]["rungs"][0]["gIoU"]


def test_without_the_environment_of_trl_nothing_is_trained(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HLMAT_RL_PYTHON", str(root / "no-python"))
    ladder = "sets:\n  thin: {shapes-difficulty: thin, shapes-images: 3}\n"
    (root / "tiny" / "ladder.yaml").write_text(ladder + "reinforcement: mini_grpo\n")
    assert climb(root, "untrained") == EXIT_CONFIG
    problem = capsys.readouterr().err
    assert "reinforcement in ladder.yaml: HLMAT_RL_PYTHON names" in problem
    assert "or measure without GRPO: --until search" in problem
    assert not (root / "untrained").exists()
