"""The one loop: a policy acts, a segmenter answers, until a stop rule ends the trajectory.

Making trajectories with an oracle and evaluating a model are this same loop with another policy.
Targets run in lockstep: policy and segmenter are asked about all of them at once, of however many
images, as far as they can answer so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from transforms.errors import SegmenterError
from transforms.masks import encode_mask, mask_iou
from transforms.protocols import (
    BoxPolicy,
    ClickPolicy,
    Image,
    Mask,
    PolicyAction,
    Prediction,
    Request,
    Segmenter,
    State,
    StatewisePolicy,
)
from transforms.records import (
    Action,
    Answer,
    Box,
    Click,
    Finish,
    InvalidAction,
    Provenance,
    Step,
    StopReason,
    Target,
    Trajectory,
)
from transforms.segmenter_session import SegmenterSession
from transforms.threads import Threads


@dataclass(frozen=True)
class Limits:
    """When a trajectory ends, apart from what the policy decides.

    Attributes:
        max_clicks: clicks that the policy may make; set-up actions do not count.
        target_iou: end once a recorded mask reaches this IoU; None never ends for it.
        stop_on_no_gain: end at the first click whose IoU is not strictly above the best so far,
            and do not record that click.
        stop_at_score: end once a model scores the mask it is shown as high, in (0, 1]; None never
            ends for it. The first mask that this can be said of is that of a step.
        score_last: ask a model about the last mask of a rollout that ran out of clicks, for its
            score alone.
    """

    max_clicks: int = 5
    target_iou: float | None = 0.98
    stop_on_no_gain: bool = True
    stop_at_score: float | None = None
    score_last: bool = False

    def __post_init__(self) -> None:
        if self.max_clicks < 1:
            raise ValueError(f"max_clicks must be at least 1, got {self.max_clicks}")
        for name in ("target_iou", "stop_at_score"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{name} must be in (0, 1], got {value}")


@dataclass(frozen=True)
class Episode:
    """A target with its pixels, ready to be rolled out.

    Attributes:
        target: the target.
        truth: bool. Shape: (H, W).
        ignore: bool or None. Shape: (H, W).
        initial_box: a box that the segmenter is given before the first click, or None.
    """

    target: Target
    truth: Mask
    ignore: Mask | None = None
    initial_box: Box | None = None


@dataclass(frozen=True)
class Picture:
    """An image and the episodes on it.

    Attributes:
        image: uint8 RGB. Shape: (H, W, 3).
        episodes: one per target.
        encoded: what the segmenter, a `ManyImagesSegmenter`, worked out of the image earlier, or
            why it could not; None to have it done when it is needed.
    """

    image: Image
    episodes: Sequence[Episode]
    encoded: Any | SegmenterError | None = None


def roll_out(
    episode: Episode,
    *,
    image: Image,
    segmenter: Segmenter,
    policy: ClickPolicy,
    limits: Limits,
    provenance: Provenance,
) -> Trajectory:
    """Roll one target out.

    Raises:
        SegmenterError: the segmenter failed or broke its protocol.
    """
    outcome = roll_out_all(
        [Picture(image, [episode])],
        segmenter=segmenter,
        policy=policy,
        limits=limits,
        provenance=provenance,
    )[0][0]
    if isinstance(outcome, SegmenterError):
        raise outcome
    return outcome


def roll_out_all(
    pictures: Sequence[Picture],
    *,
    segmenter: Segmenter,
    policy: ClickPolicy,
    limits: Limits,
    provenance: Provenance,
    policy_draws_boxes: bool = False,
    threads: Threads | None = None,
) -> list[list[Trajectory | SegmenterError]]:
    """Roll out the targets of several images in lockstep; a failure is a value in its place.

    Args:
        pictures: all of them encoded, or none.
        policy_draws_boxes: ask the policy, a `BoxPolicy`, for the box each trajectory begins with.
        threads: compare and encode masks, and ask a `StatewisePolicy`; None uses this one alone.

    Returns:
        One list per picture, one outcome per episode.

    Raises:
        TypeError: boxes are wanted of a policy that draws none.
    """
    by_picture = [
        [
            _Run(episode, picture=index, image=picture.image, limits=limits)
            for episode in picture.episodes
        ]
        for index, picture in enumerate(pictures)
    ]
    runs = [run for group in by_picture for run in group]
    loop = _Loop(policy, _session(segmenter, pictures), threads or Threads())

    if policy_draws_boxes:
        _ask_for_boxes(policy, runs)
    boxed = [(run, run.box) for run in _live(runs) if run.box is not None]
    loop.take_step(boxed, is_initial=True)

    set_up = {id(run): list(policy.initial_clicks(run.state())) for run in _live(runs)}
    while waiting := [run for run in _live(runs) if set_up[id(run)]]:
        loop.take_step([(run, set_up[id(run)].pop(0)) for run in waiting], is_initial=True)
    for run in _live(runs):
        run.stop_if_reached()

    while live := _live(runs):
        admitted = [
            (run, run.admit(action)) for run, action in zip(live, loop.act(live), strict=True)
        ]
        loop.take_step([(r, click) for r, click in admitted if click is not None], is_initial=False)

    if limits.score_last:
        loop.score([run for run in runs if run.stop_reason is StopReason.MAX_CLICKS])
    return [[run.outcome(provenance) for run in group] for group in by_picture]


@dataclass
class _Run:
    """One target under way."""

    episode: Episode
    picture: int
    image: Image
    limits: Limits
    box: Box | None = None
    mask: Mask = field(init=False)
    clicks: tuple[Click, ...] = ()
    feedback: Any = None
    steps: list[Step] = field(default_factory=list)
    iou: float = 0.0
    best_iou: float = 0.0
    stop_reason: StopReason | None = None
    stop_detail: str | None = None
    error: SegmenterError | None = None
    answer: Answer | None = None

    def __post_init__(self) -> None:
        self.mask = np.zeros(self.episode.truth.shape, dtype=np.bool_)
        self.box = self.episode.initial_box

    def state(self) -> State:
        return State(
            target=self.episode.target,
            image=self.image,
            mask=self.mask,
            clicks=self.clicks,
            truth=self.episode.truth,
            ignore=self.episode.ignore,
        )

    def admit_box(self, answer: Answer) -> None:
        """Take the box that a policy drew, or note why the trajectory ends here."""
        self.answer = answer
        match answer.action:
            case Box(x0, y0, x1, y1) as box if self._holds(x0, y0) and self._holds(x1 - 1, y1 - 1):
                self.box = box
            case InvalidAction(problem=problem):
                self._end_as_invalid(problem)
            case other:
                self._end_as_invalid(f"{other} is no box within the image")

    def admit(self, action: PolicyAction) -> Click | None:
        """Return the click to be made, or note why the trajectory ends here."""
        self.answer = None
        if isinstance(action, Answer):
            self.answer = action
            action = _as_click(action.action)
        match action:
            case Finish(reason):
                self.stop_reason = reason
            case InvalidAction(text, problem):
                self.answer = self.answer or Answer(text, action)
                self._end_as_invalid(problem)
            case Click(x, y) if not self._holds(x, y):
                self._end_as_invalid(f"{action} lies outside the image")
            case Click() if self._is_scored_well():
                self.stop_reason = StopReason.REACHED_SCORE
            case Click():
                return action
        return None

    def request(self, action: Click | Box) -> Request:
        clicks = (*self.clicks, action) if isinstance(action, Click) else self.clicks
        return Request(clicks=clicks, box=self.box, feedback=self.feedback)

    def record(self, action: Click | Box, prediction: Prediction, *, is_initial: bool) -> None:
        iou = mask_iou(prediction.mask, self.episode.truth, ignore=self.episode.ignore)
        if not is_initial and self.limits.stop_on_no_gain and iou <= self.best_iou:
            self.stop_reason = StopReason.NO_GAIN
            return
        self.steps.append(
            Step(
                action=action,
                mask=encode_mask(prediction.mask),
                iou=iou,
                gain=iou - self.iou,
                score=prediction.score,
                is_initial=is_initial,
                answer=None if self.answer is None else self.answer.text,
                predicted_iou=None if self.answer is None else self.answer.predicted_iou,
            )
        )
        self.answer = None
        if isinstance(action, Click):
            self.clicks = (*self.clicks, action)
        self.mask = prediction.mask
        self.feedback = prediction.feedback
        self.iou = iou
        self.best_iou = max(self.best_iou, iou)
        if not is_initial:
            self.stop_if_reached()
            if self.stop_reason is None and self._policy_clicks() >= self.limits.max_clicks:
                self.stop_reason = StopReason.MAX_CLICKS

    def stop_if_reached(self) -> None:
        if self.steps and self.limits.target_iou is not None and self.iou >= self.limits.target_iou:
            self.stop_reason = StopReason.REACHED_IOU

    def outcome(self, provenance: Provenance) -> Trajectory | SegmenterError:
        if self.error is not None:
            return self.error
        if self.stop_reason is None:
            raise AssertionError("a run ended without a reason")
        return Trajectory(
            target=self.episode.target,
            steps=tuple(self.steps),
            stop_reason=self.stop_reason,
            provenance=provenance,
            stop_detail=self.stop_detail,
            last_answer=None if self.answer is None else self.answer.text,
            last_predicted_iou=None if self.answer is None else self.answer.predicted_iou,
        )

    def _end_as_invalid(self, problem: str) -> None:
        self.stop_reason = StopReason.INVALID_ACTION
        self.stop_detail = problem

    def _is_scored_well(self) -> bool:
        score = None if self.answer is None else self.answer.predicted_iou
        threshold = self.limits.stop_at_score
        if score is None or threshold is None:
            return False
        return bool(self.steps) and score >= threshold

    def _holds(self, x: int, y: int) -> bool:
        height, width = self.mask.shape
        return 0 <= x < width and 0 <= y < height

    def _policy_clicks(self) -> int:
        return sum(not step.is_initial for step in self.steps)


def _live(runs: Iterable[_Run]) -> list[_Run]:
    return [run for run in runs if run.stop_reason is None and run.error is None]


def _as_click(action: Action | InvalidAction) -> Click | Finish | InvalidAction:
    if isinstance(action, Box):
        return InvalidAction(str(action), "a box where a click was asked for")
    return action


def _ask_for_boxes(policy: ClickPolicy, runs: Sequence[_Run]) -> None:
    if not isinstance(policy, BoxPolicy):
        raise TypeError(f"policy {policy.name!r} draws no boxes")
    answers = policy.initial_boxes([run.state() for run in runs])
    _check_count(answers, runs, policy=policy)
    for run, answer in zip(runs, answers, strict=True):
        run.admit_box(answer)


def _check_count(actions: Sequence[Any], runs: Sequence[_Run], *, policy: ClickPolicy) -> None:
    if len(actions) != len(runs):
        raise ValueError(
            f"policy {policy.name!r} gave {len(actions)} actions for {len(runs)} states"
        )


@dataclass(frozen=True)
class _Loop:
    """Policy and segmenter, asked about all runs at once as far as they can be."""

    policy: ClickPolicy
    session: SegmenterSession
    threads: Threads

    def act(self, runs: Sequence[_Run]) -> list[PolicyAction]:
        """Ask the policy about each run's state."""
        states = [run.state() for run in runs]
        if isinstance(self.policy, StatewisePolicy):
            return self.threads.map(self.policy.next_action, states)
        actions = self.policy.next_actions(states)
        _check_count(actions, runs, policy=self.policy)
        return actions

    def score(self, runs: Sequence[_Run]) -> None:
        """Ask a model about masks that no action follows, and keep what it says of them."""
        for run, action in zip(runs, self.act(runs) if runs else [], strict=True):
            run.answer = action if isinstance(action, Answer) else None

    def take_step(self, actions: Sequence[tuple[_Run, Click | Box]], *, is_initial: bool) -> None:
        """Ask the segmenter about each run's action and record the answers."""
        answers = self.session.ask([(run.picture, run.request(action)) for run, action in actions])

        def record(index: int) -> None:
            run, action = actions[index]
            answer = answers[index]
            if isinstance(answer, SegmenterError):
                run.error = answer
            else:
                run.record(action, answer, is_initial=is_initial)

        self.threads.map(record, range(len(actions)))


def _session(segmenter: Segmenter, pictures: Sequence[Picture]) -> SegmenterSession:
    images = [picture.image for picture in pictures]
    encoded = [picture.encoded for picture in pictures]
    known = all(found is not None for found in encoded)
    return SegmenterSession(segmenter, images, encoded=encoded if known else None)
