"""The reward of a whole rollout, and its parts."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from hlmat.transforms.core.records import StopReason, Trajectory
from hlmat.transforms.reinforcement.options import RewardOptions


@dataclass(frozen=True)
class RewardParts:
    """What a rollout earned; the costs are negative or 0.

    Attributes:
        iou: for the last mask.
        clicks: for clicks and undos.
        overshoot: for IoU that was reached and lost again.
        invalid: for an answer that is no action.
    """

    iou: float
    clicks: float
    overshoot: float
    invalid: float

    @property
    def total(self) -> float:
        """The reward."""
        return self.iou + self.clicks + self.overshoot + self.invalid

    def as_dict(self) -> dict[str, float]:
        """Return the parts by name."""
        return asdict(self)


def best_iou(trajectory: Trajectory) -> float:
    """Return the best IoU of a rollout's masks, the one that it begins with included."""
    return max([trajectory.initial_iou, *(step.iou for step in trajectory.steps)])


def reward_of(trajectory: Trajectory, options: RewardOptions) -> RewardParts:
    """Return what a rollout earns.

    A rollout that says that there is no object ends with an empty mask, so that its IoU is 1 where
    that is right and else 0.
    """
    final = trajectory.final_iou
    overshoot = max(0.0, best_iou(trajectory) - final)
    is_invalid = trajectory.stop_reason is StopReason.INVALID_ACTION
    # Adding 0.0 turns -0.0 into 0.0.
    return RewardParts(
        iou=options.iou_weight * final,
        clicks=0.0 - options.click_price * len(trajectory.steps),
        overshoot=0.0 - options.overshoot_price * overshoot,
        invalid=0.0 - options.invalid_price * is_invalid,
    )
