"""The time of a pre-training is measured on steps that leave no trace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from hlmat.transforms.tiny_vlm.options import PretrainingOptions
from hlmat.transforms.tiny_vlm.rehearsal import (
    StepSeconds,
    measure_steps,
    say_time_left,
    steps_left,
)
from small_pretrainings import SCENES, prepared


@pytest.mark.parametrize("made", [0, 3])
def test_measured_steps_change_no_weight(made: int) -> None:
    settings = {"steps": 4, "tower_steps": 2, "warm_up": 2}
    plain, measured = prepared(**settings), prepared(**settings)
    for _ in range(made):
        plain.update(SCENES)
        measured.update(SCENES)
    measure_steps(measured, SCENES)
    assert measured.step == made
    for pretraining in (plain, measured):
        pretraining.run(SCENES, SCENES, report=lambda _: None)
    theirs = measured.model.state_dict()
    for name, weight in plain.model.state_dict().items():
        assert torch.equal(weight, theirs[name]), name


def test_each_kind_of_step_has_its_own_time() -> None:
    def times(*values: float) -> Iterator[float]:
        yield from values

    pretraining = prepared(steps=4, tower_steps=2)
    clock = times(0.0, 3.0, 10.0, 18.0)
    found = measure_steps(pretraining, SCENES, clock=lambda: next(clock))
    assert found == StepSeconds(tower=1.5, texts=4.0)
    alone = prepared(steps=4, tower_steps=9)
    clock = times(0.0, 3.0)
    found = measure_steps(alone, SCENES, clock=lambda: next(clock))
    assert found == StepSeconds(tower=1.5, texts=0.0)


def test_the_steps_left_are_said_with_their_time() -> None:
    options = PretrainingOptions(steps=3800, tower_steps=2600)
    seconds = StepSeconds(tower=0.26, texts=0.6)
    assert say_time_left(seconds, step=0, options=options) == (
        "3,800 steps, 2,600 of the vision tower alone at 0.26 s and 1,200 with texts at 0.60 s: "
        "about 23 minutes"
    )
    assert say_time_left(seconds, step=3000, options=options) == (
        "800 steps, 800 with texts at 0.60 s: about 8 minutes"
    )
    assert steps_left(2599, options) == (1, 1200)
    assert steps_left(100, PretrainingOptions(steps=300, tower_steps=400)) == (200, 0)
