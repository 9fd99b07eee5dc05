from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

import builders
from hlmat.export.llama_factory.samples import Case, Sample
from hlmat.export.llama_factory.tasks import multi_turn
from hlmat.export.llama_factory.tasks.star_plus import Origin, lessons
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import Click, Trajectory, Undo
from hlmat.transforms.masks.rle import encode_mask
from hlmat.transforms.prompting.dialogues.protocol import Offer
from hlmat.transforms.prompting.dialogues.registry import load_dialogue
from trajectory_cases import HALF, TRUTH, make_trajectory, thousandths


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


def edited() -> Trajectory:
    """A click off the object, taken back, and one on it."""
    empty = np.zeros_like(TRUTH)
    actions = ((Click(9, 9, True), ~TRUTH), (Undo(), empty), (Click(100, 50, True), TRUTH))
    return dataclasses.replace(make_trajectory(), steps=builders.steps(TRUTH, *actions))


def test_a_step_back_is_a_turn_where_answers_can_say_it() -> None:
    tools = {"dialogue": load_dialogue("tools"), "with_undo": True}
    sample = conversation(edited(), **tools)
    assert [json.loads((turn.answer or "").split("\n")[1])["name"] for turn in sample.turns] == [
        "add_point",
        "undo",
        "add_point",
    ]
    with pytest.raises(DataError, match=r"takes an action back in step 2.*--undo with --dialogue"):
        conversation(edited())


def test_a_correction_keeps_a_step_back_that_helped_only_where_it_can_be_said() -> None:
    said = [
        [(lesson.origin, lesson.action) for lesson in lessons(edited(), offer)]
        for offer in (Offer(undo=True), Offer())
    ]
    for each in said:
        assert [origin for origin, _ in each[:1]] == [Origin.CORRECTED]
    assert said[0][1][0] is Origin.CORRECTED  # from IoU 0 to IoU 0 it gained nothing
    helped = dataclasses.replace(edited(), initial_mask=encode_mask(HALF), initial_iou=0.5)
    back = dataclasses.replace(helped.steps[1], mask=encode_mask(HALF), iou=0.5, gain=0.5)
    helped = dataclasses.replace(helped, steps=(helped.steps[0], back, helped.steps[2]))
    kept = list(lessons(helped, Offer(undo=True)))[1]
    assert (kept.origin, kept.action) == (Origin.KEPT, Undo())
    replaced = list(lessons(helped, Offer()))[1]
    assert replaced.origin is Origin.CORRECTED
    assert isinstance(replaced.action, Click)
