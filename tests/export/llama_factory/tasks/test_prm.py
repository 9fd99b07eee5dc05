from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from hlmat.export.llama_factory.samples import Case
from hlmat.export.llama_factory.tasks import prm
from hlmat.transforms.core.records import StopReason, Trajectory
from hlmat.transforms.prompting.coordinates import build_codec
from hlmat.transforms.prompting.dialogues.segagent import parse_action
from hlmat.transforms.prompting.predicted_iou import render_predicted_iou
from hlmat.transforms.prompting.templates import PromptTemplate
from trajectory_cases import make_trajectory, thousandths


def rows(trajectory: Trajectory, **turn_format: Any) -> list[tuple[int, str | None, str]]:
    """List step, answer and the beginning of the question."""
    options = thousandths(
        turn_format=turn_format, score_prompt=PromptTemplate("<image>{expression}?")
    )
    samples = list(prm.samples(Case(trajectory), options))
    result = []
    for sample in samples:
        (turn,) = sample.turns
        assert turn.turn_format is not None
        question = turn.turn_format.question("cup")
        result.append((sample.columns["step"], turn.answer, question[:14]))
        assert turn.shown.mask == trajectory.mask_before(sample.columns["step"])
    return result


def test_the_score_judges_the_mask_before_the_click_and_the_last_mask_is_judged_too() -> None:
    assert rows(make_trajectory()) == [
        (0, "Current IOU: 0.0, Positive point: (502, 505)", "<image>\nSegmen"),
        (1, "Current IOU: 50.0, Negative point: (997, 995)", "<image>\nSegmen"),
        (2, "Current IOU: 100.0", "<image>cup?"),
    ]


def test_the_last_mask_is_judged_before_finish_where_the_turn_format_has_it() -> None:
    last = rows(make_trajectory(), with_finish=True)[-1]
    assert last == (2, "Current IOU: 100.0, Finish", "<image>\nSegmen")


def test_a_trajectory_that_ran_out_of_clicks_does_not_teach_finish() -> None:
    made = rows(make_trajectory(stop_reason=StopReason.MAX_CLICKS), with_finish=True)
    assert made[-1] == (2, "Current IOU: 100.0", "<image>cup?")
    assert len(made) == 3


def test_an_initial_mask_is_judged_before_the_click_after_it() -> None:
    made = rows(make_trajectory(boxed=True))
    assert [(step, answer) for step, answer, _ in made[:1]] == [
        (1, "Current IOU: 50.0, Positive point: (502, 505)")
    ]


def test_without_steps_there_is_nothing_to_judge() -> None:
    assert rows(dataclasses.replace(make_trajectory(), steps=()), with_finish=True) == []


@pytest.mark.parametrize("iou", [0.0, 0.852, 0.9996, 1.0])
def test_a_score_is_written_as_before_an_action(iou: float) -> None:
    codec = build_codec("decimal")
    read = parse_action(f"{render_predicted_iou(iou)}, Finish", size_hw=(9, 9), codec=codec)
    assert read.predicted_iou == pytest.approx(iou, abs=0.0005)


@pytest.mark.parametrize("iou", [-0.01, 1.01, float("nan")])
def test_a_score_outside_the_range_is_refused(iou: float) -> None:
    with pytest.raises(ValueError, match=r"an IoU must be in \[0, 1\]"):
        render_predicted_iou(iou)
