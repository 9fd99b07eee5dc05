"""Evaluations side by side: the table, and input that is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hlmat.pipelines.cli.main import EXIT_CONFIG, EXIT_DATA, EXIT_OK, main


def make_evaluation(folder: Path, giou: float) -> str:
    figure = {"value": giou, "low": giou - 0.1, "high": giou + 0.1}
    none = {"value": 0.0, "low": 0.0, "high": 0.0}
    figures = {
        "gIoU": figure,
        "cIoU": figure,
        "IoU@k": [figure],
        "invalid_rate": none,
        "clicks_per_target": figure,
        "targets": 7,
    }
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(figures))
    return str(folder)


def test_a_line_for_each_and_a_learning_curve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, many = make_evaluation(tmp_path / "a", 0.3), make_evaluation(tmp_path / "b", 0.6)
    curve = tmp_path / "curve.png"
    names = [f"1000={few}", f"8000={many}"]
    assert main(["compare", *names, "--learning-curve", str(curve)]) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == (
        "| 1000 | 0.300 (0.200 to 0.400) | 0.300 (0.200 to 0.400) | 0.0 % | 0.30 | 7 |"
    )
    assert curve.read_bytes().startswith(b"\x89PNG")
    assert main(["compare", *names, "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out)["8000"]["gIoU"]["value"] == 0.6


def test_wrong_names_are_all_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = make_evaluation(tmp_path / "a", 0.3)
    names = ["nothing", f"a={out}", f"a={out}"]
    assert main(["compare", *names, "--learning-curve", "x.png"]) == EXIT_CONFIG
    told = capsys.readouterr().err
    assert "'nothing': expected NAME=OUT" in told
    assert "'a': with --learning-curve a name is a number of training targets" in told
    assert main(["compare", *names[1:]]) == EXIT_CONFIG
    assert "'a' is the name of two evaluations" in capsys.readouterr().err


@pytest.mark.parametrize(("content", "told"), [(None, "holds no metrics.json"), ("[]", "does not")])
def test_what_is_no_evaluation_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, told: str
) -> None:
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    assert main(["compare", f"a={tmp_path}"]) == EXIT_DATA
    assert told in capsys.readouterr().err
