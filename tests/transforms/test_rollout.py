"""The loop: each stop rule, initial actions, batches, and segmenters that misbehave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from transforms.errors import SegmenterError
from transforms.masks import decode_rle, encode_mask
from transforms.protocols import Prediction, Request, State
from transforms.records import (
    Box,
    Click,
    Finish,
    InvalidAction,
    Provenance,
    StopReason,
    Target,
    TargetRef,
    Trajectory,
)
from transforms.rollout import Episode, Limits, roll_out, roll_out_all

SIZE = (8, 10)
IMAGE = np.zeros((*SIZE, 3), dtype=np.uint8)
PROVENANCE = Provenance("scripted", "", "scripted", 0, "f" * 64)


def make_episode(name: str = "t", *, box: Box | None = None, ignore: Any = None) -> Episode:
    """A target whose truth is the left half of the picture."""
    truth = np.zeros(SIZE, dtype=np.bool_)
    truth[:, :5] = True
    ref = TargetRef(name, "d", "s", "a.png", "a.png", None, 0, ("left",), "{}", "none")
    return Episode(Target(ref, encode_mask(truth)), truth, ignore, box)


def columns(count: int) -> np.ndarray:
    """A mask of the first `count` columns: IoU count / 5 with the truth up to 5."""
    mask = np.zeros(SIZE, dtype=np.bool_)
    mask[:, :count] = True
    return mask


class ScriptedSegmenter:
    """Answers the n-th action with the n-th mask; says what it was asked."""

    def __init__(self, masks: Sequence[np.ndarray]) -> None:
        self.masks = masks
        self.asked: list[Request] = []

    def set_image(self, image: np.ndarray) -> None: ...

    def predict(self, *, clicks: Any, box: Any = None, feedback: Any = None) -> Prediction:
        self.asked.append(Request(tuple(clicks), box, feedback))
        step = len(clicks) - (box is None)
        return Prediction(mask=self.masks[step], score=0.5, feedback=("after", step))


class ScriptedPolicy:
    """Clicks at (step, 0), or does what the script says at that step."""

    name = "scripted"

    def __init__(self, script: dict[int, Any] | None = None, initial: int = 0) -> None:
        self.script = script or {}
        self.initial = initial

    def initial_clicks(self, state: State) -> tuple[Click, ...]:
        return tuple(Click(i, 7, False) for i in range(self.initial))

    def next_actions(self, states: Sequence[State]) -> list[Any]:
        return [self.script.get(len(s.clicks), Click(len(s.clicks), 0, True)) for s in states]


def run(masks: Sequence[np.ndarray], *, policy: Any = None, **limits: Any) -> Trajectory:
    return roll_out(
        make_episode(),
        image=IMAGE,
        segmenter=ScriptedSegmenter(masks),
        policy=policy or ScriptedPolicy(),
        limits=Limits(**limits),
        provenance=PROVENANCE,
    )


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
        (Finish(StopReason.NO_ERROR_LEFT), StopReason.NO_ERROR_LEFT, None),
        (InvalidAction("hello?", "no"), StopReason.INVALID_ACTION, "hello?"),
        (
            Click(10, 0, True),
            StopReason.INVALID_ACTION,
            "Click(x=10, y=0, is_positive=True) lies outside the image of 10 x 8 pixels",
        ),
    ],
)
def test_what_the_policy_says_ends_it(action: Any, reason: StopReason, detail: str | None):
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
        policy=ScriptedPolicy(initial=2),
        max_clicks=1,
    )
    # The third mask (IoU 0.4) does not beat the best set-up mask (0.6): the run ends without it.
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
        return [self.predict(clicks=r.clicks, box=r.box, feedback=r.feedback) for r in requests]


def test_targets_run_in_lockstep_and_a_failing_one_is_alone_in_failing():
    segmenter = FussySegmenter([columns(2), columns(4), columns(5)], MemoryError("too big"))
    episodes = [make_episode(str(i), box=Box(i, 0, 9, 8)) for i in range(4)]
    outcomes = roll_out_all(
        episodes,
        image=IMAGE,
        segmenter=segmenter,
        policy=ScriptedPolicy(),
        limits=Limits(),
        provenance=PROVENANCE,
    )
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
def test_a_mask_of_another_kind_is_told(mask: Any, seen: str):
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
        ({"max_clicks": 0}, "max_clicks must be at least 1, got 0"),
        ({"target_iou": 0.0}, r"target_iou must be in \(0, 1\], got 0.0"),
        ({"target_iou": 1.5}, r"target_iou must be in \(0, 1\], got 1.5"),
    ],
)
def test_limits_are_checked(limits: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        Limits(**limits)
