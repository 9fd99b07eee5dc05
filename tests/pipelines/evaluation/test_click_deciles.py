"""The evaluation of every decile of people's clicks by the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hlmat.pipelines.cli.main import EXIT_CONFIG, EXIT_OK, EXIT_OUTPUT, main
from hlmat.pipelines.evaluation.click_deciles import decile_configs, render_deciles
from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.settings.evaluation_options import evaluation_config
from hlmat.transforms.clickability.click_model import ClickModel, built_in_click_model
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.policies.human_options import HumanClicks
from hlmat.transforms.policies.registry import PolicyOptions

SCENES = ["--dataset", "shapes", "--split", "test", "--shapes-images", "3", "--shapes-size"]
BUILT_IN = built_in_click_model()
FLAGS = [*SCENES, "64x64", "--workers", "1", "-q", "--max-clicks", "2", "--policy", "human"]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("deciles") / "out"
    assert main(["evaluate", *FLAGS, "--click-decile", "all", "--out", str(out)]) == EXIT_OK
    return out


def config_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())["config"]


@pytest.mark.slow
def test_each_decile_has_its_run_and_the_figures_are_those_of_the_runs(evaluated: Path) -> None:
    figures = json.loads((evaluated / "click_deciles.json").read_text())
    folders = [evaluated / f"decile-{k:02d}" for k in range(1, 11)]
    for k, folder in enumerate(folders, start=1):
        settings = config_of(folder)["policy_settings"]
        assert settings["click_decile"] == k
        assert settings["click_model"]["depth"] == 4.7
        own = json.loads((folder / "metrics.json").read_text())
        found = figures["figures"]["gIoU"]["deciles"][k - 1]
        assert found["value"] == pytest.approx(own["gIoU"]["value"])
        assert found["low"] == pytest.approx(own["gIoU"]["low"])
    assert figures["images"] == 3
    assert figures["intervals"]["resampled"] == "images"
    text = (evaluated / "click_deciles.md").read_text()
    assert "| figure | mean over clicks | likely less unlikely | | spread |" in text


@pytest.mark.slow
def test_a_finished_evaluation_is_not_made_again(evaluated: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in evaluated.rglob("*.parquet")}
    content = (evaluated / "click_deciles.json").read_bytes()
    assert main(["evaluate", *FLAGS, "--click-decile", "all", "--out", str(evaluated)]) == EXIT_OK
    assert {path: path.stat().st_mtime_ns for path in evaluated.rglob("*.parquet")} == before
    assert (evaluated / "click_deciles.json").read_bytes() == content


@pytest.mark.slow
def test_a_folder_with_a_run_is_refused(
    evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(evaluated / "decile-01")
    assert main(["evaluate", *FLAGS, "--click-decile", "all", "--out", out]) == EXIT_OUTPUT
    assert "holds a run, and --click-decile all writes a run for each" in capsys.readouterr().err


def test_deciles_differ_in_their_clicks_and_folders_alone() -> None:
    argv = [*SCENES, "64x64", "--policy", "human", "--click-decile", "all", "--out", "o/"]
    config = evaluation_config(parse_command("evaluate", argv))
    assert config.all_deciles
    configs = list(decile_configs(config))
    assert [each.run.out for each in configs] == [f"o/decile-{k:02d}" for k in range(1, 11)]
    for decile, each in enumerate(configs, start=1):
        policy = PolicyOptions("human", is_baseline=True, human=HumanClicks(BUILT_IN, decile))
        assert each == replace(
            config, all_deciles=False, run=replace(config.run, policy=policy, out=each.run.out)
        )
    other = replace(config, run=replace(config.run, policy=PolicyOptions("oracle")))
    with pytest.raises(ConfigError, match="deciles of clicks need --policy human, not oracle"):
        next(decile_configs(other))


def test_the_report_has_a_row_for_each_figure() -> None:
    figure = {"value": 0.5, "low": 0.4, "high": 0.6}
    each = {
        "deciles": [figure] * 10,
        "mean": figure,
        "likely_minus_unlikely": {**figure, "change": "rises"},
        "spread": figure,
    }
    text = render_deciles({"figures": {"gIoU": each}, "targets": 30, "images": 25, "unpaired": 2})
    row = "0.500 (0.400 to 0.600) | +0.500 (+0.400 to +0.600) | rises | 0.500 (0.400 to 0.600) |"
    assert f"| gIoU | {row}" in text
    assert f"| gIoU |{' 0.500 |' * 10}" in text
    assert "30 targets of 25 images; 2 lack a decile." in text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--policy", "oracle", "--click-decile", "2"], "--click-decile goes with --policy human"),
        (["--policy", "centre", "--click-model", "m"], "--click-model goes with --policy human"),
        (["--policy", "human", "--click-decile", "0"], "--click-decile '0'"),
        (["--policy", "human", "--click-model", "none.json"], "none.json: No such file"),
    ],
)
def test_wrong_flags_are_named(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["evaluate", *SCENES, "64x64", "--out", str(tmp_path / "o"), *flags]
    assert main(argv) == EXIT_CONFIG
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_data_is_made_from_one_decile_by_a_model_of_the_users_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.json").write_bytes(ClickModel({"depth": 2}, source="a test").to_json())
    out = tmp_path / "o"
    flags = ["--click-model", str(tmp_path / "m.json"), "--out", str(out)]
    assert main(["trajectories", *FLAGS, *flags, "--click-decile", "9"]) == EXIT_OK
    assert config_of(out)["policy_settings"] == {
        "initial_clicks": 4,
        "click_model": ClickModel({"depth": 2}, source="a test").identity(),
        "click_decile": 9,
    }
    assert main(["trajectories", *FLAGS, *flags, "--click-decile", "all"]) == EXIT_CONFIG
    assert "--click-decile all: a run has one decile" in capsys.readouterr().err
    (tmp_path / "m.json").write_text("{}")
    assert main(["trajectories", *FLAGS, *flags]) == EXIT_CONFIG
    assert "m.json is not a click model" in capsys.readouterr().err
