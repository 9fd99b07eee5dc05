"""The job that builds the small base model: once, the same again, and refusals."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from hlmat.pipelines.cli.main import EXIT_CONFIG, EXIT_OK, EXIT_OUTPUT, main
from hlmat.transforms.tiny_vlm import pretraining
from hlmat.transforms.torch_support.device import describe_arithmetic

SMALL = [
    *("--image-size", "64", "--patch", "16", "--vision-width", "16", "--vision-depth", "1"),
    *("--width", "32", "--depth", "1", "--heads", "2", "--steps", "2", "--batch", "2"),
    *("--tower-steps", "1"),
    *("--shapes-images", "4", "--shapes-objects", "1-2"),
]


def build(out: Path, *flags: str) -> int:
    return main(["mini-base", *SMALL, "--out", str(out), *flags])


@pytest.mark.slow
def test_a_model_is_built_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "base"
    assert build(out) == EXIT_OK
    said = capsys.readouterr().err
    assert f"training in {describe_arithmetic('cpu')}; drawing 4 images first" in said
    assert "step 2/2  right on held-out images: colour" in said
    record = json.loads((out / "mini_base.json").read_text())
    assert record["settings"]["pretraining"]["steps"] == 2
    assert list(record["held_out_accuracy"]) == sorted(
        ["colour", "kind", "pattern", "action", "x0", "x1", "y0", "y1", "click"]
    )
    made = (out / "model.safetensors").stat().st_mtime_ns
    assert build(out, "-q") == EXIT_OK
    assert (out / "model.safetensors").stat().st_mtime_ns == made
    assert build(out, "--seed", "3", "--json") == EXIT_OUTPUT
    message = capsys.readouterr().err
    assert "holds a model made with other settings" in message
    assert "pretraining seed: it was 0, now 3" in message
    assert build(out, "--seed", "3", "-q", "--overwrite") == EXIT_OK
    assert [p.name for p in tmp_path.iterdir()] == ["base"]


@pytest.mark.slow
def test_a_stopped_training_leaves_progress_that_the_next_one_continues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "REPORT_EVERY", 1)
    seen: list[int] = []
    update = pretraining.Pretraining.update

    def stopping(self: pretraining.Pretraining, scenes: Any) -> None:
        seen.append(self.step)
        if seen == [0, 1]:
            raise KeyboardInterrupt
        update(self, scenes)

    monkeypatch.setattr(pretraining.Pretraining, "update", stopping)
    out = tmp_path / "base"
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        build(out, "-q")
    (progress,) = tmp_path.iterdir()
    assert progress.name.startswith("base.")
    assert progress.suffix == ".progress"
    progress.rename(tmp_path / "kept")
    (tmp_path / progress.name).write_bytes(b"no")
    assert build(out, "-q") == EXIT_OUTPUT
    assert "cannot be continued" in capsys.readouterr().err
    (tmp_path / "kept").rename(progress)
    assert build(out, "-q") == EXIT_OK
    assert seen == [0, 1, 1]
    assert [p.name for p in tmp_path.iterdir()] == ["base"]


def test_another_folder_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("")
    assert build(tmp_path, "--overwrite") == EXIT_OUTPUT
    assert "is not a model that hlmat mini-base made" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").exists()


def test_all_wrong_flags_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--steps", "x", "--learning-rate", "7", "--shapes-objects", "many"]
    assert main(["mini-base", *flags]) == EXIT_CONFIG
    assert capsys.readouterr().err.splitlines() == [
        "hlmat: error: --steps 'x': expected a whole number of at least 0",
        "hlmat: error: --learning-rate 7: must be between 0 and 1",
        "hlmat: error: --shapes-objects 'many': expected MIN-MAX, as 2-5",
        "hlmat: error: --out is missing or a URL: name a folder on the local disk",
    ]
