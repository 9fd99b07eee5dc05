from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import builders
from hlmat.transforms.core.options import OptionsError
from hlmat.transforms.core.records import StopReason, Trajectory
from hlmat.transforms.reinforcement.advantages import group_advantages
from hlmat.transforms.reinforcement.options import GrpoOptions, RewardOptions
from hlmat.transforms.reinforcement.rewards import best_iou, reward_of

TRUTH = builders.columns(4, size_hw=(4, 8))
PRICES = RewardOptions(iou_weight=1.0, click_price=0.1, overshoot_price=0.5, invalid_price=0.25)


def rollout(*ious: float, stop: StopReason = StopReason.MAX_CLICKS) -> Trajectory:
    """A trajectory whose masks have these IoUs."""
    before = (0.0, *ious)
    steps = tuple(builders.step(TRUTH, iou=iou, gain=iou - before[k]) for k, iou in enumerate(ious))
    return replace(builders.trajectory(builders.target(TRUTH)), steps=steps, stop_reason=stop)


def test_a_rollout_earns_its_last_iou_and_pays_for_clicks() -> None:
    earned = reward_of(rollout(0.5, 0.75), PRICES)
    assert earned.as_dict() == {"iou": 0.75, "clicks": -0.2, "overshoot": 0.0, "invalid": 0.0}
    assert earned.total == pytest.approx(0.55)


def test_iou_that_is_lost_again_is_paid_for() -> None:
    made = rollout(0.25, 0.75, 0.5)
    assert best_iou(made) == 0.75
    assert reward_of(made, PRICES).overshoot == -0.5 * 0.25


def test_an_invalid_answer_is_paid_for() -> None:
    earned = reward_of(rollout(stop=StopReason.INVALID_ACTION), PRICES)
    assert (earned.iou, earned.invalid, earned.total) == (0.0, -0.25, -0.25)


def test_prices_of_0_cost_nothing() -> None:
    free = RewardOptions(click_price=0, overshoot_price=0, invalid_price=0)
    earned = reward_of(rollout(0.75, 0.5, stop=StopReason.INVALID_ACTION), free)
    assert earned.as_dict() == {"iou": 0.5, "clicks": 0.0, "overshoot": 0.0, "invalid": 0.0}


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(OptionsError, match="must be at least 0"):
        RewardOptions(click_price=-1.0)
    with pytest.raises(OptionsError, match="every rollout is rewarded alike"):
        RewardOptions(iou_weight=0, click_price=0, overshoot_price=0, invalid_price=0)
    with pytest.raises(OptionsError, match="does not divide the rollouts of a round"):
        GrpoOptions(targets=2, group=4, updates=3, parts=1)


def test_advantages_are_over_the_mean_of_a_group() -> None:
    rewards, groups = [0.0, 1.0, 5.0, 5.0, 2.0], ["a", "a", "b", "b", "c"]
    found = group_advantages(rewards, groups, scale="none")
    assert found.tolist() == [-0.5, 0.5, 0.0, 0.0, 0.0]


def test_advantages_can_be_divided_by_the_deviation_of_a_group() -> None:
    found = group_advantages([0.0, 1.0, 2.0], ["a"] * 3, scale="group")
    # The standard deviation of a sample of 0, 1, 2 is 1.
    assert found == pytest.approx(np.array([-1, 0, 1]) / 1.0001)


def test_every_reward_needs_a_group() -> None:
    with pytest.raises(ValueError, match="2 rewards for 1 groups"):
        group_advantages([0.0, 1.0], ["a"], scale="none")
