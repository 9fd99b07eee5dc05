"""Build the small base model: it trains, saves and loads; the seed determines the weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.readers.shapes.scene import ShapesOptions
from hlmat.transforms.tiny_vlm import rehearsal
from hlmat.transforms.tiny_vlm.build import build_tiny_vlm
from hlmat.transforms.tiny_vlm.dense_heads import QUESTIONS
from hlmat.transforms.tiny_vlm.options import PretrainingOptions, TinyVlmArchitecture
from hlmat.transforms.tiny_vlm.report import PretrainingReport
from hlmat.transforms.torch_support.device import describe_arithmetic

SMALL = TinyVlmArchitecture(
    image=64, patch=16, vision_width=32, width=32, depth=1, vision_depth=2, heads=2
)
PICTURES = ShapesOptions(count=8, height=64, width=64, difficulty="simple", objects_max=2)


def build(folder: Path, *, steps: int, seed: int = 0) -> list[PretrainingReport]:
    folder.mkdir()
    reports: list[PretrainingReport] = []
    build_tiny_vlm(
        str(folder),
        SMALL,
        PretrainingOptions(steps=steps, tower_steps=steps // 2, batch=4, warm_up=2, seed=seed),
        images=PICTURES,
        held_out=replace(PICTURES, count=4),
        device="cpu",
        report=reports.append,
    )
    return reports


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_the_folder_loads_in_transformers_own_classes(tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    (report,) = build(tmp_path / "model", steps=4)
    assert report.step == 4
    assert list(report.seen) == list(QUESTIONS)
    assert list(report.answered) == ["click", "action"]
    shares = [*report.seen.values(), *report.answered.values()]
    assert all(0 <= share <= 1 for share in shares)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "model")
    assert type(model).__name__ == "Qwen3VLForConditionalGeneration"
    assert type(AutoProcessor.from_pretrained(tmp_path / "model")).__name__ == "Qwen3VLProcessor"


def test_a_seed_gives_one_model(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        build(tmp_path / name, steps=3, seed=seed)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


def test_the_time_is_said_before_a_training_that_takes_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "LEAST_STEPS", 2)
    monkeypatch.setattr(
        rehearsal, "measure_steps", lambda *_: rehearsal.StepSeconds(tower=60.0, texts=90.0)
    )
    lines: list[str] = []
    build_tiny_vlm(
        str(tmp_path),
        SMALL,
        PretrainingOptions(steps=2, tower_steps=1, batch=2, warm_up=2),
        images=PICTURES,
        held_out=replace(PICTURES, count=2),
        device="cpu",
        report=lambda _: None,
        note=lines.append,
    )
    assert lines == [
        f"training in {describe_arithmetic('cpu')}; drawing 8 images first",
        "2 steps, 1 of the vision tower alone at 60.00 s and 1 with texts at 90.00 s: "
        "about 2 minutes",
    ]


def test_without_steps_the_weights_stay_random(tmp_path: Path) -> None:
    assert build(tmp_path / "model", steps=0) == []
    assert len(weights(tmp_path / "model")) > 10_000


def test_a_missing_gpu_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--device cuda: torch sees no CUDA device"):
        build_tiny_vlm(
            str(tmp_path),
            SMALL,
            PretrainingOptions(),
            images=PICTURES,
            held_out=PICTURES,
            device="cuda",
            report=lambda _: None,
        )


def test_options_report_every_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        PretrainingOptions(steps=-1, batch=0, learning_rate=2.0)
    assert caught.value.problems == (
        "PretrainingOptions.steps -1: must be at least 0",
        "PretrainingOptions.batch 0: must be at least 1",
        "PretrainingOptions.learning_rate 2: must be between 0 and 1",
    )
