"""Settings of an environment: episode length, rewards, observations and actions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.suggestions import did_you_mean
from hlmat.transforms.envs.actions import ClickActions, TextActions
from hlmat.transforms.envs.observation import ObservationView
from hlmat.transforms.policies.model_policy import Conversation
from hlmat.transforms.prompting.actions import TurnFormat
from hlmat.transforms.prompting.coordinates import build_codec

ACTION_MODES = ("click", "text")


def default_conversation() -> Conversation:
    """Return the default of `hlmat evaluate`, decimal coordinates, with `Finish` as an action."""
    return Conversation(TurnFormat(build_codec("decimal"), with_finish=True))


@dataclass(frozen=True)
class EnvironmentSettings:
    """The rules of an environment.

    Attributes:
        max_clicks: turns per episode; clicks, undos and invalid actions all count.
        action_mode: "click" for numbers, "text" for what a model writes.
        observation_hw: (height, width) of every observation.
        grid_hw: (rows, columns) of the grid of click actions; None uses one cell per pixel of the
            observation.
        target_iou: in (0, 1]: end the episode once a click reaches this IoU; None never does.
        click_cost: subtracted from the reward of every click and undo; at least 0.
        invalid_reward: reward of an invalid action.
        ends_on_invalid: whether an invalid action ends the episode, as it ends a trajectory;
            otherwise the state does not change.
        conversation: asks questions and parses answers.
        click_radius: radius of the discs in the click map, in pixels of the observation.
        with_undo: whether numbers can take a click back; texts can where the conversation offers
            it.

    Raises:
        ConfigError: values out of range; lists every problem.
    """

    max_clicks: int = 5
    action_mode: str = "click"
    observation_hw: tuple[int, int] = (224, 224)
    grid_hw: tuple[int, int] | None = None
    target_iou: float | None = None
    click_cost: float = 0.0
    invalid_reward: float = -1.0
    ends_on_invalid: bool = True
    conversation: Conversation = field(default_factory=default_conversation)
    click_radius: int = 3
    with_undo: bool = False

    def __post_init__(self) -> None:
        problems = [
            *_size_problems("observation_hw", self.observation_hw),
            *([] if self.grid_hw is None else _size_problems("grid_hw", self.grid_hw)),
        ]
        if self.action_mode not in ACTION_MODES:
            hint = did_you_mean(str(self.action_mode), ACTION_MODES)
            problems.append(
                f"action_mode {self.action_mode!r} is unknown; {hint}"
                f"choose from {', '.join(ACTION_MODES)}"
            )
        elif self.action_mode == "text" and self.grid_hw is not None:
            problems.append('grid_hw needs action_mode="click"; leave it out')
        if self.action_mode == "text" and self.with_undo:
            problems.append(
                'with_undo needs action_mode="click"; for texts, give a conversation whose turn '
                "format has with_undo"
            )
        if not _is_whole(self.max_clicks) or self.max_clicks < 1:
            problems.append(f"max_clicks {self.max_clicks!r}: must be an integer of at least 1")
        if not _is_whole(self.click_radius) or self.click_radius < 0:
            problems.append(f"click_radius {self.click_radius!r}: must be an integer of at least 0")
        if self.target_iou is not None and not 0 < self.target_iou <= 1:
            problems.append(f"target_iou {self.target_iou!r}: must be in (0, 1] or None")
        if not 0 <= self.click_cost < math.inf:
            problems.append(f"click_cost {self.click_cost!r}: must be finite and at least 0")
        if not math.isfinite(self.invalid_reward):
            problems.append(f"invalid_reward {self.invalid_reward!r}: must be finite")
        if problems:
            raise ConfigError(problems)

    @property
    def view(self) -> ObservationView:
        """How states become observations."""
        height, width = self.observation_hw
        return ObservationView((int(height), int(width)), self.click_radius)

    @property
    def actions(self) -> TextActions | ClickActions:
        """The action space and its parser."""
        if self.action_mode == "text":
            return TextActions(self.conversation)
        return ClickActions(self.grid_hw or self.view.size_hw, self.with_undo)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _size_problems(name: str, size_hw: Any) -> list[str]:
    is_pair = isinstance(size_hw, (tuple, list)) and len(size_hw) == 2
    if is_pair and all(_is_whole(side) and side >= 1 for side in size_hw):
        return []
    return [f"{name} {size_hw!r}: must be (height, width), integers of at least 1"]
