"""The one loop: a policy acts, a segmenter answers, until a stop rule ends the trajectory.

Making trajectories with an oracle and evaluating a model are this same loop with another policy.
Targets run in lockstep: the policy is asked about all of them at once, of however many images, and
the segmenter about those of one image at a time.
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
    ImageHolder,
    Mask,
    PolicyAction,
    Prediction,
    Request,
    Segmenter,
    State,
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
from transforms.segmenter_calls import ask_segmenter


@dataclass(frozen=True)
class Limits:
    """When a trajectory ends, apart from what the policy decides.

    Attributes:
        max_clicks: clicks that the policy may make; set-up actions do not count.
        target_iou: end once a recorded mask reaches this IoU; None never ends for it.
        stop_on_no_gain: end at the first click whose IoU is not strictly above the best so far,
            and do not record that click.
    """

    max_clicks: int = 5
    target_iou: float | None = 0.98
    stop_on_no_gain: bool = True

    def __post_init__(self) -> None:
        if self.max_clicks < 1:
            raise ValueError(f"max_clicks must be at least 1, got {self.max_clicks}")
        if self.target_iou is not None and not 0 < self.target_iou <= 1:
            raise ValueError(f"target_iou must be in (0, 1], got {self.target_iou}")


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
    """

    image: Image
    episodes: Sequence[Episode]


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
) -> list[list[Trajectory | SegmenterError]]:
    """Roll out the targets of several images in lockstep; a failure is a value in its place.

    A segmenter holds one image, so with several of them it is given each again at every step; an
    `ImageHolder` takes them up without working them out anew.

    Args:
        policy_draws_boxes: ask the policy, a `BoxPolicy`, for the box each trajectory begins with.

    Returns:
        One list per picture, one outcome per episode.

    Raises:
        TypeError: boxes are wanted of a policy that draws none.
    """
    by_picture = [
        [_Run(episode, image=picture.image, limits=limits) for episode in picture.episodes]
        for picture in pictures
    ]
    runs = [run for group in by_picture for run in group]
    tool = _Tool(segmenter)

    if policy_draws_boxes:
        _ask_for_boxes(policy, runs)
    boxed = [(run, run.box) for run in _live(runs) if run.box is not None]
    tool.take_step(boxed, is_initial=True)

    set_up = {id(run): list(policy.initial_clicks(run.state())) for run in _live(runs)}
    while waiting := [run for run in _live(runs) if set_up[id(run)]]:
        tool.take_step([(run, set_up[id(run)].pop(0)) for run in waiting], is_initial=True)
    for run in _live(runs):
        run.stop_if_reached()

    while live := _live(runs):
        actions = policy.next_actions([run.state() for run in live])
        _check_count(actions, live, policy=policy)
        admitted = [(run, run.admit(action)) for run, action in zip(live, actions, strict=True)]
        tool.take_step([(r, click) for r, click in admitted if click is not None], is_initial=False)

    return [[run.outcome(provenance) for run in group] for group in by_picture]


@dataclass
class _Run:
    """One target under way."""

    episode: Episode
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


class _Tool:
    """The segmenter, the image that it holds, and those that it could take up again."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._image: Image | None = None
        self._held: dict[int, Any] = {}

    def take_step(self, actions: Sequence[tuple[_Run, Click | Box]], *, is_initial: bool) -> None:
        """Ask the segmenter about each run's action and record the answers."""
        batches: dict[tuple[int, int], list[tuple[_Run, Click | Box]]] = {}
        for run, action in actions:
            batches.setdefault((id(run.image), len(run.clicks)), []).append((run, action))
        for batch in batches.values():
            answers = self._set_image(batch[0][0].image) or ask_segmenter(
                self._segmenter,
                [run.request(action) for run, action in batch],
                size_hw=batch[0][0].mask.shape,
            )
            for k, (run, action) in enumerate(batch):
                answer = answers if isinstance(answers, SegmenterError) else answers[k]
                if isinstance(answer, SegmenterError):
                    run.error = answer
                else:
                    run.record(action, answer, is_initial=is_initial)

    def _set_image(self, image: Image) -> SegmenterError | None:
        """Give the segmenter the image unless it holds it; return what went wrong."""
        if self._image is image:
            return None
        self._image = None
        try:
            self._give(image)
        # A segmenter is anybody's code: whatever it raises must cost this image's targets alone.
        except Exception as error:
            name = type(self._segmenter).__name__
            failure = SegmenterError(f"{name}.set_image: {type(error).__name__}: {error}")
            failure.__cause__ = error
            return failure
        self._image = image
        return None

    def _give(self, image: Image) -> None:
        if not isinstance(self._segmenter, ImageHolder):
            self._segmenter.set_image(image)
        elif id(image) in self._held:
            self._segmenter.hold_image(self._held[id(image)])
        else:
            self._segmenter.set_image(image)
            self._held[id(image)] = self._segmenter.held_image()
