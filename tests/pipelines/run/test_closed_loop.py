"""The whole loop by the command line: base model, trajectories, training, evaluation, scoring."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from hlmat.pipelines.cli.main import EXIT_OK, main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of the recipe mini_smoke, and the evaluation of what came out."""
    out = tmp_path_factory.mktemp("loop")
    assert main(["train", "--recipe", "mini_smoke", "--out", str(out), "-q"]) == EXIT_OK
    flags = ["--recipe", "mini_smoke", "--model", str(out / "model"), "--workers", "1"]
    assert main(["evaluate", *flags, "--out", str(out / "test"), "-q"]) == EXIT_OK
    return out


def test_training_leaves_model_curve_log_and_the_record_of_its_images(out: Path) -> None:
    for name in ("model.safetensors", "training_loss.png", "trainer_log.jsonl"):
        assert (out / "model" / name).is_file()
    assert "Training completed" in (out / "train.log").read_text(errors="replace")
    record = json.loads((out / "model" / "training_data.json").read_text())
    assert len(record["images"]) == 12
    assert all(key.startswith("shapes:") for key in record["images"])


def test_the_evaluation_has_figures_predictions_and_images(out: Path) -> None:
    figures = json.loads((out / "test" / "metrics.json").read_text())
    assert (figures["dataset"], figures["split"], figures["policy"]) == ("shapes", "test", "mllm")
    entries = json.loads((out / "test" / "predictions.json").read_text())
    assert len(entries) == figures["targets"] > 6
    assert all(len(entry["caption"]) == 1 for entry in entries)
    assert all(isinstance(e["last_output"] or e["pred_list"][-1]["outputs"], str) for e in entries)
    report = (out / "test" / "report.md").read_text()
    assert "| gIoU |" in report
    for name in ("charts/iou_by_step.png", "charts/noc.png", "strips/worst_01.png"):
        assert cv2.imread(str(out / "test" / name)) is not None


def test_scoring_the_predictions_gives_the_same_figures(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = json.loads((out / "test" / "metrics.json").read_text())
    assert main(["score", str(out / "test" / "predictions.json"), "--json"]) == EXIT_OK
    scored = json.loads(capsys.readouterr().out)
    for name in ("gIoU", "cIoU", "boundary_IoU", "invalid_rate", "clicks_per_target"):
        assert scored[name] == figures[name]


def test_recorded_answers_give_the_rollouts_again_without_the_model(out: Path) -> None:
    answers = str(out / "test" / "predictions.json")
    flags = ["--recipe", "mini_smoke", "--policy", "replay", "--answers", answers]
    assert main(["evaluate", *flags, "--out", str(out / "replayed"), "-q"]) == EXIT_OK
    first, again = (
        json.loads((out / n / "metrics.json").read_text()) for n in ("test", "replayed")
    )
    for figures in (first, again):
        del figures["SPC"], figures["policy"]
        # A record holds the texts of answers, not that one of them was cut off.
        figures["invalid_answers"] = sum(figures.get("invalid_answers", {}).values())
    assert again == first
    assert (out / "replayed" / "predictions.json").read_bytes() == Path(answers).read_bytes()


def test_the_images_of_the_training_are_refused(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--recipe", "mini_smoke", "--model", str(out / "model"), "--split", "train"]
    assert main(["evaluate", *flags, "--out", str(out / "leak"), "-q"]) == 2
    message = capsys.readouterr().err
    assert "leak guard: 6 of the 6 images to be evaluated on are among those of" in message
    assert "--allow-leak" in message
    assert not (out / "leak").exists()
    flags += ["--allow-leak", "--limit", "2"]
    assert main(["evaluate", *flags, "--out", str(out / "leak"), "-q"]) == EXIT_OK
    assert "leak guard" in capsys.readouterr().err


def test_evaluations_stand_side_by_side(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--recipe", "mini_smoke", "--policy", "centre", "--out", str(out / "centre"), "-q"]
    assert main(["evaluate", *flags]) == EXIT_OK
    capsys.readouterr()
    chart = out / "steps.png"
    names = [f"trained={out / 'test'}", f"centre click={out / 'centre'}"]
    assert main(["compare", *names, "--chart", str(chart)]) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:4]] == ["| trained", "| centre click"]
    assert cv2.imread(str(chart)) is not None
