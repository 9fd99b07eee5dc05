"""The pre-training learns pictures and texts, in the same way each time, and can be continued."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hlmat.transforms.tiny_vlm.options import PretrainingOptions
from hlmat.transforms.tiny_vlm.pretraining import learning_rate_share
from hlmat.transforms.tiny_vlm.report import PretrainingReport
from small_pretrainings import SCENES, prepared


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
        stopped.update(SCENES)
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
