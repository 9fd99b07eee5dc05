"""Actions taken back and boxes drawn later on: what returns, what counts, what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders
from builders import ScriptedPolicy
from hlmat.transforms.core.protocols import Prediction, Request, State
from hlmat.transforms.core.records import (
    Answer,
    Box,
    Click,
    Finish,
    StopReason,
    Trajectory,
    Undo,
    actions_in_effect,
)
from hlmat.transforms.masks.rle import decode_rle
from hlmat.transforms.rollout.loop import Episode, ImageEpisodes, Limits, roll_out
from hlmat.transforms.rollout.options import SearchOptions
from hlmat.transforms.rollout.tree_search import search_all
from hlmat.transforms.segmenters.graphcut import GraphCutSegmenter

SIZE = (8, 10)
IMAGE = np.zeros((*SIZE, 3), dtype=np.uint8)
PROVENANCE = builders.provenance("chained", "scripted")
UP_TO_ALL = Limits(max_clicks=9, target_iou=None, stop_on_no_gain=False)


class ChainedSegmenter:
    """Paint clicks and box; the feedback is the chain of all requests that led to it."""

    def __init__(self, *, takes_boxes: bool = True) -> None:
        self.takes_boxes = takes_boxes
        self.asked: list[Request] = []

    def set_image(self, image: Any) -> None: ...

    def predict(
        self, *, clicks: Sequence[Click], box: Box | None = None, feedback: Any = None
    ) -> Prediction:
        self.asked.append(Request(tuple(clicks), box, feedback))
        mask = np.zeros(SIZE, np.bool_)
        if box is not None:
            mask[box.y0 : box.y1, box.x0 : box.x1] = True
        for click in clicks:
            mask[click.y, :] = click.is_positive
        return Prediction(mask, score=len(self.asked) / 100, feedback=(feedback, len(self.asked)))


class Editor(ScriptedPolicy):
    """Take the actions of a list in turn, then finish; `seen` are the states."""

    edits = frozenset({Undo, Box})

    def __init__(self, actions: Sequence[Any], *, initial: tuple[Click, ...] = ()) -> None:
        super().__init__(self.take, initial=initial)
        self.actions = actions
        self.seen: list[State] = []

    def take(self, state: State) -> Any:
        self.seen.append(state)
        return self.actions[state.turn] if state.turn < len(self.actions) else Finish()


def episode(**changes: Any) -> Episode:
    truth = builders.columns(5, size_hw=SIZE)
    return Episode(builders.target(truth, "t"), truth, **changes)


def run(
    policy: Any, segmenter: Any = None, *, limits: Limits = UP_TO_ALL, **changes: Any
) -> Trajectory:
    return roll_out(
        episode(**changes),
        image=IMAGE,
        segmenter=segmenter or ChainedSegmenter(),
        policy=policy,
        limits=limits,
        provenance=PROVENANCE,
    )


CLICKS = st.builds(Click, st.integers(0, 9), st.integers(0, 7), st.booleans())
BOXES = st.builds(
    lambda x, y, w, h: Box(x, y, min(10, x + w), min(8, y + h)),
    st.integers(0, 9),
    st.integers(0, 7),
    st.integers(1, 9),
    st.integers(1, 7),
)


@st.composite
def scripts(draw: st.DrawFn) -> list[Click | Box | Undo]:
    """Up to nine actions, in which an undo always has something to take back."""
    actions: list[Click | Box | Undo] = []
    for _ in range(draw(st.integers(1, 9))):
        can_undo = bool(actions_in_effect(actions))
        kinds = [CLICKS, BOXES, *([st.just(Undo())] * 2 if can_undo else [])]
        actions.append(draw(st.one_of(kinds)))
    return actions


@given(script=scripts(), begins_with_mask=st.booleans(), begins_with_box=st.booleans())
def test_an_undo_brings_back_the_mask_the_clicks_the_box_and_the_feedback(
    script: list[Any], begins_with_mask: bool, begins_with_box: bool
) -> None:
    mask = builders.columns(2, size_hw=SIZE) if begins_with_mask else None
    box = Box(1, 1, 3, 3) if begins_with_box else None
    policy, segmenter = Editor(script), ChainedSegmenter()
    trajectory = run(policy, segmenter, initial_mask=mask, initial_box=box)
    steps = trajectory.steps[int(begins_with_box) :]
    assert [step.action for step in steps] == script
    assert trajectory.stop_reason in (StopReason.FINISHED, StopReason.MAX_CLICKS)
    # What each action in effect would find again, were it taken back.
    before: list[tuple[Any, Any, float]] = []
    for step, seen in zip(steps, policy.seen, strict=False):
        shown = (seen.mask.tobytes(), seen.clicks, trajectory.iou_before(_place(trajectory, step)))
        if isinstance(step.action, Undo):
            returned = before.pop()
            assert decode_rle(step.mask).tobytes() == returned[0]
            assert step.iou == returned[2]
            assert step.gain == step.iou - shown[2]
        else:
            before.append(shown)
    for index, seen in enumerate(policy.seen):
        given_back = trajectory.clicks_before(index + int(begins_with_box))
        assert (seen.clicks, seen.turn) == (given_back, index)
    # The segmenter was asked as if what was taken back had never been.
    kept = list(actions_in_effect(script))
    plain = ChainedSegmenter()
    again = run(Editor(kept), plain, initial_mask=mask, initial_box=box)
    assert again.last_mask == (trajectory.last_mask if kept or begins_with_box else again.last_mask)
    assert again.final_iou == trajectory.final_iou
    asked = sum(not isinstance(action, Undo) for action in script) + int(begins_with_box)
    assert trajectory.decoder_calls == len(segmenter.asked) == asked
    if kept:
        last, expected = _request_of_last_kept(script, segmenter, begins_with_box), plain.asked[-1]
        assert (last.clicks, last.box) == (expected.clicks, expected.box)
        assert _depth(last.feedback) == _depth(expected.feedback)


def _place(trajectory: Trajectory, step: Any) -> int:
    return next(k for k, each in enumerate(trajectory.steps) if each is step)


def _request_of_last_kept(script: list[Any], segmenter: ChainedSegmenter, has_box: bool) -> Request:
    """The request of the last action that stayed in effect."""
    stack: list[int] = []
    asked = int(has_box)
    for action in script:
        if isinstance(action, Undo):
            stack.pop()
        else:
            stack.append(asked)
            asked += 1
    return segmenter.asked[stack[-1]]


def _depth(feedback: Any) -> int:
    return 0 if feedback is None else 1 + _depth(feedback[0])


@pytest.mark.parametrize(
    ("script", "initial"),
    [
        ([Undo()], ()),
        ([Undo()], (Click(1, 1, True),)),
        ([Click(1, 1, True), Undo(), Undo()], ()),
    ],
)
def test_nothing_to_undo_is_an_invalid_answer(script: list[Any], initial: tuple[Any, ...]) -> None:
    trajectory = run(Editor(script, initial=initial))
    assert trajectory.stop_reason is StopReason.INVALID_ACTION
    assert trajectory.stop_detail == "nothing to undo: no action of this rollout is in effect"
    assert len(trajectory.steps) == len(initial) + len(script) - 1


def test_a_box_at_the_beginning_cannot_be_taken_back() -> None:
    trajectory = run(Editor([Undo()]), initial_box=Box(0, 0, 2, 2))
    assert trajectory.stop_detail == "nothing to undo: no action of this rollout is in effect"


def test_undos_count_against_the_clicks_and_are_no_calls_of_the_segmenter() -> None:
    script = [Click(0, 1, True), Undo(), Click(0, 2, True), Undo()]
    trajectory = run(Editor(script), limits=Limits(3, target_iou=None, stop_on_no_gain=False))
    assert trajectory.stop_reason is StopReason.MAX_CLICKS
    assert (len(trajectory.steps), trajectory.num_clicks, trajectory.decoder_calls) == (3, 3, 2)


def test_an_undo_has_the_answer_that_asked_for_it_and_the_score_of_what_returned() -> None:
    said = [
        Answer("a", Click(0, 1, True), 0.1),
        Answer("b", Click(0, 2, True), 0.2),
        Answer("c", Undo(), 0.3),
    ]
    steps = run(Editor(said)).steps
    assert [(s.answer, s.predicted_iou, s.score) for s in steps] == [
        ("a", 0.1, 0.01),
        ("b", 0.2, 0.02),
        ("c", 0.3, 0.01),
    ]


def test_only_a_policy_that_says_so_may_undo_or_draw() -> None:
    for action, problem in (
        (Undo(), "an undo where a click was asked for"),
        (Box(0, 0, 2, 2), "a box where a click was asked for"),
    ):
        trajectory = run(ScriptedPolicy({0: action}))
        assert trajectory.stop_reason is StopReason.INVALID_ACTION
        assert trajectory.stop_detail == problem


def test_a_later_box_goes_to_the_segmenter_with_the_clicks() -> None:
    segmenter = ChainedSegmenter()
    click, box = Click(0, 1, True), Box(2, 2, 5, 6)
    trajectory = run(Editor([click, box, Click(3, 3, False)]), segmenter)
    assert [(r.clicks, r.box) for r in segmenter.asked] == [
        ((click,), None),
        ((click,), box),
        ((click, Click(3, 3, False)), box),
    ]
    assert [step.is_initial for step in trajectory.steps] == [False] * 3
    assert trajectory.num_clicks == 3


@pytest.mark.parametrize(
    ("box", "takes_boxes", "problem"),
    [
        (Box(0, 0, 11, 4), True, "is not a box within the image"),
        (Box(0, 0, 4, 4), False, "a box, which this segmenter does not take"),
    ],
)
def test_a_box_that_cannot_be_used_is_an_invalid_answer(
    box: Box, takes_boxes: bool, problem: str
) -> None:
    policy, segmenter = Editor([Click(0, 1, True), box]), ChainedSegmenter(takes_boxes=takes_boxes)
    trajectory = run(policy, segmenter)
    assert trajectory.stop_reason is StopReason.INVALID_ACTION
    assert problem in (trajectory.stop_detail or "")
    assert len(trajectory.steps) == 1


class Sampling(Editor):
    """The same actions, in a search."""

    def sample_actions(self, states: Sequence[State], *, count: int, temperature: float) -> Any:
        return [[self.decide(state)] * count for state in states]


@given(script=scripts())
def test_a_search_with_one_candidate_takes_the_same_steps(script: list[Any]) -> None:
    ((found,),) = search_all(
        [ImageEpisodes(IMAGE, [episode()])],
        segmenter=ChainedSegmenter(),
        policy=Sampling(script),
        limits=UP_TO_ALL,
        provenance=PROVENANCE,
        options=SearchOptions(),
    )
    assert found == run(Editor(script))


def test_graph_cuts_go_on_from_what_returned_as_if_nothing_had_been() -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros((60, 80), np.bool_)
    truth[10:50, 20:60] = True
    image = np.where(truth[..., None], (200, 60, 40), (30, 90, 160)).astype(np.uint8)
    image = (image + rng.integers(0, 30, image.shape)).astype(np.uint8)
    first, wrong, last = Click(25, 15, True), Click(50, 40, False), Click(5, 5, False)
    kept, edited = (
        roll_out(
            Episode(builders.target(truth, "t"), truth),
            image=image,
            segmenter=GraphCutSegmenter(),
            policy=Editor(actions),
            limits=UP_TO_ALL,
            provenance=PROVENANCE,
        )
        for actions in (
            [first, last],
            [first, wrong, Box(0, 0, 30, 30), Undo(), Undo(), last],
        )
    )
    assert edited.steps[4].mask == edited.steps[0].mask == kept.steps[0].mask
    assert edited.steps[-1].mask == kept.steps[-1].mask
