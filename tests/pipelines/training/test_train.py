from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.training import folder as training_folder
from hlmat.pipelines.training import process as training_process
from hlmat.pipelines.training import train as training
from hlmat.pipelines.training.folder import TrainingFolder, checkpoints
from hlmat.pipelines.training.job import read_job
from hlmat.transforms.core.errors import ConfigError, DataError, IncompleteError, OutputError
from repository import REPOSITORY
from tiny_models import make_tiny_model

STEPS = 12

needs_llama_factory = pytest.mark.skipif(
    importlib.util.find_spec("llamafactory") is None, reason="llamafactory is not installed"
)


def parse(*argv: str) -> argparse.Namespace:
    arguments = parse_command("train", argv)
    arguments.quiet = True
    return arguments


def write_recipe(folder: Path, **changes: Any) -> Path:
    """Write a recipe that a tiny model goes through in seconds."""
    folder.mkdir(parents=True)
    files: dict[str, dict[str, Any]] = {
        "trajectories": {
            "dataset": "shapes",
            "shapes-size": "64x64",
            "shapes-images": 2,
            "workers": 1,
        },
        "export": {"codec": "thousandths"},
        "evaluate": {},
        "train": {
            "model_name_or_path": "somebody/some-model",
            "template": "qwen3_vl_nothink",
            "stage": "sft",
            "finetuning_type": "full",
            "cutoff_len": 512,
            "preprocessing_num_workers": 1,
            "dataloader_num_workers": 0,
            "per_device_train_batch_size": 2,
            "learning_rate": 1e-3,
            "max_steps": STEPS,
            "save_strategy": "steps",
            "save_steps": 2,
            "save_total_limit": 2,
            "logging_steps": 1,
            "plot_loss": True,
            "report_to": "none",
            "use_cpu": True,
        },
    }
    for name, content in files.items():
        content |= changes.get(name, {})
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return folder


@dataclasses.dataclass
class Trained:
    """A training that was killed half-way and taken up."""

    recipe: Path
    model: Path
    out: Path
    report: dict[str, Any]
    orphans: list[int]

    def arguments(self, *more: str) -> argparse.Namespace:
        return parse(
            "--recipe", str(self.recipe), "--model", str(self.model), "--out", str(self.out), *more
        )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("training")
    recipe = write_recipe(root / "tiny")
    model = Path(make_tiny_model("qwen3_vl", root / "model"))
    result = Trained(recipe, model, root / "out", {}, [])
    kill_half_way(result)
    # what the kill may leave: a folder that was being written
    broken = result.out / "model" / "checkpoint-999"
    broken.mkdir()
    (broken / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    result.report = training.train(result.arguments())
    return result


def kill_half_way(trained: Trained) -> None:
    """Start the training and kill it, and not what it started, after its first checkpoint."""
    code = (
        "import sys\n"
        "from hlmat.pipelines.training import train as training\n"
        "from hlmat.pipelines.settings.commands import parse_command\n"
        "training.train(parse_command('train', sys.argv[1:]))"
    )
    paths = ["--recipe", str(trained.recipe), "--model", str(trained.model)]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, *paths, "--out", str(trained.out)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONSAFEPATH": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: bool(checkpoints(trained.out / "model")[0]) or process.poll() is not None, 120)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not processes_with(str(trained.out / "train.yaml")), 10)
    trained.orphans = processes_with(str(trained.out / "train.yaml"))


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)


def processes_with(argument: str) -> list[int]:
    """List the processes with an argument; none where there is no /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if argument.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@needs_llama_factory
@pytest.mark.slow
class TestTraining:
    def test_a_kill_leaves_no_process(self, trained: Trained) -> None:
        assert trained.orphans == []

    def test_a_killed_training_goes_on_from_its_checkpoint(self, trained: Trained) -> None:
        assert trained.report["status"] == "resumed"
        config = yaml.safe_load((trained.out / "train.yaml").read_text())
        assert "/checkpoint-" in config["resume_from_checkpoint"]
        assert not (trained.out / "model" / "checkpoint-999").exists()
        log = (trained.out / "model" / "trainer_log.jsonl").read_text().splitlines()
        steps = [json.loads(line)["current_steps"] for line in log if "loss" in json.loads(line)]
        assert steps == list(range(1, STEPS + 1))

    def test_it_leaves_model_record_log_and_curve(self, trained: Trained) -> None:
        model = trained.out / "model"
        assert (model / "model.safetensors").is_file()
        assert (model / "training_loss.png").stat().st_size > 1000
        assert b"Loading dataset" in (trained.out / "train.log").read_bytes()
        record = json.loads((model / "training.json").read_text())
        assert (record["recipe"], record["steps"]) == ("tiny", STEPS)
        assert record["samples"] == trained.report["samples"] > 2
        images = json.loads((model / "training_data.json").read_text())["images"]
        assert len(images) == 2

    def test_a_finished_training_is_not_repeated(
        self, trained: Trained, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(training, "run_llama_factory", refuse_to_run)
        report = training.train(trained.arguments())
        assert report == {**trained.report, "status": "complete already"}

    def test_another_number_of_workers_is_the_same_training(
        self, trained: Trained, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(training, "run_llama_factory", refuse_to_run)
        arguments = trained.arguments("--workers", "2", "--set", "preprocessing_num_workers=2")
        assert training.train(arguments)["status"] == "complete already"

    def test_other_settings_are_refused_with_the_differences(self, trained: Trained) -> None:
        arguments = trained.arguments("--set", "learning_rate=1e-4", "--limit", "1")
        with pytest.raises(OutputError) as caught:
            training.train(arguments)
        assert "train learning_rate: it was 0.001, now 0.0001" in str(caught.value)
        assert "trajectories limit: it was not set, now 1" in str(caught.value)
        assert "pass --overwrite" in str(caught.value)

    def test_another_base_model_is_refused(self, trained: Trained, tmp_path: Path) -> None:
        other = make_tiny_model("qwen3_vl", tmp_path / "other", seed=1)
        with pytest.raises(OutputError, match="base model sha256: it was"):
            training.train(trained.arguments("--model", other))

    def test_changed_data_is_refused(self, trained: Trained) -> None:
        rows = trained.out / "sft" / "next_click.json"
        before = rows.read_text()
        rows.write_text(before + "\n")
        try:
            with pytest.raises(OutputError, match=r"has changed since the training began"):
                training.train(trained.arguments())
        finally:
            rows.write_text(before)

    def test_a_second_training_in_the_same_folder_is_refused(
        self, trained: Trained, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(training_folder, "_SECONDS_TO_END", 0.0)
        second = pytest.raises(OutputError, match="another training is running")
        with TrainingFolder(trained.out).locked(), second:
            training.train(trained.arguments())

    def test_unknown_settings_are_reported_before_anything_is_made(
        self, trained: Trained, tmp_path: Path
    ) -> None:
        arguments = trained.arguments("--set", "learning_rat=1e-4")
        arguments.out = str(tmp_path / "out")
        with pytest.raises(ConfigError, match=r"learning_rat is unknown .*mean 'learning_rate'\?"):
            training.train(arguments)
        assert list(tmp_path.iterdir()) == []

    def test_a_failure_shows_the_end_of_the_log(self, trained: Trained, tmp_path: Path) -> None:
        arguments = trained.arguments("--set", "template=nonsense")
        arguments.out = str(tmp_path / "out")
        with pytest.raises(IncompleteError) as caught:
            training.train(arguments)
        assert "the training failed: LLaMA-Factory ended with exit code 1" in str(caught.value)
        assert "Template nonsense does not exist" in str(caught.value)
        assert str(tmp_path / "out" / "train.log") in str(caught.value)
        assert not (tmp_path / "out" / "model" / "training.json").exists()


def refuse_to_run(*_: Any, **__: Any) -> None:
    raise AssertionError("the training ran again")


def test_a_missing_base_model_is_reported_with_places_and_a_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "missing_packages", lambda settings: [])
    monkeypatch.setattr(training, "settings_problems", lambda settings: [])
    recipe = write_recipe(tmp_path / "tiny")
    with pytest.raises(ConfigError) as caught:
        training.train(parse("--recipe", str(recipe), "--out", "out"))
    text = str(caught.value)
    assert "the base model somebody/some-model, which the recipe names, is not here" in text
    assert f"{tmp_path}/models/some-model" in text
    assert "Hugging Face cache" in text
    assert "hf download somebody/some-model --local-dir models/some-model" in text
    assert not (tmp_path / "out").exists()


def test_missing_packages_are_reported_with_their_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    recipe = write_recipe(tmp_path / "tiny", train={"quantization_bit": 4})
    with pytest.raises(ConfigError) as caught:
        training.train(parse("--recipe", str(recipe), "--out", str(tmp_path / "out")))
    assert [problem.split(" is not")[0] for problem in caught.value.problems] == [
        "the package llamafactory",
        "the package bitsandbytes",
    ]
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    (pinned,) = re.findall("^LLAMAFACTORY := (.*)$", makefile, re.MULTILINE)
    assert caught.value.problems[0] == (
        "the package llamafactory is not installed; it trains the model; run `make install-train`, "
        "or without a checkout `pip install 'hlmat[train,sam]'` and "
        f"`pip install --no-deps {pinned}`"
    )


def test_every_problem_of_the_command_line_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "settings_problems", lambda settings: [])
    recipe = write_recipe(tmp_path / "tiny")
    overrides = ["bad", "dataset=x", "model_name_or_path=x", "x=[", "cutoff_len=null"]
    sets = [part for text in overrides for part in ("--set", text)]
    with pytest.raises(ConfigError) as caught:
        training.train(parse("--recipe", str(recipe), "--out", "gs://x/y", "--limit", "0", *sets))
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "--out gs",
        "--set 'bad'",
        "--set dataset=x",
        "--set model_name_or_path=x",
        "--set 'x=['",
        "--limit 0",
    ]


def test_a_conversation_of_the_command_line_replaces_the_recipes(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "tiny")
    flags = ("--recipe", str(recipe), "--out", str(tmp_path / "out"))
    job = read_job(parse(*flags, "--codec", "thousandths", "--mask-colour", "red"))
    assert (job.export.codec, job.export.mask_colour) == ("thousandths", "red")
    with pytest.raises(ConfigError, match="--codec 'roman': choose from decimal"):
        read_job(parse(*flags, "--codec", "roman"))


def test_a_run_that_is_not_a_rollout_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "missing_packages", lambda settings: [])
    monkeypatch.setattr(training, "settings_problems", lambda settings: [])
    recipe = write_recipe(tmp_path / "tiny")
    flags = ("--recipe", str(recipe), "--out", str(tmp_path / "out"))
    with pytest.raises(DataError, match="nowhere"):
        training.train(parse(*flags, "--also", str(tmp_path / "nowhere")))
    assert not (tmp_path / "out" / "model").exists()


def test_a_recipe_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"--recipe is missing; choose from .*mini"):
        training.train(parse())


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts other code in the place of LLaMA-Factory's process."""

    def pretend(code: str) -> None:
        folder = tmp_path / "module"
        folder.mkdir()
        (folder / "pretended_process.py").write_text(code)
        monkeypatch.setattr(training_process, "_MODULE", "pretended_process")
        monkeypatch.setenv("PYTHONPATH", str(folder))

    return pretend


def run(tmp_path: Path, show: Callable[[bytes], object] | None = None) -> None:
    with open(tmp_path / "lock", "wb") as lock:
        training_process.run_llama_factory(
            tmp_path / "config.yaml",
            log=tmp_path / "train.log",
            cache=tmp_path / "cache",
            lock=lock,
            show=show,
        )


def test_an_interruption_leaves_no_process(
    tmp_path: Path, pretended: Callable[[str], None]
) -> None:
    pretended(
        "import subprocess, sys, time\n"
        "code = 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\\n'\n"
        "code += 'print(1, flush=True); time.sleep(60)'\n"
        "subprocess.Popen([sys.executable, '-c', code, sys.argv[1]])\n"
        "time.sleep(60)\n"
    )

    def interrupt(data: bytes) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, interrupt)
    wait_for(lambda: not processes_with(str(tmp_path / "config.yaml")), 5)
    assert processes_with(str(tmp_path / "config.yaml")) == []


def test_output_is_kept_and_shown_and_failures_show_its_end(
    tmp_path: Path, pretended: Callable[[str], None]
) -> None:
    pretended(
        "import sys\n"
        "print('\\n'.join(f'line {i}' for i in range(30)), flush=True)\n"
        "print('\\r 10%\\r 20%', file=sys.stderr, flush=True)\n"
        "sys.exit(3)\n"
    )
    (tmp_path / "train.log").write_text("of an earlier attempt\n")
    shown: list[bytes] = []
    with pytest.raises(IncompleteError, match="exit code 3") as caught:
        run(tmp_path, shown.append)
    assert "line 29\n   20%\n" in str(caught.value)
    assert "10%" not in str(caught.value)
    assert "line 5\n" not in str(caught.value)
    assert (tmp_path / "train.log").read_bytes() == b"of an earlier attempt\n" + b"".join(shown)


def test_a_killed_process_is_reported(tmp_path: Path, pretended: Callable[[str], None]) -> None:
    pretended("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(IncompleteError, match="ended with signal SIGKILL"):
        run(tmp_path)


def test_nothing_is_looked_up_on_the_hub(tmp_path: Path, pretended: Callable[[str], None]) -> None:
    pretended("import os; print(os.environ['HF_HUB_OFFLINE'], os.environ['HF_DATASETS_CACHE'])")
    run(tmp_path)
    assert (tmp_path / "train.log").read_text() == f"1 {tmp_path / 'cache'}\n"


def test_an_import_that_fails_is_reported(pretended: Callable[[str], None]) -> None:
    pretended("raise ImportError('no such thing')")
    with pytest.raises(IncompleteError, match=r"cannot be imported:(.|\n)*no such thing"):
        training_process.check_settings({})


def test_settings_are_checked_with_the_rest_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "missing_packages", lambda settings: [])
    monkeypatch.setattr(
        training,
        "settings_problems",
        lambda settings: [f"setting {name} is unknown" for name in settings if name == "speed"],
    )
    recipe, out = write_recipe(tmp_path / "tiny"), tmp_path / "out"
    flags = ("--recipe", str(recipe), "--out", str(out), "--limit", "0", "--set", "speed=1")
    with pytest.raises(ConfigError) as caught:
        training.train(parse(*flags))
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "--limit 0",
        "setting speed is unknown",
    ]
    assert not out.exists()
