from __future__ import annotations

import dataclasses
from typing import Any

from hlmat.export.llama_factory.samples import Case, Sample
from hlmat.export.llama_factory.tasks import multi_turn
from hlmat.transforms.core.records import Trajectory
from trajectory_cases import make_trajectory, thousandths


def conversation(trajectory: Trajectory, **turn_format: Any) -> Sample:
    (sample,) = multi_turn.samples(Case(trajectory), thousandths(turn_format=turn_format))
    return sample


def test_a_trajectory_is_one_conversation_with_an_image_in_each_turn() -> None:
    trajectory = make_trajectory()
    sample = conversation(trajectory)
    assert sample.columns == {"steps": [0, 1]}
    assert [turn.answer for turn in sample.turns] == [
        "Positive point: (502, 505)",
        "Negative point: (997, 995)",
    ]
    masks = [turn.shown.mask for turn in sample.turns]
    assert masks == [None, trajectory.steps[0].mask]
    # the question is asked once
    assert [turn.turn_format is not None for turn in sample.turns] == [True, False]


def test_an_initial_action_is_no_turn() -> None:
    assert conversation(make_trajectory(boxed=True)).columns == {"steps": [1, 2]}


def test_it_ends_with_finish_and_has_scores_as_the_turn_format_says() -> None:
    sample = conversation(make_trajectory(), with_finish=True, with_score=True)
    assert [turn.answer for turn in sample.turns] == [
        "Current IOU: 0.0, Positive point: (502, 505)",
        "Current IOU: 50.0, Negative point: (997, 995)",
        "Current IOU: 100.0, Finish",
    ]


def test_a_trajectory_without_a_click_is_no_conversation() -> None:
    empty = dataclasses.replace(make_trajectory(), steps=())
    assert list(multi_turn.samples(Case(empty), thousandths())) == []
