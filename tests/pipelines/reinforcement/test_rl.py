"""`hlmat rl`: its mistakes, and a tiny training in the environment with TRL."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from consumer_environments import read_by
from hlmat.pipelines.cli.exit_codes import EXIT_CONFIG, EXIT_OK
from hlmat.pipelines.cli.main import main
from hlmat.pipelines.recipes.flag_files import RL_FILE
from hlmat.pipelines.recipes.recipe import RECIPES, load_recipe, rl_recipe_names
from hlmat.pipelines.reinforcement import environment
from hlmat.pipelines.reinforcement.places import read_log
from hlmat.transforms.core.errors import ConfigError
from repository import REPOSITORY
from tiny_models import make_tiny_model

ROUNDS = 6
DATA = ["--dataset=shapes", "--shapes-size=64x64", "--shapes-images=6", "--shapes-objects=1-2"]
RUN = [
    *("rl", "--recipe=mini_grpo", *DATA, "--shapes-difficulty=simple", "--max-clicks=2"),
    *(f"--rounds={ROUNDS}", "--targets=2", "--group=4", "--parts=2", "--updates=2"),
    *("--save-every=1", "--strips=1", "--learning-rate=1e-3"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_tiny_model("qwen3_vl", tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without an environment, for a checkout that has none either."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setattr(environment, "RECIPES", tmp_path / "train_recipes")
    return tmp_path


def failed(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the message of a command line that is refused."""
    assert main(argv) == EXIT_CONFIG
    return capsys.readouterr().err


def test_an_environment_that_is_missing_is_named_with_its_cure(
    elsewhere: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = failed([*RUN, "--model", model, "--out", "out"], capsys)
    assert said == (
        "hlmat: error: the environment .venv-rl is missing, in which hlmat rl runs TRL, whose "
        "packages do not go together with those of hlmat train; make it with `make install-rl`\n"
    )
    assert not Path("out").exists()


def test_an_environment_that_was_not_finished_is_missing_too(elsewhere: Path) -> None:
    folder = elsewhere / ".venv-rl"
    (folder / "bin").mkdir(parents=True)
    with pytest.raises(ConfigError, match="is missing"):
        environment.rl_python()
    (folder / ".rl").touch()
    assert environment.rl_python() == folder / "bin" / "python"


def test_a_named_python_must_be_there(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.VARIABLE, "/nowhere/python")
    with pytest.raises(ConfigError, match="HLMAT_RL_PYTHON names /nowhere/python, which is not"):
        environment.rl_python()


def test_a_python_without_trl_is_refused(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no such distribution >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(ConfigError, match=r"has no TRL \(no such distribution\); run `make inst"):
        environment.installed_trl(python)


def test_a_start_model_that_is_missing_is_named_with_what_makes_it(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = failed(RUN, capsys)
    assert "the model to start from, out/mini_prm/model, is not there" in said
    assert "train it first with `hlmat train --recipe mini_prm`" in said
    said = failed([*RUN, "--model", "nowhere"], capsys)
    assert "nowhere, is not there: name the folder of a fine-tuned model with --model" in said


def test_an_adapter_cannot_be_the_start(
    elsewhere: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from checkpoint_cases import make_adapter

    adapter = make_adapter(Path(model), elsewhere / "adapter")
    said = failed([*RUN, "--model", str(adapter)], capsys)
    assert "is a LoRA adapter; merge it into its model first" in said


def test_a_model_is_asked_in_the_coordinates_that_it_learned(
    elsewhere: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = shutil.copytree(model, elsewhere / "trained")
    frame = {
        "codec": "thousandths",
        "order": "xy",
        "image_max_pixels": None,
        "processor": "unknown",
    }
    record = {"frame": frame, "images": [], "digests": []}
    (trained / "training_data.json").write_text(json.dumps(record))
    said = failed([*RUN, "--model", str(trained)], capsys)
    assert "the model was trained to answer in codec thousandths" in said


def test_every_wrong_setting_is_reported_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    said = failed([*RUN, "--click-price=-1", "--clip=1", "--group=1"], capsys)
    assert "--click-price -1: must be at least 0" in said
    assert "--clip 1: must be between 0 and 1" in said
    assert "--group 1: must be at least 2" in said


def test_rollouts_must_be_divisible(capsys: pytest.CaptureFixture[str]) -> None:
    said = failed([*RUN, "--parts=3"], capsys)
    assert "--updates 2 times --parts 3 does not divide the rollouts of a round" in said


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    said = failed(["rl"], capsys)
    for flag in ("--out", "--model", "--dataset"):
        assert f"{flag} is missing" in said
    assert "local path" in failed([*RUN, "--out", "s3://bucket/out"], capsys)


def test_a_recipe_of_another_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "rl.yaml is missing: it holds the flags of hlmat rl; choose from mini_grpo" in failed(
        ["rl", "--recipe", "mini"], capsys
    )
    assert "mini_grpo is a recipe of `hlmat rl`" in failed(
        ["train", "--recipe", "mini_grpo"], capsys
    )
    assert "train it first with `hlmat rl --recipe mini_grpo`" in failed(
        ["evaluate", "--recipe", "mini_grpo", "--out", "out"], capsys
    )


def test_a_wrong_setting_in_a_recipe_is_named_with_its_file(tmp_path: Path) -> None:
    folder = shutil.copytree(RECIPES / "mini_grpo", tmp_path / "mine")
    (folder / RL_FILE).write_text("click-price: -1\nrond: 3\n")
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(folder))
    assert "rl.yaml: rond is not a flag of hlmat rl; did you mean 'rounds'?" in str(caught.value)


@pytest.mark.parametrize("name", rl_recipe_names())
def test_a_recipe_documents_its_commands(name: str) -> None:
    readme = (RECIPES / name / "README.md").read_text(encoding="utf-8")
    for command in ("make install-rl", f"hlmat rl --recipe {name}", "hlmat evaluate --recipe"):
        assert command in readme
    assert f"[{name}]({name}/README.md)" in (RECIPES / "README.md").read_text(encoding="utf-8")
    assert load_recipe(name).rl


# From here on in the environment with TRL.


@pytest.fixture
def trl() -> None:
    if not os.environ.get(environment.VARIABLE):
        pytest.skip(f"{environment.VARIABLE} does not name the Python of an environment with TRL")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that has learned to write clicks, some of them."""
    out = str(tmp_path_factory.mktemp("start") / "model")
    sizes = ["--image-size=64", "--patch=16", "--vision-width=32", "--vision-depth=1"]
    sizes += ["--width=32", "--depth=1", "--heads=2", "--batch=8"]
    steps = ["--steps=160", "--tower-steps=10", *DATA[2:], "--shapes-difficulty=simple"]
    assert main(["mini-base", *sizes, *steps, "--shapes-images=64", "--out", out, "-q"]) == EXIT_OK
    return out


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def learned(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a log without what takes time."""
    lines = read_log(folder / "model" / "trainer_log.jsonl")
    return [{k: v for k, v in line.items() if "seconds" not in k} for line in lines]


@pytest.mark.slow
@pytest.mark.usefixtures("trl")
def test_a_killed_training_goes_on_to_the_same_weights(
    start: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    argv = [*RUN, "--model", start, "--quiet"]
    assert main([*argv, "--out", str(tmp_path / "whole")]) == EXIT_OK
    cut = tmp_path / "cut"
    command = [sys.executable, "-m", "hlmat.pipelines.cli.main", *argv, "--out", str(cut)]
    process = subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True)
    try:
        while len(list((cut / "model").glob("checkpoint-*/trainer_state.json"))) < 2:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (cut / "model" / "training.json").exists()
    assert main([*argv, "--json", "--out", str(cut)]) == EXIT_OK
    assert json.loads(capsys.readouterr().out)["status"] == "resumed"
    expected, found = weights(tmp_path / "whole" / "model"), weights(cut / "model")
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    assert learned(cut) == learned(tmp_path / "whole")
    begun = weights(Path(start))
    assert any(not np.array_equal(expected[name], begun[name]) for name in expected)
    assert len(learned(cut)) == ROUNDS
    assert learned(cut)[-1]["kl"] > 0
    assert (cut / "learning_curve.png").read_bytes()[:4] == b"\x89PNG"
    assert (cut / "learning_curve.md").read_text().count("\n") == ROUNDS + 2
    assert len(list((cut / "rollouts").glob("round-*/*.png"))) == ROUNDS
    # The result is a model like any other.
    evaluate = ["evaluate", "--recipe=mini_grpo", *DATA, "--shapes-difficulty=simple", "--quiet"]
    evaluate += ["--shapes-seed=7", f"--model={cut / 'model'}", f"--out={tmp_path / 'evaluated'}"]
    assert main([*evaluate, "--split=test"]) == EXIT_OK
    # Its record of training data keeps it from being evaluated on what it was trained on.
    assert main([*evaluate, "--split=train", "--overwrite"]) == EXIT_CONFIG
    assert "leak guard" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("trl")
def test_an_adapter_is_trained_and_merged(start: str, tmp_path: Path) -> None:
    argv = [*RUN, "--model", start, "--quiet", "--lora-rank=4", "--rounds=1"]
    assert main([*argv, "--out", str(tmp_path / "out")]) == EXIT_OK
    begun, found = weights(Path(start)), weights(tmp_path / "out" / "model")
    assert found.keys() == begun.keys()


@pytest.mark.slow
def test_trl_accepts_the_settings_of_every_recipe(tmp_path: Path) -> None:
    found = read_by("rl", *rl_recipe_names(), scratch=tmp_path / "scratch")
    assert found["qwen2_5_vl_7b_grpo"] == {
        "rollouts": 64,
        "group": 8,
        "steps": 500,
        "learning_rate": 1e-5,
        "beta": 0.02,
        "bf16": True,
    }
    assert found["mini_grpo"]["rollouts"] == 32
