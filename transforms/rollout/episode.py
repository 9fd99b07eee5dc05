"""A running episode: the states of a trajectory and the rules that end it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hlmat.transforms.core.errors import SegmenterError
from hlmat.transforms.core.protocols import Image, Mask, PolicyAction, Prediction, Request, State
from hlmat.transforms.core.records import (
    Answer,
    Box,
    Click,
    Finish,
    InvalidAction,
    NoObject,
    Provenance,
    Rle,
    Step,
    StopReason,
    Target,
    Trajectory,
    Undo,
)
from hlmat.transforms.masks.rle import Part, decode_rle, encode_mask, rle_joint_part, rle_overlap
from hlmat.transforms.rollout.options import Limits


@dataclass(frozen=True)
class Episode:
    """A target with its pixels, ready to be rolled out.

    Attributes:
        target: the target.
        truth: bool. Shape: (H, W).
        ignore: bool or None. Shape: (H, W).
        initial_box: a box that the segmenter gets before the first click, or None.
        initial_click: a click made before the policy's own, after the box, or None.
        initial_mask: the mask that the trajectory begins with; None or all False for an empty
            start. Shape: (H, W).
        image_truths: as in `State`.
    """

    target: Target
    truth: Mask
    ignore: Mask | None = None
    initial_box: Box | None = None
    initial_click: Click | None = None
    initial_mask: Mask | None = None
    image_truths: Sequence[Mask] = ()


@dataclass
class CallCounts:
    """The cost of an episode.

    Attributes:
        model: questions that a model answered.
        decoder: requests that the segmenter answered.
    """

    model: int = 0
    decoder: int = 0


@dataclass(frozen=True)
class _Before:
    """What an undo brings back: the state before an action.

    Attributes:
        mask: the mask; None for an empty one.
        score: the segmenter's estimate of its IoU, if it gave one.
    """

    mask: Rle | None
    clicks: tuple[Click, ...]
    box: Box | None
    feedback: Any
    iou: float
    score: float | None


@dataclass(frozen=True)
class Edits:
    """What a policy may do beside clicking; by default nothing.

    Attributes:
        undo: it may take its last action back.
        box: it may draw a box after the beginning.
        box_is_usable: whether the segmenter takes boxes.
    """

    undo: bool = False
    box: bool = False
    box_is_usable: bool = True


@dataclass
class EpisodeRun:
    """A running episode: its steps so far, and why it ended if it did.

    Attributes:
        image_index: index of the image among those rolled out together.
        image: uint8 RGB. Shape: (H, W, 3).
        box: passed to the segmenter with the clicks.
        initial_mask_box: box of the initial mask, passed to a segmenter that takes no mask, unless
            there is a `box`.
        mask: the current mask. Shape: (H, W).
        initial_mask: the mask before the first step; None for an empty mask. Shape: (H, W).
        initial_rle: the same as run lengths.
        initial_iou: IoU of that mask.
        answer: a model's answer that is not yet part of a step.
        calls: cost of the episode so far, shared by all branches.
        edits: what the policy may do beside clicking.
        clicks: those in effect, oldest first.
        earlier: the states before the policy's actions in effect, oldest first; kept only for a
            policy that may undo.
    """

    episode: Episode
    image_index: int
    image: Image
    limits: Limits
    box: Box | None = None
    initial_mask_box: Box | None = None
    mask: Mask = field(init=False)
    initial_mask: Mask | None = field(init=False, default=None)
    initial_rle: Rle | None = field(init=False, default=None)
    initial_iou: float = field(init=False, default=0.0)
    clicks: tuple[Click, ...] = ()
    feedback: Any = None
    steps: tuple[Step, ...] = ()
    iou: float = 0.0
    best_iou: float = 0.0
    stop_reason: StopReason | None = None
    stop_detail: str | None = None
    error: SegmenterError | None = None
    answer: Answer | None = None
    calls: CallCounts = field(default_factory=CallCounts)
    edits: Edits = Edits()
    earlier: tuple[_Before, ...] = ()
    _rle: Rle | None = field(init=False, default=None)
    """The current mask as run lengths."""
    _part_of: tuple[Rle | None, Part | None] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.mask = np.zeros(self.episode.truth.shape, dtype=np.bool_)
        self.box = self.episode.initial_box
        if not self.episode.truth.any():
            # Without an object, an empty mask is right.
            self.initial_iou = self.iou = self.best_iou = 1.0
        if self.episode.initial_mask is not None:
            self.begin_with(self.episode.initial_mask)

    @property
    def is_live(self) -> bool:
        """Whether the episode can continue."""
        return self.stop_reason is None and self.error is None

    def begin_with(self, mask: Mask) -> None:
        """Take the initial mask, before any step; an empty one changes nothing. Shape: (H, W)."""
        if not mask.any():
            return
        self.mask = self.initial_mask = mask
        self._rle = self.initial_rle = encode_mask(mask)
        self.initial_iou = self.iou = self.best_iou = self._iou_of(self._rle)

    def branch(self) -> EpisodeRun:
        """Return an independent copy of the run."""
        return copy.copy(self)

    def state(self) -> State:
        """Return what a policy sees."""
        return State(
            target=self.episode.target,
            image=self.image,
            mask=self.mask,
            clicks=self.clicks,
            truth=self.episode.truth,
            ignore=self.episode.ignore,
            part=self._part(),
            image_truths=self.episode.image_truths,
            turn=self._turns(),
        )

    def admit_box(self, answer: Answer) -> None:
        """Take the box that a policy drew, or record why the trajectory ends here."""
        self.answer = answer
        match answer.action:
            case Box(x0, y0, x1, y1) as box if self._holds(x0, y0) and self._holds(x1 - 1, y1 - 1):
                self.box = box
            case InvalidAction(problem=problem):
                self._end_as_invalid(problem)
            case NoObject():
                self.stop_reason = StopReason.NO_OBJECT
            case other:
                self._end_as_invalid(f"{other} is not a box within the image")

    def admit(self, action: PolicyAction) -> Click | Box | Undo | None:
        """Return the action to take, or record why the trajectory ends here."""
        self.answer = None
        if isinstance(action, Answer):
            self.answer = action
            action = action.action
        match action:
            case Finish(reason):
                self.stop_reason = reason
            case NoObject():
                self.stop_reason = StopReason.NO_OBJECT
            case InvalidAction(text, problem):
                self.answer = self.answer or Answer(text, action)
                self._end_as_invalid(problem)
            case Click(x, y) if not self._holds(x, y):
                self._end_as_invalid(f"{action} is outside the image")
            case Box() if (problem := self._box_problem(action)) is not None:
                self._end_as_invalid(problem)
            case Undo() if not self.edits.undo:
                self._end_as_invalid("an undo where a click was asked for")
            case Undo() if not self.earlier:
                self._end_as_invalid("nothing to undo: no action of this rollout is in effect")
            case Click() | Box() | Undo() if self._is_scored_well():
                self.stop_reason = StopReason.REACHED_SCORE
            case Click() | Box() | Undo():
                return action
        return None

    def request(self, action: Click | Box) -> Request:
        """Return the request to the segmenter for an action."""
        clicks, box = self.clicks, self.box
        if isinstance(action, Click):
            clicks = (*clicks, action)
        else:
            box = action
        box = self.initial_mask_box if box is None else box
        return Request(clicks=clicks, box=box, feedback=self.feedback)

    def record(self, action: Click | Box, prediction: Prediction, *, is_initial: bool) -> None:
        """Record the segmenter's answer to an action as a step, unless it gains nothing.

        If there is no object, a click that gains nothing is recorded too; otherwise the rollout
        would count as one that noticed the absence.
        """
        rle = encode_mask(prediction.mask)
        iou = self._iou_of(rle)
        gains_nothing = not is_initial and self.limits.stop_on_no_gain and iou <= self.best_iou
        if gains_nothing and self.episode.truth.any():
            self.stop_reason = StopReason.NO_GAIN
            return
        if self.edits.undo and not is_initial:
            score = self.steps[-1].score if self.steps else None
            before = _Before(self._rle, self.clicks, self.box, self.feedback, self.iou, score)
            self.earlier = (*self.earlier, before)
        self._add_step(action, rle, iou=iou, score=prediction.score, is_initial=is_initial)
        if isinstance(action, Click):
            self.clicks = (*self.clicks, action)
        else:
            self.box = action
        self.mask, self._rle = prediction.mask, rle
        self.feedback = prediction.feedback
        self.iou = iou
        self.best_iou = max(self.best_iou, iou)
        if gains_nothing:
            self.stop_reason = StopReason.NO_GAIN
        elif not is_initial:
            self.stop_if_done()

    def take_back(self) -> None:
        """Record an undo as a step: the state before the last action in effect returns."""
        *kept, before = self.earlier
        self.earlier = tuple(kept)
        empty = np.zeros(self.mask.shape, dtype=np.bool_)
        self.mask = empty if before.mask is None else decode_rle(before.mask)
        rle = encode_mask(empty) if before.mask is None else before.mask
        self._add_step(Undo(), rle, iou=before.iou, score=before.score, is_initial=False)
        self._rle, self.clicks, self.box = before.mask, before.clicks, before.box
        self.feedback, self.iou = before.feedback, before.iou
        self.stop_if_done()

    def stop_if_done(self) -> None:
        """End if the last mask is good enough, or no click is left."""
        target_iou = self.limits.target_iou
        if self._has_mask() and target_iou is not None and self.iou >= target_iou:
            self.stop_reason = StopReason.REACHED_IOU
        elif self._turns() >= self.limits.max_clicks:
            self.stop_reason = StopReason.MAX_CLICKS

    def outcome(self, provenance: Provenance) -> Trajectory | SegmenterError:
        """Return the trajectory of a finished run, or the reason why it has none."""
        if self.error is not None:
            return self.error
        if self.stop_reason is None:
            raise AssertionError("a run ended without a reason")
        return Trajectory(
            target=self.episode.target,
            steps=self.steps,
            stop_reason=self.stop_reason,
            provenance=provenance,
            stop_detail=self.stop_detail,
            last_answer=None if self.answer is None else self.answer.text,
            last_predicted_iou=None if self.answer is None else self.answer.predicted_iou,
            model_calls=self.calls.model,
            decoder_calls=self.calls.decoder,
            initial_mask=self.initial_rle,
            initial_iou=self.initial_iou,
        )

    def _part(self) -> Part | None:
        """Return rows and columns that contain every pixel of the current mask and the truth."""
        if self._part_of is None or self._part_of[0] is not self._rle:
            self._part_of = (self._rle, rle_joint_part(self._rle, self.episode.target.truth))
        return self._part_of[1]

    def _iou_of(self, mask: Rle) -> float:
        target = self.episode.target
        common, union = rle_overlap(mask, target.truth, ignore=target.ignore)
        return common / union if union else 1.0

    def _end_as_invalid(self, problem: str) -> None:
        self.stop_reason = StopReason.INVALID_ACTION
        self.stop_detail = problem

    def _is_scored_well(self) -> bool:
        score = None if self.answer is None else self.answer.predicted_iou
        threshold = self.limits.stop_at_score
        if score is None or threshold is None:
            return False
        return self._has_mask() and score >= threshold

    def _has_mask(self) -> bool:
        """Whether the episode has a mask to score: every step leaves one, even if it is empty."""
        return bool(self.steps) or self.initial_mask is not None

    def _holds(self, x: int, y: int) -> bool:
        height, width = self.mask.shape
        return 0 <= x < width and 0 <= y < height

    def _turns(self) -> int:
        return sum(not step.is_initial for step in self.steps)

    def _box_problem(self, box: Box) -> str | None:
        if not self.edits.box:
            return "a box where a click was asked for"
        if not self.edits.box_is_usable:
            return "a box, which this segmenter does not take"
        if not (self._holds(box.x0, box.y0) and self._holds(box.x1 - 1, box.y1 - 1)):
            return f"{box} is not a box within the image"
        return None

    def _add_step(
        self,
        action: Click | Box | Undo,
        mask: Rle,
        *,
        iou: float,
        score: float | None,
        is_initial: bool,
    ) -> None:
        answer, self.answer = self.answer, None
        step = Step(
            action=action,
            mask=mask,
            iou=iou,
            gain=iou - self.iou,
            score=score,
            is_initial=is_initial,
            answer=None if answer is None else answer.text,
            predicted_iou=None if answer is None else answer.predicted_iou,
        )
        self.steps = (*self.steps, step)


def live_runs(runs: Iterable[EpisodeRun]) -> list[EpisodeRun]:
    """Return the runs that can continue."""
    return [run for run in runs if run.is_live]
