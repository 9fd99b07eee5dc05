from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import builders
from hlmat.export.llama_factory.samples import Case, OtherRun, Sample
from hlmat.export.llama_factory.tasks import next_click, star_plus
from hlmat.export.llama_factory.tasks.star_plus import Lesson, Origin, lessons
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Click, Finish, NoObject, StopReason, Trajectory
from hlmat.transforms.masks.rle import decode_rle
from hlmat.transforms.oracle.click import oracle_click
from hlmat.transforms.policies.oracle import OraclePolicy
from hlmat.transforms.prompting.dialogues.protocol import Offer
from hlmat.transforms.rollout.episode import Episode, Limits
from hlmat.transforms.rollout.loop import roll_out
from hlmat.transforms.segmenters.disc import DiscSegmenter
from trajectory_cases import HALF, TRUTH, make_trajectory, thousandths

EMPTY = np.zeros_like(TRUTH)


def erring() -> builders.ScriptedPolicy:
    """A policy whose clicks gain nothing: it says of the object that it is none."""
    return builders.ScriptedPolicy(
        lambda state: Click(len(state.clicks), 0, is_positive=False), name="erring"
    )


def rolled(policy: Any, *, truth: Mask = TRUTH, max_clicks: int = 3, **limits: Any) -> Trajectory:
    limits = {"stop_on_no_gain": False, "target_iou": None} | limits
    first = make_trajectory(truth=truth)
    return roll_out(
        Episode(first.target, truth),
        image=np.zeros((*truth.shape, 3), np.uint8),
        segmenter=DiscSegmenter(radius=30),
        policy=policy,
        limits=Limits(max_clicks=max_clicks, **limits),
        provenance=builders.provenance("disc", policy.name),
    )


def improved(*rollouts: Trajectory, **options: Any) -> list[Sample]:
    runs = tuple(OtherRun(t, n, f"model-{n}") for n, t in enumerate(rollouts, start=1))
    return list(star_plus.samples(Case(make_trajectory(), also=runs), thousandths(**options)))


def state_of(trajectory: Trajectory, step: int) -> Mask:
    before = trajectory.mask_before(step)
    return EMPTY if before is None else decode_rle(before)


@st.composite
def truths(draw: st.DrawFn) -> Mask:
    x, y = draw(st.integers(30, 160)), draw(st.integers(25, 75))
    width, height = draw(st.integers(8, 60)), draw(st.integers(8, 40))
    truth = EMPTY.copy()
    truth[y - height // 2 : y + height // 2, x - width // 2 : x + width // 2] = True
    return truth


@settings(max_examples=20, deadline=None)
@given(truths())
def test_a_perfect_policy_adds_nothing_but_its_own_clicks(truth: Mask) -> None:
    trajectory = rolled(OraclePolicy(), truth=truth, stop_on_no_gain=True)
    gained = [k for k, s in enumerate(trajectory.steps) if s.gain > 0]
    taught = [each for each in lessons(trajectory) if each.origin is Origin.KEPT]
    assert [each.step for each in taught] == gained
    assert [each.action for each in taught] == [trajectory.steps[k].action for k in gained]
    for each in lessons(trajectory):
        expected = oracle_click(
            state_of(trajectory, each.step),
            truth,
            clicked=[
                s.action for s in trajectory.steps[: each.step] if isinstance(s.action, Click)
            ],
        )
        if isinstance(each.action, Click):
            assert each.action == expected


@settings(max_examples=20, deadline=None)
@given(truths(), st.booleans())
def test_a_policy_that_always_errs_yields_the_oracles_data(truth: Mask, no_gain: bool) -> None:
    trajectory = rolled(erring(), truth=truth, stop_on_no_gain=no_gain)
    taught = [each for each in lessons(trajectory) if isinstance(each.action, Click)]
    assert [each.origin for each in taught] == [Origin.CORRECTED] * len(taught)
    assert len(taught) == (1 if no_gain else 3)
    for each in taught:
        clicked = [s.action for s in trajectory.steps[: each.step] if isinstance(s.action, Click)]
        assert each.action == oracle_click(state_of(trajectory, each.step), truth, clicked=clicked)


def test_one_wrong_click_teaches_what_the_oracles_first_click_does() -> None:
    oracle = rolled(OraclePolicy(), max_clicks=1)
    wrong = rolled(erring(), max_clicks=1)
    options = thousandths()
    (first,) = next_click.samples(Case(oracle), options)
    (learnt,) = improved(wrong)
    (turn,), (expected,) = learnt.turns, first.turns
    assert turn.answer == expected.answer is not None
    assert turn.shown.mask == expected.shown.mask
    assert turn.turn_format is not None
    assert expected.turn_format is not None
    assert turn.turn_format.question("cup") == expected.turn_format.question("cup")


def test_what_a_rollout_teaches_step_by_step() -> None:
    wrong, good = Click(0, 0, True), Click(100, 50, True)
    trajectory = make_trajectory(
        clicks=((good, HALF), (wrong, EMPTY), (good, TRUTH)), stop_reason=StopReason.MAX_CLICKS
    )
    assert list(lessons(trajectory)) == [
        Lesson(0, good, Origin.KEPT),
        Lesson(1, oracle_click(HALF, TRUTH, clicked=[good]), Origin.CORRECTED),
        Lesson(2, good, Origin.KEPT),
        Lesson(3, None, Origin.END),
    ]


@pytest.mark.parametrize(
    ("stop_reason", "mask", "expected"),
    [
        (StopReason.FINISHED, HALF, Lesson(1, Click(74, 49, True), Origin.CORRECTED)),
        (StopReason.FINISHED, TRUTH, Lesson(1, Finish(), Origin.KEPT)),
        (StopReason.INVALID_ACTION, HALF, Lesson(1, Click(74, 49, True), Origin.CORRECTED)),
        (StopReason.INVALID_ACTION, TRUTH, Lesson(1, Finish(), Origin.CORRECTED)),
        (StopReason.NO_GAIN, HALF, Lesson(1, Click(74, 49, True), Origin.CORRECTED)),
        (StopReason.REACHED_IOU, TRUTH, Lesson(1, Finish(), Origin.END)),
        (StopReason.MAX_CLICKS, HALF, Lesson(1, None, Origin.END)),
    ],
)
def test_the_end_of_a_rollout(stop_reason: StopReason, mask: Mask, expected: Lesson) -> None:
    trajectory = make_trajectory(clicks=((Click(100, 50, True), mask),), stop_reason=stop_reason)
    found = list(lessons(trajectory))[-1]
    if isinstance(expected.action, Click):
        expected = dataclasses.replace(
            expected, action=oracle_click(mask, TRUTH, clicked=[Click(100, 50, True)])
        )
    assert found == expected


def test_an_answer_that_cannot_be_read_at_the_start_gives_the_oracles_first_click() -> None:
    trajectory = make_trajectory(clicks=(), stop_reason=StopReason.INVALID_ACTION)
    assert list(lessons(trajectory)) == [Lesson(0, oracle_click(EMPTY, TRUTH), Origin.CORRECTED)]


def test_every_row_records_its_origin() -> None:
    first = make_trajectory()
    second = make_trajectory(clicks=((Click(0, 0, True), EMPTY),))
    rows = [sample.columns for sample in improved(first, second, turn_format={"with_finish": True})]
    assert rows == [
        {"step": 0, "origin": "kept", "round": 1, "model": "model-1"},
        {"step": 1, "origin": "kept", "round": 1, "model": "model-1"},
        {"step": 2, "origin": "end", "round": 1, "model": "model-1"},
        {"step": 0, "origin": "corrected", "round": 2, "model": "model-2"},
        {"step": 1, "origin": "end", "round": 2, "model": "model-2"},
    ]


def test_answers_carry_the_score_of_the_mask_shown() -> None:
    trajectory = make_trajectory(stop_reason=StopReason.MAX_CLICKS)
    scored = improved(trajectory, turn_format={"with_score": True})
    answers = [sample.turns[0].answer for sample in scored]
    assert answers[0] == "Current IOU: 0.0, Positive point: (502, 505)"
    assert answers[1] is not None
    assert answers[1].startswith("Current IOU: 50.0, Negative point: ")
    assert answers[2] == "Current IOU: 100.0"
    assert len(improved(trajectory)) == 2


def test_rounds_share_the_bare_image_and_no_other_image() -> None:
    samples = improved(make_trajectory(), make_trajectory(stop_reason=StopReason.NO_GAIN))
    shown = [sample.turns[0].shown for sample in samples]
    assert [each.label for each in shown if each.mask is None] == ["round01-00", "round02-00"]
    assert len({each.label for each in shown}) == len(shown)


@pytest.mark.parametrize(
    ("reason", "origin"),
    [
        (StopReason.NO_OBJECT, Origin.KEPT),
        (StopReason.FINISHED, Origin.CORRECTED),
        (StopReason.INVALID_ACTION, Origin.CORRECTED),
    ],
)
def test_no_object_is_learnt_where_there_is_none(reason: StopReason, origin: Origin) -> None:
    rollout = builders.trajectory(builders.target(EMPTY), stop_reason=reason)
    assert list(lessons(rollout, Offer(no_object=True))) == [Lesson(0, NoObject(), origin)]
    without = Origin.KEPT if reason is StopReason.FINISHED else Origin.CORRECTED
    assert list(lessons(rollout)) == [Lesson(0, Finish(), without)]


def test_no_object_is_corrected_where_there_is_one() -> None:
    rollout = builders.trajectory(builders.target(TRUTH), stop_reason=StopReason.NO_OBJECT)
    click = oracle_click(EMPTY, TRUTH)
    assert list(lessons(rollout, Offer(no_object=True))) == [Lesson(0, click, Origin.CORRECTED)]
