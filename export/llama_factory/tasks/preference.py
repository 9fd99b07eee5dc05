"""The task `preference`: two clicks in one state, the better one chosen, the worse one rejected."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import combinations

from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.samples import Case, Sample, Shown, Turn, answer_message
from hlmat.export.llama_factory.tasks.next_click import Decision, decision_turn, decisions
from hlmat.transforms.core.records import Action, Rle, Trajectory
from hlmat.transforms.prompting.actions import TurnFormat

CHOSEN, REJECTED = "chosen", "rejected"

_State = tuple[Rle | None, tuple[Action, ...]]
_Taken = tuple[Trajectory, Decision]


def samples(case: Case, options: LlamaFactoryOptions) -> Iterator[Sample]:
    """List the pairs of clicks that a target's trajectories took in the same state.

    Two steps are in the same state if the mask before and all actions so far are the same. A click
    is better if the IoU after it is higher; clicks with the same text are not a pair.
    """
    turn_format = options.seen_turn_format
    others = (other.trajectory for other in case.also)
    for taken in _clicks_by_state((case.trajectory, *others)):
        for pair in combinations(taken, 2):
            better, worse = sorted(pair, key=_iou_after, reverse=True)
            margin = _iou_after(better) - _iou_after(worse)
            chosen, rejected = (_answer(each, turn_format) for each in (better, worse))
            if margin > 0 and margin >= options.min_margin and chosen != rejected:
                trajectory, decision = better
                columns = {
                    CHOSEN: answer_message(chosen, turn_format),
                    REJECTED: answer_message(rejected, turn_format),
                    "step": decision.step,
                    "margin": margin,
                }
                yield Sample((Turn(_shown(trajectory, decision), turn_format, None),), columns)


def _clicks_by_state(trajectories: tuple[Trajectory, ...]) -> Iterator[list[_Taken]]:
    """List the states in which clicks were taken, each with its distinct clicks."""
    states: dict[_State, dict[Action, _Taken]] = {}
    for trajectory in trajectories:
        actions = tuple(step.action for step in trajectory.steps)
        for decision in decisions(trajectory):
            state = (trajectory.mask_before(decision.step), actions[: decision.step])
            states.setdefault(state, {}).setdefault(decision.action, (trajectory, decision))
    return (list(clicks.values()) for clicks in states.values())


def _iou_after(taken: _Taken) -> float:
    trajectory, decision = taken
    return trajectory.steps[decision.step].iou


def _answer(taken: _Taken, turn_format: TurnFormat) -> str:
    return decision_turn(*taken, turn_format).answer or ""


def _shown(trajectory: Trajectory, decision: Decision) -> Shown:
    """Return what the step saw, with a label unique among the target's states."""
    mask = trajectory.mask_before(decision.step)
    digest = hashlib.sha256(mask.counts.encode("ascii")).hexdigest()[:12] if mask else ""
    return Shown(mask, f"{decision.step:02d}-{digest}")
