"""The rules of an environment: how long an episode is, what pays, what is seen and sent."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field
from typing import Any

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.envs.actions import ClickActions, TextActions
from hlmat.transforms.envs.observation import ObservationView
from hlmat.transforms.policies.dialogue_policy import Conversation
from hlmat.transforms.prompting.actions import Dialogue
from hlmat.transforms.prompting.coordinates import make_codec

ACTION_MODES = ("click", "text")


def default_conversation() -> Conversation:
    """Return decimal coordinates, as `hlmat evaluate` takes them, with `Finish` as an action."""
    return Conversation(Dialogue(make_codec("decimal"), with_finish=True))


@dataclass(frozen=True)
class EnvironmentSettings:
    """The rules of an environment.

    Attributes:
        max_clicks: turns of an episode; an invalid action uses up one as a click does.
        action_mode: "click" for numbers, "text" for what a model writes.
        observation_hw: (height, width) of every observation.
        grid_hw: (rows, columns) of the positions of click actions; None takes a position for
            each pixel of the observation.
        target_iou: an episode ends once a click reaches this IoU; None never ends for it.
        click_cost: taken from the reward of every click.
        invalid_reward: of an action that cannot be read.
        ends_on_invalid: whether such an action ends the episode, as it ends a trajectory;
            otherwise the state stays as it is.
        conversation: how texts are read and questions are asked.
        click_radius: of the discs in the click map, in pixels of the observation.

    Raises:
        ConfigError: with every problem at once.
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

    def __post_init__(self) -> None:
        problems = [
            *_size_problems("observation_hw", self.observation_hw),
            *([] if self.grid_hw is None else _size_problems("grid_hw", self.grid_hw)),
        ]
        if self.action_mode not in ACTION_MODES:
            close = difflib.get_close_matches(str(self.action_mode), ACTION_MODES, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            problems.append(
                f"action_mode {self.action_mode!r} is unknown; {hint}"
                f"choose from {', '.join(ACTION_MODES)}"
            )
        elif self.action_mode == "text" and self.grid_hw is not None:
            problems.append('grid_hw goes with action_mode="click" only; leave it out')
        if not _is_whole(self.max_clicks) or self.max_clicks < 1:
            problems.append(f"max_clicks must be a whole number from 1, got {self.max_clicks!r}")
        if not _is_whole(self.click_radius) or self.click_radius < 0:
            problems.append(
                f"click_radius must be a whole number from 0, got {self.click_radius!r}"
            )
        if self.target_iou is not None and not 0 < self.target_iou <= 1:
            problems.append(f"target_iou must be in (0, 1] or None, got {self.target_iou!r}")
        if not 0 <= self.click_cost < math.inf:
            problems.append(f"click_cost must be 0 or more, got {self.click_cost!r}")
        if not math.isfinite(self.invalid_reward):
            problems.append(f"invalid_reward must be a finite number, got {self.invalid_reward!r}")
        if problems:
            raise ConfigError(problems)

    @property
    def view(self) -> ObservationView:
        """What an agent sees of a state."""
        height, width = self.observation_hw
        return ObservationView((int(height), int(width)), self.click_radius)

    @property
    def actions(self) -> TextActions | ClickActions:
        """What an agent may send."""
        if self.action_mode == "text":
            return TextActions(self.conversation)
        return ClickActions(self.grid_hw or self.view.size_hw)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _size_problems(name: str, size_hw: Any) -> list[str]:
    is_pair = isinstance(size_hw, (tuple, list)) and len(size_hw) == 2
    if is_pair and all(_is_whole(side) and side >= 1 for side in size_hw):
        return []
    return [f"{name} must be (height, width), whole numbers from 1, got {size_hw!r}"]
