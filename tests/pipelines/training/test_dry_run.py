from __future__ import annotations

import importlib.util
import json
import shlex
import sys
from pathlib import Path

import pytest

from hlmat.pipelines.cli.main import main
from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.training import dry_run
from hlmat.pipelines.training.dry_run import format_plan, plan_training
from hlmat.pipelines.training.process import INSTALL_TRAIN


@pytest.fixture
def without_llama_factory(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "llamafactory" else find(name)
    )


@pytest.mark.usefixtures("without_llama_factory")
def test_a_plan_names_every_step_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = plan_training(parse_command("train", ["--recipe=mini_smoke", "--limit=5"]))
    commands = [step.split()[:2] for step in plan["steps"]]
    assert commands == [
        ["hlmat", "mini-base"],
        ["hlmat", "trajectories"],
        ["hlmat", "export"],
        ["llamafactory-cli", "train"],
    ]
    assert plan["settings"]["output_dir"] == str(tmp_path / "out" / "mini_smoke" / "model")
    assert plan["missing"] == [
        f"the package llamafactory is not installed; it trains the model; run {INSTALL_TRAIN}"
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("without_llama_factory")
def test_the_steps_are_commands_that_parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = plan_training(parse_command("train", ["--recipe=mini", "--limit=5", "--codec=decimal"]))
    parsed = {}
    for step in plan["steps"][:-1]:
        _, command, *argv = shlex.split(step)
        parsed[command] = parse_command(command, argv)
    assert list(parsed) == ["mini-base", "trajectories", "export"]
    assert parsed["mini-base"].out == "out/mini/base"
    assert parsed["trajectories"].limit == "5"
    assert parsed["trajectories"].out == parsed["export"].run_folder == "out/mini/trajectories"
    assert (parsed["export"].format, parsed["export"].codec) == ("llama-factory", "decimal")


def test_settings_are_checked_where_llama_factory_is_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dry_run, "missing_packages", lambda settings: [])
    monkeypatch.setattr(
        dry_run,
        "settings_problems",
        lambda settings: [f"unknown {name}" for name in settings if name in ("one", "two")],
    )
    argv = ["train", "--recipe", "mini", "--dry-run", "--set", "one=1", "--set", "two=2"]
    assert main(argv) == 2
    assert capsys.readouterr().err == "hlmat: error: unknown one\nhlmat: error: unknown two\n"


@pytest.mark.usefixtures("without_llama_factory")
def test_the_command_prints_the_plan_as_text_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["train", "--recipe", "mini_smoke", "--dry-run"]
    assert main([*argv, "--json"]) == 0
    plan = plan_training(parse_command("train", argv[1:]))
    assert json.loads(capsys.readouterr().out) == plan
    assert main(argv) == 0
    assert capsys.readouterr().out == format_plan(plan) + "\n"
    assert "llamafactory" not in sys.modules
