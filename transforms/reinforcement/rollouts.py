"""Groups of rollouts: several samples for each target, by the loop that `hlmat evaluate` uses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.protocols import DatasetReader, Segmenter
from hlmat.transforms.core.records import Provenance, Reject, TargetRef, Trajectory
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.core.threads import Threads
from hlmat.transforms.dataset_io.work_units import WorkUnit
from hlmat.transforms.policies.model_policy import Conversation, ModelPolicy
from hlmat.transforms.reinforcement.advantages import group_advantages
from hlmat.transforms.reinforcement.options import GrpoOptions, RewardOptions
from hlmat.transforms.reinforcement.recording import RecordingAnswerer, Turn
from hlmat.transforms.reinforcement.rewards import RewardParts, reward_of
from hlmat.transforms.rollout.options import Limits
from hlmat.transforms.rollout.unit_worker import Simulation, simulate_unit

_MARK = "#"


@dataclass(frozen=True, eq=False)
class Rollout:
    """One rollout with its reward.

    Attributes:
        group: the id of its target.
        trajectory: its target's id is the group's with the number of the rollout.
        turns: what the model was asked and wrote, oldest first.
        advantage: of the reward over those of its group.
    """

    group: str
    trajectory: Trajectory
    turns: tuple[Turn, ...]
    reward: RewardParts
    advantage: float


@dataclass(frozen=True)
class Round:
    """The rollouts of a round, and the targets that could not be rolled out."""

    rollouts: tuple[Rollout, ...]
    rejects: tuple[Reject, ...]


def choose_targets(number: int, *, targets: int, count: int, seed: int) -> list[int]:
    """Return which targets a round rolls out: every one before any a second time.

    Args:
        number: of the round, from 0.
        targets: how many there are.
        count: how many to choose.
        seed: of the order.

    >>> sorted(choose_targets(0, targets=4, count=2, seed=1) +
    ...        choose_targets(1, targets=4, count=2, seed=1))
    [0, 1, 2, 3]
    """
    chosen = []
    for place in range(number * count, (number + 1) * count):
        order = target_rng(seed, "all targets", "rounds", place // targets).permutation(targets)
        chosen.append(int(order[place % targets]))
    return chosen


@dataclass(frozen=True)
class GroupRollouts:
    """Rolls groups out with a checkpoint, and rewards them.

    Attributes:
        refs: the targets, one expression each.
        answerer: samples and records the answers.
        limits: when a rollout ends beside the model's own `Finish`.
        seed: of the choice of targets.
    """

    refs: Sequence[TargetRef]
    reader: DatasetReader
    segmenter: Segmenter
    conversation: Conversation
    answerer: RecordingAnswerer
    limits: Limits
    grpo: GrpoOptions
    rewards: RewardOptions
    seed: int = 0

    def __call__(self, number: int) -> Round:
        """Roll out the groups of a round; a round has the same rollouts wherever it begins.

        Args:
            number: of the round, from 0.

        Raises:
            AnswerError: the model cannot answer.
            DataError: none of the round's targets can be rolled out.
        """
        chosen = choose_targets(
            number, targets=len(self.refs), count=self.grpo.targets, seed=self.seed
        )
        # A target may be drawn twice in a round that is larger than the data set.
        refs = [self.refs[index] for index in dict.fromkeys(chosen)]
        refs = sorted(refs, key=lambda ref: ref.image_path)
        items = tuple(
            replace(ref, target_id=f"{ref.target_id}{_MARK}{k}")
            for ref in refs
            for k in range(self.grpo.group)
        )
        self.answerer.round = number
        outcomes = simulate_unit(WorkUnit(f"round-{number}", number, items), self._simulation())
        turns: dict[str, list[Turn]] = defaultdict(list)
        for turn in self.answerer.take():
            turns[turn.target_id].append(turn)
        made = [outcome for outcome in outcomes if isinstance(outcome, Trajectory)]
        rejects = tuple(outcome for outcome in outcomes if isinstance(outcome, Reject))
        if not made:
            raise DataError(
                f"none of the {len(refs)} targets of round {number + 1} can be rolled out; the "
                f"first: {rejects[0].ref.target_id}: {rejects[0].message}"
            )
        parts = [reward_of(trajectory, self.rewards) for trajectory in made]
        groups = [t.target.ref.target_id.rpartition(_MARK)[0] for t in made]
        advantages = group_advantages([p.total for p in parts], groups, scale=self.grpo.scale)
        rollouts = tuple(
            Rollout(group, t, tuple(turns[t.target.ref.target_id]), part, float(advantage))
            for group, t, part, advantage in zip(groups, made, parts, advantages, strict=True)
        )
        return Round(rollouts, rejects)

    def _simulation(self) -> Simulation:
        return Simulation(
            reader=self.reader,
            segmenter=self.segmenter,
            policy=ModelPolicy(
                name="mllm",
                conversation=self.conversation,
                answerer=self.answerer,
                draws_boxes=False,
            ),
            limits=self.limits,
            provenance=Provenance("", "", "mllm", self.seed, ""),
            images_at_once=self.grpo.targets,
            threads=Threads(1),
        )


def round_figures(made: Round) -> dict[str, float]:
    """Return the means of a round's rewards and rollouts, by name."""
    rollouts = made.rollouts
    found = [rollout.trajectory for rollout in rollouts]
    rewards = [rollout.reward for rollout in rollouts]
    by_group: dict[str, list[float]] = defaultdict(list)
    for rollout in rollouts:
        by_group[rollout.group].append(rollout.reward.total)
    parts = {
        f"reward_{name}": float(np.mean([reward.as_dict()[name] for reward in rewards]))
        for name in RewardParts.__dataclass_fields__
    }
    return {
        "reward": float(np.mean([reward.total for reward in rewards])),
        **parts,
        "reward_deviation": float(np.mean([np.std(values) for values in by_group.values()])),
        "equal_groups": float(np.mean([not np.ptp(values) for values in by_group.values()])),
        "iou": float(np.mean([t.final_iou for t in found])),
        "iou_after_first": float(np.mean([t.steps[0].iou if t.steps else 0.0 for t in found])),
        "clicks": float(np.mean([len(t.steps) for t in found])),
        "finished": float(np.mean([t.stop_reason.value == "finished" for t in found])),
        "invalid": float(np.mean([t.stop_reason.value == "invalid_action" for t in found])),
        "rollouts": len(rollouts),
        "turns": sum(len(rollout.turns) for rollout in rollouts),
        "rejected": len(made.rejects),
    }
