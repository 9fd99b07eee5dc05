"""The task `star-plus`: a model's rollouts, with wrong actions replaced by the oracle's click.

After StaR+ of SegAgent (arXiv 2503.08625): an action that raises the IoU is kept, any other is
replaced by the oracle's click in the same state. The states are those that the model visited, so it
learns how to recover from its errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.samples import Case, OtherRun, Sample, Shown, Turn, iou_before
from hlmat.transforms.core.records import Action, Click, Finish, NoObject, StopReason, Trajectory
from hlmat.transforms.masks.rle import decode_rle
from hlmat.transforms.oracle.click import oracle_click
from hlmat.transforms.prompting.dialogues.protocol import Offer
from hlmat.transforms.prompting.predicted_iou import render_predicted_iou


class Origin(StrEnum):
    """The origin of a row's answer."""

    FIRST_DATA = "first_data"
    KEPT = "kept"
    CORRECTED = "corrected"
    # Ends of a rollout that the model did not decide, or that cannot be judged.
    END = "end"


FIRST_DATA: Mapping[str, int | str | None] = MappingProxyType(
    {"origin": Origin.FIRST_DATA.value, "round": 0, "model": None}
)
"""Values in rows that do not come from a model's rollout."""

# Ends of a rollout through an answer that did not raise the IoU.
_ERRED = frozenset(
    {
        StopReason.INVALID_ACTION,
        StopReason.NO_GAIN,
        StopReason.FINISHED,
        StopReason.NO_OBJECT,
    }
)
# Ends of a rollout because nothing is left to correct.
_DONE = frozenset({StopReason.REACHED_IOU, StopReason.NO_ERROR_LEFT})


@dataclass(frozen=True)
class Lesson:
    """What to learn in a state of a model's rollout.

    Attributes:
        step: index of the state, the number of steps before it.
        action: the action to take; None if only the mask is scored.
    """

    step: int
    action: Action | None
    origin: Origin


def lessons(trajectory: Trajectory, offer: Offer | None = None) -> Iterator[Lesson]:
    """List what to learn from a model's rollout, state by state.

    An action that raised the IoU is kept, an undo or a box only where answers can say it. An action
    that did not, an unreadable answer and a premature end are replaced by the oracle's click in
    that state, or by `Finish` if no error is left. A
    rollout that reached its target IoU ends with `Finish`, one that ran out of clicks with the
    score of its last mask. Where `NoObject` is among the actions, it is the right end of a rollout
    on a target that is no object.

    Args:
        trajectory: the rollout.
        offer: what an answer may say.
    """
    offer = offer or Offer()
    end = _right_end(trajectory, offer)
    for index, step in enumerate(trajectory.steps):
        if step.is_initial:
            continue
        if step.gain > 0 and type(step.action) in {Click, *offer.edits}:
            yield Lesson(index, step.action, Origin.KEPT)
        else:
            yield _corrected(trajectory, index, end=end)
    last = len(trajectory.steps)
    if trajectory.stop_reason in _ERRED:
        yield _corrected(trajectory, last, end=end)
    elif trajectory.stop_reason in _DONE:
        yield Lesson(last, end, Origin.END)
    elif last > 0:
        yield Lesson(last, None, Origin.END)


def samples(case: Case, options: LlamaFactoryOptions) -> Iterator[Sample]:
    """List the samples of all models' rollouts of a target.

    If `Finish` is not among the actions, or there is no action, the sample asks for the score of
    the mask alone; there is no sample if answers carry no score.
    """
    for run in case.also:
        for lesson in lessons(run.trajectory, options.turn_format.offer):
            turn = _turn(run, lesson, options)
            if turn is not None:
                columns = {
                    "step": lesson.step,
                    "origin": lesson.origin.value,
                    "round": run.number,
                    "model": run.model,
                }
                yield Sample((turn,), columns, kind=lesson.origin.value)


def _right_end(trajectory: Trajectory, offer: Offer) -> Finish | NoObject:
    return NoObject() if offer.no_object and trajectory.target.truth.is_empty else Finish()


def _corrected(trajectory: Trajectory, step: int, *, end: Finish | NoObject) -> Lesson:
    truth = decode_rle(trajectory.target.truth)
    before = trajectory.mask_before(step)
    ignore = trajectory.target.ignore
    click = oracle_click(
        np.zeros_like(truth) if before is None else decode_rle(before),
        truth,
        ignore=None if ignore is None else decode_rle(ignore),
        clicked=trajectory.clicks_before(step),
    )
    if click is not None:
        return Lesson(step, click, Origin.CORRECTED)
    said = StopReason.NO_OBJECT if isinstance(end, NoObject) else StopReason.FINISHED
    is_kept = step == len(trajectory.steps) and trajectory.stop_reason is said
    return Lesson(step, end, Origin.KEPT if is_kept else Origin.CORRECTED)


def _turn(run: OtherRun, lesson: Lesson, options: LlamaFactoryOptions) -> Turn | None:
    trajectory, turn_format = run.trajectory, options.seen_turn_format
    label = f"round{run.number:02d}-{lesson.step:02d}"
    shown = Shown(trajectory.mask_before(lesson.step), label)
    iou = iou_before(trajectory, lesson.step)
    action = lesson.action
    if isinstance(action, Finish) and not turn_format.with_finish:
        action = None
    if action is not None:
        answer = turn_format.answer(action, size_hw=trajectory.target.size_hw, iou=iou)
        return Turn(shown, turn_format, answer)
    if not turn_format.with_score:
        return None
    return Turn(shown, replace(turn_format, prompt=options.score_prompt), render_predicted_iou(iou))
