"""Targets that are no object, from the reader to the report and the training data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from annotated_data import write_grefcoco
from hlmat.pipelines.cli.exit_codes import EXIT_OK
from hlmat.pipelines.cli.main import main


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write a split of gRefCOCO with two objects together, one alone, and none."""
    write_grefcoco(tmp_path / "data")
    return tmp_path / "data"


def flags(root: Path, out: Path, *more: str) -> list[str]:
    data = ("--dataset", "grefcoco", "--data-root", str(root), "--split", "val")
    return [*data, "--workers", "1", "--max-clicks", "2", "-q", "--out", str(out), *more]


def metrics(root: Path, out: Path, policy: str) -> dict[str, Any]:
    assert main(["evaluate", "--policy", policy, *flags(root, out)]) == EXIT_OK
    return json.loads((out / "metrics.json").read_text())


def test_an_evaluation_counts_them(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    oracle = metrics(root, tmp_path / "oracle", "oracle")
    assert oracle["N-acc"]["value"] == oracle["T-acc"]["value"] == 1.0
    centre = metrics(root, tmp_path / "centre", "centre")
    assert centre["N-acc"]["value"] == 0.0
    assert oracle["gIoU"]["value"] - centre["gIoU"]["value"] >= 1 / 3
    report = (tmp_path / "oracle" / "report.md").read_text()
    assert "| N-acc | 1.000 |" in report
    capsys.readouterr()
    assert main(["score", str(tmp_path / "oracle" / "predictions.json"), "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out)["N-acc"]["value"] == 1.0


@pytest.mark.parametrize(
    "task", ["next-click", "prm", "multi-turn", "kto", "refine", "filter", "next-click,filter"]
)
def test_each_task_makes_what_it_can_of_them(root: Path, tmp_path: Path, task: str) -> None:
    run, out = tmp_path / "run", tmp_path / "export"
    # That task needs bad clicks too.
    bad = ("--policy", "random", "--no-stop-on-no-gain", "--max-clicks", "7")
    assert main(["trajectories", *flags(root, run, *(bad if task == "kto" else ()))]) == EXIT_OK
    export = [
        "export",
        "--from",
        str(run),
        "--format",
        "llama-factory",
        "--task",
        task,
        "--out",
        str(out),
        "--finish",
    ]
    assert main([*export, "--data-root", str(root)]) == EXIT_OK
    (name,) = json.loads((out / "dataset_info.json").read_text())
    rows = json.loads((out / f"{name}.json").read_text())
    answers = [row["messages"][1]["content"] for row in rows if row["target_id"].endswith("/2")]
    has_finish = task in ("next-click", "prm", "multi-turn", "next-click,filter")
    assert [("Finish" in answer) for answer in answers] == ([True] if has_finish else [])


def test_an_export_tells_it_from_the_end(root: Path, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "export"
    assert main(["trajectories", *flags(root, run)]) == EXIT_OK
    export = ["export", "--from", str(run), "--format", "llama-factory", "--out", str(out)]
    options = ["--finish", "--no-object", "--data-root", str(root)]
    assert main([*export, *options]) == EXIT_OK
    rows = json.loads((out / "next_click.json").read_text())
    last = {row["target_id"].rpartition("/")[2]: row["messages"][1]["content"] for row in rows}
    assert [last[key] == "No object" for key in sorted(last)] == [False, False, True]
    assert all("such object" in row["messages"][0]["content"] for row in rows)


@pytest.mark.slow
def test_a_model_that_says_so_is_right_about_one_target_alone(root: Path, tmp_path: Path) -> None:
    recorded = tmp_path / "answers.jsonl"
    ids = [
        entry["target_id"]
        for entry in json.loads(
            (_oracle(root, tmp_path / "oracle") / "predictions.json").read_text()
        )
    ]
    lines = [json.dumps({"target_id": name, "answers": ["No object"]}) for name in ids]
    recorded.write_text("\n".join(lines))
    replay = ["--policy", "replay", "--answers", str(recorded), "--no-object"]
    out = tmp_path / "replayed"
    assert main(["evaluate", *replay, *flags(root, out)]) == EXIT_OK
    found = json.loads((out / "metrics.json").read_text())
    assert (found["N-acc"]["value"], found["T-acc"]["value"]) == (1.0, 0.0)
    assert found["stop_reasons"]["no_object"]["value"] == 3


def _oracle(root: Path, out: Path) -> Path:
    assert main(["evaluate", "--policy", "oracle", *flags(root, out)]) == EXIT_OK
    return out
