"""The task `next-click`: the state that a step saw, and the click taken in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.samples import Case, Sample, Turn, iou_before, shown_before
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import (
    Action,
    Box,
    Click,
    Finish,
    NoObject,
    StopReason,
    Trajectory,
)
from hlmat.transforms.masks.boxes import truth_box
from hlmat.transforms.masks.rle import decode_rle, rle_area
from hlmat.transforms.prompting.actions import TurnFormat
from hlmat.transforms.prompting.dialogues.protocol import Offer

# Stop reasons of trajectories whose last mask cannot be improved.
_DONE = frozenset(
    {
        StopReason.REACHED_IOU,
        StopReason.NO_GAIN,
        StopReason.NO_ERROR_LEFT,
        StopReason.FINISHED,
    }
)


@dataclass(frozen=True)
class Decision:
    """One state and the action to take in it.

    Attributes:
        step: index of the state, the number of steps before it.
        action: the click, box or undo taken, the end, the missing object, or the object's box.
        iou: IoU of the mask shown, in [0, 1].
    """

    step: int
    action: Action
    iou: float


def decisions(trajectory: Trajectory, offer: Offer | None = None) -> Iterator[Decision]:
    """List a trajectory's decisions.

    An initial action is not a decision. `Finish` is one only in a trajectory that has a step and
    ended because no click improved the mask, not in one that ran out of clicks; and at once where
    the target is no object. Where `NoObject` is among the actions, it takes the place of `Finish`
    for such a target.

    Args:
        trajectory: of a target.
        offer: what an answer may say; clicks alone without it.

    Raises:
        DataError: the policy took an action back or drew a box later on, and an answer cannot say
            so.
    """
    for step, taken in enumerate(trajectory.steps):
        if taken.is_initial:
            continue
        if isinstance(taken.action, Click) or (offer and type(taken.action) in offer.edits):
            yield Decision(step, taken.action, iou_before(trajectory, step))
        elif offer is not None:
            what, flag = ("takes an action back", "--undo")
            if isinstance(taken.action, Box):
                what, flag = ("draws a box", "--add-box")
            raise DataError(
                f"target {trajectory.target.ref.target_id!r} {what} in step {step + 1}, which "
                f"answers cannot say here; add {flag} with --dialogue tools, or correct the "
                "rollouts with the task star-plus"
            )
    offer = offer or Offer()
    last = len(trajectory.steps)
    if trajectory.target.truth.is_empty and offer.no_object:
        if trajectory.stop_reason in _DONE | {StopReason.NO_OBJECT}:
            yield Decision(last, NoObject(), iou_before(trajectory, last))
        return
    is_judged = last > 0 or trajectory.target.truth.is_empty
    if offer.finish and is_judged and trajectory.stop_reason in _DONE:
        yield Decision(last, Finish(), iou_before(trajectory, last))


def decision_turn(trajectory: Trajectory, decision: Decision, turn_format: TurnFormat) -> Turn:
    """Return a turn: the question in a state, with the decision as its answer."""
    answer = turn_format.answer(
        decision.action, size_hw=trajectory.target.size_hw, iou=decision.iou
    )
    return Turn(shown_before(trajectory, decision.step), turn_format, answer)


def samples(case: Case, options: LlamaFactoryOptions) -> Iterator[Sample]:
    """List a target's samples: its box if requested, then its decisions."""
    trajectory, turn_format = case.trajectory, options.seen_turn_format
    has_object = rle_area(trajectory.target.truth) > 0
    if options.box_prompt is not None and trajectory.steps and has_object:
        box = truth_box(decode_rle(trajectory.target.truth))
        asking = replace(turn_format, prompt=options.box_prompt, with_score=False, asks_box=True)
        turn = decision_turn(trajectory, Decision(step=0, action=box, iou=0.0), asking)
        yield Sample((turn,), {"step": 0})
    for decision in decisions(trajectory, turn_format.offer):
        turn = decision_turn(trajectory, decision, turn_format)
        yield Sample((turn,), {"step": decision.step})
