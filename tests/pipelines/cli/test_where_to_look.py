"""Jobs that make runs end by naming the command that shows them."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from hlmat.pipelines.cli import jobs
from hlmat.pipelines.evaluation import evaluate
from hlmat.pipelines.evaluation.evaluate import EvaluationReport
from hlmat.pipelines.ladder import measure
from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.training import star_plus


def parsed(command: str, *argv: str) -> argparse.Namespace:
    """Return a command's arguments with those of what is printed."""
    arguments = parse_command(command, argv)
    return argparse.Namespace(**vars(arguments), json=False, quiet=False)


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.splitlines()[-1]


def test_an_evaluation(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"targets": 2, "rejected": 0, "rejects": {}, "filling_targets": 0}
    report = EvaluationReport(figures, "a table", {"report": "out/a b/report.md"}, [])
    monkeypatch.setattr(evaluate, "evaluate", lambda *_, **__: report)
    argv = ["--policy", "centre", "--dataset", "shapes", "--out", "out/a b"]
    assert jobs.run_evaluate(parsed("evaluate", *argv), []) == 0
    assert last_line(capsys).endswith(" view 'out/a b'")


def test_star_plus(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rounds = [{"evaluation": f"out/{number}/test"} for number in range(3)]
    monkeypatch.setattr(star_plus, "improve", lambda *_: {"rounds": rounds})
    monkeypatch.setattr(star_plus, "format_rounds", lambda _: "a table")
    assert jobs.run_star_plus(parsed("star-plus", "--recipe", "mini"), []) == 0
    assert last_line(capsys).endswith(" view out/2/test --against out/0/test")


def test_a_ladder(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sets = {name: {"rungs": [{"out": f"{name}/{k}"} for k in range(2)]} for name in ("a", "b")}
    report: dict[str, Any] = {"sets": sets}
    monkeypatch.setattr(measure, "make_ladder", lambda _: report)
    monkeypatch.setattr("hlmat.export.reports.ladder_tables.render_ladder", lambda _: "tables")
    assert jobs.run_ladder(parsed("ladder", "--recipe", "mini_prm"), []) == 0
    table, first, second = capsys.readouterr().out.splitlines()
    assert table == "tables"
    assert first.endswith(" view a/1 --against a/0")
    assert second.endswith(" view b/1 --against b/0")
