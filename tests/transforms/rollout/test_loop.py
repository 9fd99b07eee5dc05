"""The loop: each stop rule, initial actions, batches, and segmenters that misbehave."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders
from builders import ScriptedPolicy, ScriptedSegmenter
from hlmat.transforms.core.errors import SegmenterError
from hlmat.transforms.core.protocols import Prediction, Request, State
from hlmat.transforms.core.records import (
    Answer,
    Box,
    Click,
    Finish,
    InvalidAction,
    NoObject,
    StopReason,
    Trajectory,
)
from hlmat.transforms.masks.rle import decode_rle, encode_mask
from hlmat.transforms.policies.initial_clicks import GridPolicy, RandomClicksPolicy
from hlmat.transforms.policies.oracle import OraclePolicy, RandomErrorPolicy
from hlmat.transforms.rollout.loop import Episode, ImageEpisodes, Limits, roll_out, roll_out_all

SIZE = (8, 10)
IMAGE = np.zeros((*SIZE, 3), dtype=np.uint8)
PROVENANCE = builders.provenance("scripted", "scripted")


def make_episode(name: str = "t", *, box: Box | None = None, ignore: Any = None) -> Episode:
    """A target whose truth is the left half of the image."""
    truth = columns(5)
    return Episode(builders.target(truth, name, "left", ignore=ignore), truth, ignore, box)


def columns(count: int) -> np.ndarray:
    """A mask of the first `count` columns: IoU count / 5 with the truth up to 5."""
    return builders.columns(count, size_hw=SIZE)


def run(masks: Sequence[np.ndarray], *, policy: Any = None, **limits: Any) -> Trajectory:
    return roll_out(
        make_episode(),
        image=IMAGE,
        segmenter=ScriptedSegmenter(masks),
        policy=policy or ScriptedPolicy(),
        limits=Limits(**limits),
        provenance=PROVENANCE,
    )


@pytest.mark.parametrize(("width", "iou"), [(5, 0.0), (0, 1.0)])
def test_no_object_leaves_an_empty_mask_whatever_was_there(width: int, iou: float) -> None:
    truth = columns(width)
    said = [Answer("here", Click(0, 0, True)), Answer("none", NoObject())]
    trajectory = roll_out(
        Episode(builders.target(truth, "t"), truth),
        image=IMAGE,
        segmenter=ScriptedSegmenter([columns(3)]),
        policy=ScriptedPolicy(dict(enumerate(said))),
        limits=Limits(max_clicks=5, stop_on_no_gain=False, target_iou=None),
        provenance=PROVENANCE,
    )
    assert trajectory.stop_reason is StopReason.NO_OBJECT
    assert (len(trajectory.steps), trajectory.last_answer) == (1, "none")
    assert (trajectory.last_mask, trajectory.final_iou) == (None, iou)


def test_reaching_the_iou_ends_and_records_the_click():
    trajectory = run([columns(2), columns(5), columns(5)], target_iou=0.9)
    assert trajectory.stop_reason is StopReason.REACHED_IOU
    assert [s.iou for s in trajectory.steps] == [0.4, 1.0]
    assert [s.gain for s in trajectory.steps] == [0.4, 0.6]
    assert np.array_equal(decode_rle(trajectory.steps[0].mask), columns(2))
    assert trajectory.mask_before(0) is None
    assert trajectory.mask_before(1) == trajectory.steps[0].mask


def test_a_click_without_gain_ends_and_is_not_recorded():
    trajectory = run([columns(2), columns(2)])
    assert trajectory.stop_reason is StopReason.NO_GAIN
    assert len(trajectory.steps) == 1


def test_a_first_click_without_gain_leaves_no_steps():
    trajectory = run([columns(0)])
    assert trajectory.stop_reason is StopReason.NO_GAIN
    assert trajectory.steps == ()
    assert trajectory.final_iou == 0.0


def test_gain_is_measured_against_the_best_so_far():
    trajectory = run(
        [columns(3), columns(1), columns(2), columns(4)], stop_on_no_gain=False, max_clicks=4
    )
    assert [round(s.gain, 6) for s in trajectory.steps] == [0.6, -0.4, 0.2, 0.4]
    assert trajectory.stop_reason is StopReason.MAX_CLICKS


def test_max_clicks_ends_after_the_last_is_recorded():
    trajectory = run([columns(1), columns(2), columns(3)], max_clicks=2)
    assert trajectory.stop_reason is StopReason.MAX_CLICKS
    assert trajectory.num_clicks == 2


def test_reaching_the_iou_with_the_last_click_is_reaching_it():
    trajectory = run([columns(1), columns(5)], max_clicks=2)
    assert trajectory.stop_reason is StopReason.REACHED_IOU


@pytest.mark.parametrize(
    ("action", "reason", "detail"),
    [
        (Finish(), StopReason.FINISHED, None),
        (NoObject(), StopReason.NO_OBJECT, None),
        (Finish(StopReason.NO_ERROR_LEFT), StopReason.NO_ERROR_LEFT, None),
        (InvalidAction("hello?", "no"), StopReason.INVALID_ACTION, "no"),
        (
            Click(10, 0, True),
            StopReason.INVALID_ACTION,
            "Click(x=10, y=0, is_positive=True) is outside the image",
        ),
    ],
)
def test_a_policy_can_end_it(action: Any, reason: StopReason, detail: str | None):
    trajectory = run([columns(1), columns(2)], policy=ScriptedPolicy({1: action}))
    assert trajectory.stop_reason is reason
    assert trajectory.stop_detail == detail
    assert len(trajectory.steps) == 1


def test_without_a_target_iou_a_perfect_mask_goes_on():
    trajectory = run([columns(5)] * 3, target_iou=None, stop_on_no_gain=False, max_clicks=3)
    assert trajectory.num_clicks == 3


def test_ignored_pixels_count_nowhere():
    ignore = np.zeros(SIZE, dtype=np.bool_)
    ignore[:, 3:7] = True
    trajectory = roll_out(
        make_episode(ignore=ignore),
        image=IMAGE,
        segmenter=ScriptedSegmenter([columns(6)]),
        policy=ScriptedPolicy(),
        limits=Limits(),
        provenance=PROVENANCE,
    )
    assert trajectory.final_iou == 1.0


def test_an_initial_box_is_a_step_but_no_click_and_stays_in_every_request():
    box = Box(0, 0, 4, 8)
    segmenter = ScriptedSegmenter([columns(4), columns(5)])
    trajectory = roll_out(
        make_episode(box=box),
        image=IMAGE,
        segmenter=segmenter,
        policy=ScriptedPolicy(),
        limits=Limits(),
        provenance=PROVENANCE,
    )
    assert [s.is_initial for s in trajectory.steps] == [True, False]
    assert trajectory.steps[0].action == box
    assert trajectory.num_clicks == 1
    assert [r.box for r in segmenter.asked] == [box, box]
    assert [r.feedback for r in segmenter.asked] == [None, ("after", 0)]


def test_a_box_that_is_good_enough_needs_no_click():
    trajectory = roll_out(
        make_episode(box=Box(0, 0, 5, 8)),
        image=IMAGE,
        segmenter=ScriptedSegmenter([columns(5)]),
        policy=ScriptedPolicy(),
        limits=Limits(),
        provenance=PROVENANCE,
    )
    assert trajectory.stop_reason is StopReason.REACHED_IOU
    assert trajectory.num_clicks == 0


def test_initial_clicks_are_recorded_without_gain_and_do_not_count():
    trajectory = run(
        [columns(3), columns(1), columns(2), columns(4)],
        policy=ScriptedPolicy(initial=(Click(0, 7, False), Click(1, 7, False))),
        max_clicks=1,
    )
    # The third mask (IoU 0.4) does not beat the best initial mask (0.6): the run ends without it.
    assert [s.is_initial for s in trajectory.steps] == [True, True]
    assert trajectory.stop_reason is StopReason.NO_GAIN


class FussySegmenter(ScriptedSegmenter):
    """Answers in batches; fails whenever a request's box starts at column 1."""

    def __init__(self, masks: Sequence[np.ndarray], error: Exception) -> None:
        super().__init__(masks)
        self.error = error
        self.batches: list[int] = []

    def predict_batch(self, requests: Sequence[Request]) -> list[Prediction]:
        self.batches.append(len(requests))
        if any(r.box is not None and r.box.x0 == 1 for r in requests):
            raise self.error
        answers = [self.predict(clicks=r.clicks, box=r.box, feedback=r.feedback) for r in requests]
        return [replace(answer, mask=answer.mask.copy()) for answer in answers]


def test_targets_run_in_lockstep_and_a_failing_one_is_alone_in_failing():
    segmenter = FussySegmenter([columns(2), columns(4), columns(5)], MemoryError("too big"))
    episodes = [make_episode(str(i), box=Box(i, 0, 9, 8)) for i in range(4)]
    outcomes = roll_out_all(
        [ImageEpisodes(IMAGE, episodes)],
        segmenter=segmenter,
        policy=ScriptedPolicy(),
        limits=Limits(),
        provenance=PROVENANCE,
    )[0]
    failed = [i for i, o in enumerate(outcomes) if isinstance(o, SegmenterError)]
    assert failed == [1]
    assert "FussySegmenter failed at click 0: MemoryError: too big" in str(outcomes[1])
    # The whole batch fails, its halves find the one; then three go on together.
    assert segmenter.batches == [4, 2, 1, 1, 2, 3, 3]
    alone = roll_out(
        episodes[2],
        image=IMAGE,
        segmenter=ScriptedSegmenter([columns(2), columns(4), columns(5)]),
        policy=ScriptedPolicy(),
        limits=Limits(),
        provenance=PROVENANCE,
    )
    assert outcomes[2] == alone


@pytest.mark.parametrize(
    ("mask", "seen"),
    [
        (np.zeros(SIZE, dtype=np.uint8), "got uint8 (8, 10)"),
        (np.zeros((10, 8), dtype=np.bool_), "got bool (10, 8)"),
        ([[True]], "got <class 'list'>"),
    ],
)
def test_a_mask_of_another_kind_is_reported(mask: Any, seen: str):
    with pytest.raises(SegmenterError, match="must return an object whose `mask` is a bool") as e:
        run([mask])
    assert seen in str(e.value)


def test_a_policy_must_answer_every_state():
    class Silent(ScriptedPolicy):
        def next_actions(self, states: Sequence[State]) -> list[Any]:
            return []

    with pytest.raises(ValueError, match="'scripted' gave 0 actions for 1 states"):
        run([columns(1)], policy=Silent())


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_clicks": -1}, "max_clicks -1: must be at least 0"),
        ({"target_iou": 0.0}, "target_iou 0: must be above 0 and at most 1"),
        ({"target_iou": 1.5}, r"target_iou 1\.5: must be above 0 and at most 1"),
    ],
)
def test_limits_are_checked(limits: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        Limits(**limits)


class TalkingPolicy(ScriptedPolicy):
    """Gives texts with its actions, and draws a box first."""

    def __init__(self, answers: Sequence[Answer], box: Answer | None = None) -> None:
        super().__init__(dict(enumerate(answers)))
        self.box = box

    def initial_boxes(self, states: Sequence[State]) -> list[Answer]:
        assert self.box is not None
        return [self.box for _ in states]


def roll_out_talking(
    policy: TalkingPolicy, limits: dict[str, Any] | None = None, **changes: Any
) -> Trajectory:
    outcome = roll_out_all(
        [ImageEpisodes(IMAGE, [make_episode()])],
        segmenter=ScriptedSegmenter([columns(2), columns(3), columns(4), columns(5)]),
        policy=policy,
        limits=Limits(stop_on_no_gain=False, target_iou=None, **(limits or {})),
        provenance=PROVENANCE,
        **changes,
    )[0][0]
    assert isinstance(outcome, Trajectory)
    return outcome


def test_a_model_s_text_stays_with_its_step_and_the_last_one_with_the_trajectory():
    answers = [
        Answer("first", Click(0, 0, True), 0.0),
        Answer("second", Click(1, 0, True), 0.4),
        Answer("enough", Finish(), 0.6),
    ]
    trajectory = roll_out_talking(TalkingPolicy(answers))
    assert [(s.answer, s.predicted_iou) for s in trajectory.steps] == [
        ("first", 0),
        ("second", 0.4),
    ]
    assert trajectory.stop_reason is StopReason.FINISHED
    assert (trajectory.last_answer, trajectory.last_predicted_iou) == ("enough", 0.6)


SCORING = [
    Answer("first", Click(0, 0, True), 0.99),
    Answer("second", Click(1, 0, True), 0.4),
    Answer("third", Click(2, 0, True), 0.9),
    Answer("fourth", Click(3, 0, True), 0.7),
]


def test_a_model_s_score_ends_a_rollout_once_there_is_a_mask():
    trajectory = roll_out_talking(TalkingPolicy(SCORING), limits={"stop_at_score": 0.9})
    assert [s.answer for s in trajectory.steps] == ["first", "second"]
    assert trajectory.stop_reason is StopReason.REACHED_SCORE
    assert (trajectory.last_answer, trajectory.last_predicted_iou) == ("third", 0.9)


def test_an_answer_that_cannot_be_read_is_invalid_however_high_its_score():
    answers = [SCORING[0], Answer("hm", InvalidAction("hm", "no action"), 0.95)]
    trajectory = roll_out_talking(TalkingPolicy(answers), limits={"stop_at_score": 0.9})
    assert trajectory.stop_reason is StopReason.INVALID_ACTION


@pytest.mark.parametrize(
    ("score_last", "expected"), [(True, ("fourth", 0.7)), (False, (None, None))]
)
def test_the_last_mask_is_scored_where_that_is_wanted(score_last: bool, expected: Any):
    limits = {"max_clicks": 3, "score_last": score_last}
    trajectory = roll_out_talking(TalkingPolicy(SCORING), limits=limits)
    assert len(trajectory.steps) == 3
    assert trajectory.stop_reason is StopReason.MAX_CLICKS
    assert (trajectory.last_answer, trajectory.last_predicted_iou) == expected


@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_a_score_to_stop_at_lies_above_0_and_up_to_1(value: float):
    with pytest.raises(ValueError, match=r"stop_at_score \S+: must be above 0 and at most 1"):
        Limits(stop_at_score=value)


def test_an_answer_that_cannot_be_read_keeps_text_and_problem():
    trajectory = roll_out_talking(TalkingPolicy([Answer("hm", InvalidAction("hm", "no action"))]))
    assert trajectory.stop_reason is StopReason.INVALID_ACTION
    assert (trajectory.last_answer, trajectory.stop_detail) == ("hm", "no action")
    assert trajectory.steps == ()


def test_a_box_where_a_click_was_asked_for_is_invalid():
    trajectory = roll_out_talking(TalkingPolicy([Answer("box", Box(0, 0, 2, 2))]))
    assert trajectory.stop_reason is StopReason.INVALID_ACTION
    assert trajectory.stop_detail == "a box where a click was asked for"


def test_a_policy_s_box_is_an_initial_step():
    policy = TalkingPolicy([Answer("end", Finish())], box=Answer("box", Box(0, 0, 5, 8)))
    trajectory = roll_out_talking(policy, policy_draws_boxes=True)
    (step,) = trajectory.steps
    assert (step.action, step.is_initial, step.answer) == (Box(0, 0, 5, 8), True, "box")
    assert trajectory.last_answer == "end"


@pytest.mark.parametrize(
    ("action", "detail"),
    [
        (Box(0, 0, 11, 8), "Box(x0=0, y0=0, x1=11, y1=8) is not a box within the image"),
        (Click(0, 0, True), "Click(x=0, y=0, is_positive=True) is not a box within the image"),
        (InvalidAction("?", "unreadable"), "unreadable"),
    ],
)
def test_what_is_no_box_ends_a_trajectory_that_begins_with_one(action: Any, detail: str):
    trajectory = roll_out_talking(TalkingPolicy([], Answer("?", action)), policy_draws_boxes=True)
    assert trajectory.stop_reason is StopReason.INVALID_ACTION
    assert trajectory.stop_detail == detail
    assert trajectory.last_answer == "?"


def test_boxes_are_wanted_only_of_a_policy_that_draws_them():
    with pytest.raises(TypeError, match="'scripted' draws no boxes"):
        roll_out_all(
            [ImageEpisodes(IMAGE, [make_episode()])],
            segmenter=ScriptedSegmenter([]),
            policy=ScriptedPolicy(),
            limits=Limits(),
            provenance=PROVENANCE,
            policy_draws_boxes=True,
        )


class BrightnessSegmenter:
    """Marks as many columns as the image is bright; counts how often it looked at an image."""

    def __init__(self) -> None:
        self.looks = 0
        self.brightness = 0

    def set_image(self, image: np.ndarray) -> None:
        self.looks += 1
        self.brightness = int(image[0, 0, 0])

    def predict(self, *, clicks: Any, box: Any = None, feedback: Any = None) -> Prediction:
        return Prediction(columns(self.brightness + len(clicks)))


def test_several_images_at_once_give_what_each_gives_alone():
    segmenter = BrightnessSegmenter()
    images = [np.full((*SIZE, 3), level, dtype=np.uint8) for level in (0, 1)]
    episodes = [[make_episode("a"), make_episode("b")], [make_episode("c")]]
    settings: dict[str, Any] = {
        "policy": ScriptedPolicy(),
        "limits": Limits(max_clicks=3, target_iou=None),
        "provenance": PROVENANCE,
    }
    together = roll_out_all(
        [ImageEpisodes(i, e) for i, e in zip(images, episodes, strict=True)],
        segmenter=segmenter,
        **settings,
    )
    # A plain segmenter holds one image, so each of three steps gives it both again.
    assert segmenter.looks == 6
    for image, group, outcomes in zip(images, episodes, together, strict=True):
        for episode, outcome in zip(group, outcomes, strict=True):
            alone = roll_out(episode, image=image, segmenter=BrightnessSegmenter(), **settings)
            assert outcome == alone


class MaskedSegmenter(ScriptedSegmenter):
    """Takes masks: its feedback says how many columns the first one has."""

    def feedback_of(self, mask: np.ndarray) -> Any:
        if mask.sum() > 7 * SIZE[0]:
            raise ValueError("too wide for me")
        return ("given", int(mask.sum()) // SIZE[0])


def roll_out_from(
    given: np.ndarray | None,
    segmenter: Any,
    *,
    policy: Any = None,
    box: Box | None = None,
    **limits: Any,
) -> Trajectory:
    return roll_out(
        replace(make_episode(box=box), initial_mask=given),
        image=IMAGE,
        segmenter=segmenter,
        policy=policy or ScriptedPolicy(),
        limits=Limits(**limits),
        provenance=PROVENANCE,
    )


def test_a_rollout_begins_with_the_given_mask():
    seen: list[Any] = []

    def watch(state: State) -> Click:
        seen.append((state.mask.copy(), state.clicks))
        return Click(len(state.clicks), 0, True)

    segmenter = MaskedSegmenter([columns(4), columns(5)])
    trajectory = roll_out_from(columns(2), segmenter, policy=ScriptedPolicy(watch))
    assert np.array_equal(seen[0][0], columns(2))
    assert seen[0][1] == ()
    assert (trajectory.initial_mask, trajectory.initial_iou) == (encode_mask(columns(2)), 0.4)
    assert trajectory.mask_before(0) == trajectory.initial_mask
    assert [step.gain for step in trajectory.steps] == pytest.approx([0.4, 0.2])
    assert [(r.box, r.feedback) for r in segmenter.asked] == [
        (None, ("given", 2)),
        (None, ("after", 0)),
    ]
    assert trajectory.stop_reason is StopReason.REACHED_IOU


def test_a_segmenter_that_takes_no_mask_gets_its_box():
    segmenter = ScriptedSegmenter([columns(3), columns(3), columns(4)])
    trajectory = roll_out_from(columns(2), segmenter, max_clicks=2, stop_on_no_gain=False)
    assert [r.box for r in segmenter.asked] == [Box(0, 0, 2, 8)] * 2
    # The box is no action of anybody's.
    assert all(isinstance(step.action, Click) for step in trajectory.steps)


def test_a_tool_that_fails_on_a_mask_costs_that_target_alone():
    episodes = [replace(make_episode(n), initial_mask=columns(c)) for n, c in (("a", 8), ("b", 2))]
    failed, fine = roll_out_all(
        [ImageEpisodes(IMAGE, episodes)],
        segmenter=MaskedSegmenter([columns(5)]),
        policy=ScriptedPolicy(),
        limits=Limits(),
        provenance=PROVENANCE,
    )[0]
    assert re.fullmatch(
        r"MaskedSegmenter\.feedback_of: ValueError: too wide for me \(test_loop\.py, line \d+: "
        r'raise ValueError\("too wide for me"\)\)',
        str(failed),
    )
    assert isinstance(fine, Trajectory)
    assert fine.final_iou == 1.0


def test_a_mask_that_is_good_enough_ends_a_rollout_at_once():
    trajectory = roll_out_from(columns(5), MaskedSegmenter([]))
    assert (trajectory.steps, trajectory.stop_reason) == ((), StopReason.REACHED_IOU)
    assert trajectory.final_iou == 1.0
    assert trajectory.last_mask == encode_mask(columns(5))


@given(st.integers(1, 7))
def test_a_given_mask_comes_back_and_the_oracle_finds_no_error_in_the_truth(count: int):
    segmenter = MaskedSegmenter([columns(count)])
    trajectory = roll_out_from(columns(count), segmenter, policy=OraclePolicy(), target_iou=None)
    assert trajectory.initial_mask == encode_mask(columns(count))
    assert trajectory.steps == ()
    ends = StopReason.NO_ERROR_LEFT if count == 5 else StopReason.NO_GAIN
    assert trajectory.stop_reason is ends


@given(
    counts=st.lists(st.integers(0, 10), min_size=4, max_size=4),
    max_clicks=st.integers(1, 4),
    target_iou=st.sampled_from([None, 0.6]),
    stop_on_no_gain=st.booleans(),
)
def test_an_empty_mask_is_no_mask(counts: list[int], **limits: Any):
    masks = [columns(count) for count in counts]
    with_it = roll_out_from(columns(0), MaskedSegmenter(masks), **limits)
    assert with_it == roll_out_from(None, MaskedSegmenter(masks), **limits)
    assert with_it.initial_mask is None


def test_without_clicks_the_first_mask_alone_is_scored():
    segmenter = MaskedSegmenter([])
    limits: dict[str, Any] = {"max_clicks": 0, "score_last": True, "target_iou": None}
    trajectory = roll_out_from(columns(2), segmenter, policy=TalkingPolicy(SCORING), **limits)
    assert (trajectory.steps, segmenter.asked) == ((), [])
    assert trajectory.stop_reason is StopReason.MAX_CLICKS
    assert (trajectory.last_answer, trajectory.last_predicted_iou) == ("first", 0.99)
    assert (trajectory.model_calls, trajectory.decoder_calls) == (1, 0)


def test_a_model_can_be_content_with_the_given_mask():
    policy = TalkingPolicy(SCORING)
    limits: dict[str, Any] = {"stop_at_score": 0.95, "target_iou": None}
    trajectory = roll_out_from(columns(2), MaskedSegmenter([]), policy=policy, **limits)
    assert (trajectory.steps, trajectory.stop_reason) == ((), StopReason.REACHED_SCORE)
    assert trajectory.last_predicted_iou == 0.99


class TestTargetsThatAreNoObject:
    def roll_out(self, masks: Sequence[np.ndarray], policy: Any, **limits: Any) -> Trajectory:
        return roll_out(
            Episode(builders.target(columns(0), "none", "a dog"), columns(0)),
            image=IMAGE,
            segmenter=ScriptedSegmenter(masks),
            policy=policy,
            limits=Limits(**limits),
            provenance=PROVENANCE,
        )

    @pytest.mark.parametrize(
        "policy",
        [
            OraclePolicy(),
            RandomErrorPolicy(seed=0),
            RandomClicksPolicy(seed=0, num_clicks=4, then=OraclePolicy()),
            GridPolicy(points_per_side=2, then=OraclePolicy()),
        ],
    )
    def test_who_knows_the_truth_finishes_at_once(self, policy: Any) -> None:
        trajectory = self.roll_out([], policy)
        assert trajectory.stop_reason is StopReason.NO_ERROR_LEFT
        assert trajectory.steps == ()
        assert trajectory.last_mask is None
        assert trajectory.initial_iou == trajectory.final_iou == 1.0

    def test_a_click_counts_even_where_clicks_without_gain_do_not(self) -> None:
        trajectory = self.roll_out([columns(2)], ScriptedPolicy(), stop_on_no_gain=True)
        assert trajectory.stop_reason is StopReason.NO_GAIN
        assert [(step.iou, step.gain) for step in trajectory.steps] == [(0.0, -1.0)]

    def test_the_mask_of_a_click_may_be_empty(self) -> None:
        limits = {"stop_on_no_gain": False, "target_iou": 0.9}
        trajectory = self.roll_out([columns(0)], ScriptedPolicy(), **limits)
        assert trajectory.stop_reason is StopReason.REACHED_IOU
        assert trajectory.final_iou == 1.0
