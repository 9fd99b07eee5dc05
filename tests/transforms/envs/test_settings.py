"""Settings of an environment; invalid ones are reported together."""

from __future__ import annotations

from typing import Any

import pytest

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.envs.actions import ClickActions, TextActions
from hlmat.transforms.envs.settings import EnvironmentSettings


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"max_clicks": -1}, "max_clicks -1: must be an integer of at least 1"),
        ({"max_clicks": 0}, "max_clicks 0: must be an integer of at least 1"),
        ({"max_clicks": 2.5}, "max_clicks 2.5: must be an integer"),
        ({"action_mode": "txt"}, "'txt' is unknown; did you mean 'text'? choose from click, text"),
        ({"observation_hw": (0, 64)}, "observation_hw (0, 64): must be (height, width), integers"),
        ({"observation_hw": 64}, "observation_hw 64: must be"),
        ({"observation_hw": (64,)}, "observation_hw (64,): must be"),
        ({"grid_hw": (8, 0)}, "grid_hw (8, 0): must be (height, width), integers of at least 1"),
        ({"grid_hw": (8, 8), "action_mode": "text"}, 'grid_hw needs action_mode="click"'),
        ({"target_iou": 0}, "target_iou 0: must be in (0, 1] or None"),
        ({"target_iou": 90}, "target_iou 90: must be"),
        ({"click_cost": -0.1}, "click_cost -0.1: must be finite and at least 0"),
        ({"click_cost": float("nan")}, "click_cost nan: must be finite and at least 0"),
        ({"invalid_reward": float("-inf")}, "invalid_reward -inf: must be finite"),
        ({"click_radius": -1}, "click_radius -1: must be an integer of at least 0"),
    ],
)
def test_a_bad_setting_is_named_with_what_was_expected(settings: dict[str, Any], problem: str):
    with pytest.raises(ConfigError) as caught:
        EnvironmentSettings(**settings)
    assert len(caught.value.problems) == 1
    assert problem in str(caught.value)


def test_all_problems_come_at_once():
    with pytest.raises(ConfigError) as caught:
        EnvironmentSettings(max_clicks=0, observation_hw=(0, 0), action_mode="voice")
    assert len(caught.value.problems) == 3


def test_positions_are_the_pixels_of_the_observation_unless_a_grid_is_given():
    assert EnvironmentSettings(observation_hw=(30, 40)).actions == ClickActions((30, 40))
    assert EnvironmentSettings(grid_hw=(3, 4)).actions == ClickActions((3, 4))
    assert isinstance(EnvironmentSettings(action_mode="text").actions, TextActions)
