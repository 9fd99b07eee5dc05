"""The pre-training learns pictures and texts, in the same way each time, and can be continued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hlmat.transforms.readers.shapes.scene import ShapesOptions
from hlmat.transforms.tiny_vlm.architecture import build_tiny_vlm_model, build_tiny_vlm_tokenizer
from hlmat.transforms.tiny_vlm.build import prepare_pretraining
from hlmat.transforms.tiny_vlm.options import PretrainingOptions, TinyVlmArchitecture
from hlmat.transforms.tiny_vlm.pretraining import Pretraining, learning_rate_share
from hlmat.transforms.tiny_vlm.report import PretrainingReport
from hlmat.transforms.tiny_vlm.scenes import label_scenes
from hlmat.transforms.torch_support.torchvision import ensure_importable

ensure_importable()
SIZE = TinyVlmArchitecture(
    image=64, patch=16, vision_width=48, vision_depth=2, width=48, depth=2, heads=2
)
TOKENIZER: Any = build_tiny_vlm_tokenizer()
SCENES = label_scenes(
    ShapesOptions(count=6, height=64, width=64, objects_min=2, objects_max=2, difficulty="simple"),
    split="train",
    tokenizer=TOKENIZER,
)


def prepared(**settings: Any) -> Pretraining:
    torch.manual_seed(0)
    model = build_tiny_vlm_model(SIZE, TOKENIZER)
    return prepare_pretraining(model, TOKENIZER, SIZE, PretrainingOptions(batch=8, **settings))


@pytest.mark.slow
def test_answers_to_texts_are_learned() -> None:
    reports: list[PretrainingReport] = []
    pretraining = prepared(steps=200, tower_steps=70, texts=4, mask_share=0.3, learning_rate=0.005)
    pretraining.run(SCENES, SCENES, report=reports.append)
    assert [r.step for r in reports] == [200]
    # Twelve colours and twelve kinds; two objects, of which one is named.
    assert reports[-1].seen["colour"] > 0.9
    assert reports[-1].seen["kind"] > 0.6
    assert reports[-1].answered["click"] > 0.7
    assert reports[-1].answered["action"] > 0.6


def test_a_stopped_training_continues_to_the_same_weights(tmp_path: Path) -> None:
    settings = {"steps": 4, "tower_steps": 2, "warm_up": 2}
    whole = prepared(**settings)
    whole.run(SCENES, SCENES, report=lambda _: None)
    path = tmp_path / "progress"
    stopped = prepared(**settings)
    for _ in range(2):
        stopped._update(SCENES)
        stopped.step += 1
    stopped.save(str(path))
    continued = prepared(**settings)
    continued.load(str(path))
    assert continued.step == 2
    continued.run(SCENES, SCENES, report=lambda _: None)
    theirs = continued.model.state_dict()
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, theirs[name]), name


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    path.write_bytes(b"no")
    with pytest.raises(ValueError, match=r"progress cannot be continued"):
        prepared(steps=1).load(str(path))


def test_rates_rise_stay_and_fall_with_the_tower_as_one_half() -> None:
    options = PretrainingOptions(steps=1000, tower_steps=800, warm_up=10)
    assert learning_rate_share(0, options) == pytest.approx(0.1)
    assert learning_rate_share(400, options) == 1.0
    assert learning_rate_share(800, options) == pytest.approx(0.5 / 0.65)
    assert learning_rate_share(900, options) == pytest.approx(0.25 / 0.65)
    alone = PretrainingOptions(steps=100, tower_steps=200, warm_up=1)
    assert learning_rate_share(50, alone) == pytest.approx(0.5 / 0.65)
    texts = PretrainingOptions(steps=100, tower_steps=0, warm_up=1)
    assert learning_rate_share(50, texts) == pytest.approx(0.5 / 0.65)
