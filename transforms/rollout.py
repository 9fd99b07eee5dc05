"""The one loop: a policy acts, a segmenter answers, until a stop rule ends the trajectory.

Making trajectories with an oracle and evaluating a model are this same loop with another policy.
Targets of one image run in lockstep, so that policy and segmenter are asked in batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from transforms.errors import SegmenterError
from transforms.masks import encode_mask, mask_iou
from transforms.protocols import (
    BatchSegmenter,
    ClickPolicy,
    Image,
    Mask,
    Prediction,
    Request,
    Segmenter,
    State,
)
from transforms.records import (
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


def roll_out(
    episode: Episode,
    *,
    image: Image,
    segmenter: Segmenter,
    policy: ClickPolicy,
    limits: Limits,
    provenance: Provenance,
) -> Trajectory:
    """Roll one target out. `segmenter.set_image` must have been called with `image`.

    Raises:
        SegmenterError: the segmenter failed or broke its protocol.
    """
    outcome = roll_out_all(
        [episode],
        image=image,
        segmenter=segmenter,
        policy=policy,
        limits=limits,
        provenance=provenance,
    )[0]
    if isinstance(outcome, SegmenterError):
        raise outcome
    return outcome


def roll_out_all(
    episodes: Sequence[Episode],
    *,
    image: Image,
    segmenter: Segmenter,
    policy: ClickPolicy,
    limits: Limits,
    provenance: Provenance,
) -> list[Trajectory | SegmenterError]:
    """Roll out several targets of one image in lockstep; a failure is a value in its place.

    `segmenter.set_image` must have been called with `image`.
    """
    runs = [_Run(episode, image=image, limits=limits) for episode in episodes]

    boxed = [run for run in runs if run.box is not None]
    _take_step(boxed, [run.box for run in boxed if run.box], segmenter=segmenter, is_initial=True)

    set_up = {id(run): list(policy.initial_clicks(run.state())) for run in _live(runs)}
    while waiting := [run for run in _live(runs) if set_up[id(run)]]:
        clicks = [set_up[id(run)].pop(0) for run in waiting]
        _take_step(waiting, clicks, segmenter=segmenter, is_initial=True)
    for run in _live(runs):
        run.stop_if_reached()

    while live := _live(runs):
        actions = policy.next_actions([run.state() for run in live])
        if len(actions) != len(live):
            raise ValueError(
                f"policy {policy.name!r} gave {len(actions)} actions for {len(live)} states"
            )
        clicking: list[_Run] = []
        clicks = []
        for run, action in zip(live, actions, strict=True):
            if (click := run.admit(action)) is not None:
                clicking.append(run)
                clicks.append(click)
        _take_step(clicking, clicks, segmenter=segmenter, is_initial=False)

    return [run.outcome(provenance) for run in runs]


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception of any framework means that memory ran out."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


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

    def admit(self, action: Click | Finish | InvalidAction) -> Click | None:
        """Return the click to be made, or note why the trajectory ends here."""
        if isinstance(action, Finish):
            self.stop_reason = action.reason
            return None
        if isinstance(action, InvalidAction):
            self.stop_reason = StopReason.INVALID_ACTION
            self.stop_detail = action.text
            return None
        height, width = self.mask.shape
        if not (0 <= action.x < width and 0 <= action.y < height):
            self.stop_reason = StopReason.INVALID_ACTION
            self.stop_detail = f"{action} lies outside the image of {width} x {height} pixels"
            return None
        return action

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
            )
        )
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
        )

    def _policy_clicks(self) -> int:
        return sum(not step.is_initial for step in self.steps)


def _live(runs: Iterable[_Run]) -> list[_Run]:
    return [run for run in runs if run.stop_reason is None and run.error is None]


def _take_step(
    runs: Sequence[_Run],
    actions: Sequence[Click | Box],
    *,
    segmenter: Segmenter,
    is_initial: bool,
) -> None:
    """Ask the segmenter about each run's action and record the answers."""
    by_click_count: dict[int, list[tuple[_Run, Click | Box]]] = {}
    for run, action in zip(runs, actions, strict=True):
        by_click_count.setdefault(len(run.clicks), []).append((run, action))
    for pairs in by_click_count.values():
        requests = [run.request(action) for run, action in pairs]
        answers = _ask(segmenter, requests, size_hw=pairs[0][0].mask.shape)
        for (run, action), answer in zip(pairs, answers, strict=True):
            if isinstance(answer, SegmenterError):
                run.error = answer
            else:
                run.record(action, answer, is_initial=is_initial)


def _ask(
    segmenter: Segmenter, requests: Sequence[Request], *, size_hw: tuple[int, ...]
) -> list[Prediction | SegmenterError]:
    """Ask in one batch where the segmenter can; halve a failing batch to find who is at fault."""
    try:
        if isinstance(segmenter, BatchSegmenter):
            predictions = segmenter.predict_batch(requests)
            if len(predictions) != len(requests):
                raise SegmenterError(
                    f"predict_batch gave {len(predictions)} answers to {len(requests)} requests"
                )
        else:
            predictions = [
                segmenter.predict(clicks=r.clicks, box=r.box, feedback=r.feedback) for r in requests
            ]
        return [_checked(p, segmenter=segmenter, size_hw=size_hw) for p in predictions]
    # A segmenter is anybody's code: whatever it raises must cost its targets alone.
    except Exception as error:
        if len(requests) == 1:
            failure = SegmenterError(
                f"{type(segmenter).__name__} failed at click {len(requests[0].clicks)}: "
                f"{type(error).__name__}: {error}"
            )
            failure.__cause__ = error
            return [failure]
    middle = len(requests) // 2
    return [
        *_ask(segmenter, requests[:middle], size_hw=size_hw),
        *_ask(segmenter, requests[middle:], size_hw=size_hw),
    ]


def _checked(prediction: Any, *, segmenter: Segmenter, size_hw: tuple[int, ...]) -> Prediction:
    """Hold an answer against the protocol."""
    mask = getattr(prediction, "mask", None)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != size_hw:
        seen = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else repr(type(mask))
        raise SegmenterError(
            f"{type(segmenter).__name__}.predict must return an object whose `mask` is a bool "
            f"array of shape {tuple(size_hw)}, got {seen}"
        )
    score = getattr(prediction, "score", None)
    return Prediction(
        mask=mask,
        score=None if score is None else float(score),
        feedback=getattr(prediction, "feedback", None),
    )
