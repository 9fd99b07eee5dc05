"""The rules of an environment, and what is wrong with bad ones."""

from __future__ import annotations

from typing import Any

import pytest

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.envs.actions import ClickActions, TextActions
from hlmat.transforms.envs.settings import EnvironmentSettings


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"max_clicks": -1}, "max_clicks must be a whole number from 1, got -1"),
        ({"max_clicks": 0}, "max_clicks must be a whole number from 1, got 0"),
        ({"max_clicks": 2.5}, "got 2.5"),
        ({"action_mode": "txt"}, "'txt' is unknown; did you mean 'text'? choose from click, text"),
        ({"observation_hw": (0, 64)}, "observation_hw must be (height, width), whole numbers"),
        ({"observation_hw": 64}, "from 1, got 64"),
        ({"observation_hw": (64,)}, "from 1, got (64,)"),
        ({"grid_hw": (8, 0)}, "grid_hw must be (height, width), whole numbers from 1"),
        ({"grid_hw": (8, 8), "action_mode": "text"}, 'grid_hw goes with action_mode="click" only'),
        ({"target_iou": 0}, "target_iou must be in (0, 1] or None, got 0"),
        ({"target_iou": 90}, "got 90"),
        ({"click_cost": -0.1}, "click_cost must be 0 or more, got -0.1"),
        ({"click_cost": float("nan")}, "click_cost must be 0 or more, got nan"),
        ({"invalid_reward": float("-inf")}, "invalid_reward must be a finite number, got -inf"),
        ({"click_radius": -1}, "click_radius must be a whole number from 0, got -1"),
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
