"""An evaluation prints and writes its results where matplotlib is not installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hlmat.pipelines.cli.exit_codes import EXIT_CONFIG, EXIT_DATA, EXIT_OK, EXIT_OUTPUT
from hlmat.pipelines.cli.main import main

_SHAPES = ["--dataset", "shapes", "--shapes-images", "2", "--shapes-size", "64x80"]
_DISC = ["--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter"]
_EVALUATE = ["evaluate", "--policy", "centre", *_SHAPES, *_DISC]


@pytest.fixture
def no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_an_evaluation_skips_its_charts_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], no_matplotlib: None
):
    out = tmp_path / "out"
    assert main([*_EVALUATE, "--out", str(out)]) == EXIT_OK
    printed = capsys.readouterr()
    assert "| gIoU |" in printed.out
    assert printed.err.count("hlmat: no charts: charts need matplotlib (") == 1
    names = {p.name for p in out.iterdir() if not p.name.endswith(".parquet")}
    assert {"metrics.json", "predictions.json", "report.md", "strips"} <= names
    assert "charts" not in names
    assert "charts/" not in (out / "report.md").read_text(encoding="utf-8")


def test_a_chart_that_is_asked_for_is_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], no_matplotlib: None
):
    chart = tmp_path / "chart.png"
    assert main(["compare", f"a={tmp_path}/none", "--chart", str(chart)]) == EXIT_CONFIG
    assert capsys.readouterr().err.startswith("hlmat: error: charts need matplotlib (")
    assert main(["compare", f"a={tmp_path}/none"]) == EXIT_DATA


def test_an_image_deleted_since_costs_its_strip_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    import cv2
    import numpy as np

    data, out = tmp_path / "data", tmp_path / "out"
    for folder in ("images", "masks"):
        (data / folder).mkdir(parents=True)
    for name in ("a", "b"):
        mask = np.zeros((30, 40), np.uint8)
        mask[5:20, 8:30] = 255
        cv2.imwrite(str(data / "images" / f"{name}.png"), np.full((30, 40, 3), 90, np.uint8))
        cv2.imwrite(str(data / "masks" / f"{name}.png"), mask)
    flags = ["--dataset", "folder", "--data-root", str(data), *_DISC, "--out", str(out)]
    command = ["evaluate", "--policy", "centre", *flags]
    assert main(command) == EXIT_OK
    (data / "images" / "a.png").unlink()
    capsys.readouterr()
    assert main(command) == EXIT_OK
    assert "hlmat: no strip of folder/all/a" in capsys.readouterr().err


def test_choosing_by_scores_needs_a_model_that_gives_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    flags = ["--step", "best-scored", "--out", str(tmp_path / "out")]
    assert main([*_EVALUATE, *flags]) == EXIT_CONFIG
    assert capsys.readouterr().err == (
        "hlmat: error: --step best-scored needs a model that scores its masks; add --score\n"
    )


@pytest.mark.parametrize("command", ["filter", "refine"])
def test_a_recipe_s_model_that_is_not_trained_yet_is_named_with_its_training(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert main([command, "--recipe", "mini_refine", "--out", "out"]) == EXIT_CONFIG
    assert capsys.readouterr().err == (
        "hlmat: error: out/mini_refine/model, the model of the recipe mini_refine, is not there: "
        "train it first with `hlmat train --recipe mini_refine`, or name a trained model with "
        "--model\n"
    )
    assert main([command, *_SHAPES, "--out", "out"]) == EXIT_CONFIG
    assert "for example mini_refine" in capsys.readouterr().err


def test_a_trace_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out, trace = str(tmp_path / "out"), tmp_path / "trace.json"
    assert main(["trajectories", *_SHAPES, *_DISC, "-q", "--out", out]) == EXIT_OK
    trace.write_text("mine", encoding="utf-8")
    command = ["export", "--from", out, "--format", "trace", "--out", str(trace)]
    assert main(command) == EXIT_OUTPUT
    assert f"{trace} exists already; give another --out or remove it" in capsys.readouterr().err
    assert trace.read_text(encoding="utf-8") == "mine"
