"""What an agent may send, text or numbers, read as a click, a finish or an invalid action."""

from __future__ import annotations

import string
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hlmat.transforms.core.records import Box, Click, Finish, InvalidAction
from hlmat.transforms.envs.observation import rescaled
from hlmat.transforms.policies.dialogue_policy import Conversation

if TYPE_CHECKING:
    from gymnasium import spaces

Reading = Click | Finish | InvalidAction

KINDS = ("positive", "negative", "finish")
"""What the first number of a click action means, by its value."""

_MAX_TEXT = 256
_CHARACTERS = string.ascii_letters + string.digits + string.punctuation + " \n"


@dataclass(frozen=True)
class TextActions:
    """Texts, read by the dialogue that models are trained with.

    Attributes:
        conversation: how texts are read and which image the model is shown.
    """

    conversation: Conversation

    def space(self) -> spaces.Text:
        """Return the space that samples are drawn from; every other text is read as well."""
        from gymnasium import spaces

        return spaces.Text(_MAX_TEXT, min_length=0, charset=_CHARACTERS)

    def read(self, action: Any, *, size_hw: tuple[int, int]) -> Reading:
        """Read a text; what is not exactly one action of the dialogue is invalid.

        Args:
            action: a string.
            size_hw: (height, width) of the image.

        Raises:
            ValueError: not a string.
        """
        if not isinstance(action, str):
            raise ValueError(
                f"a text action must be a str, got {type(action).__name__} {action!r}; "
                'use action_mode="click" for numbers'
            )
        return read_text(action, conversation=self.conversation, size_hw=size_hw)


@dataclass(frozen=True)
class ClickActions:
    """Three numbers: the kind (see `KINDS`), the column and the row of a grid over the image.

    Attributes:
        grid_hw: (rows, columns); a click goes to the pixel under the centre of its cell.
    """

    grid_hw: tuple[int, int]

    def space(self) -> spaces.MultiDiscrete:
        """Return the space of (kind, column, row)."""
        from gymnasium import spaces

        return spaces.MultiDiscrete([len(KINDS), self.grid_hw[1], self.grid_hw[0]])

    def read(self, action: Any, *, size_hw: tuple[int, int]) -> Reading:
        """Read three numbers; they are always valid.

        Args:
            action: whole numbers. Shape: (3,).
            size_hw: (height, width) of the image.

        Raises:
            ValueError: not three whole numbers, or one of them out of range.
        """
        numbers = np.asarray(action)
        ends = np.array([len(KINDS), self.grid_hw[1], self.grid_hw[0]])
        is_whole = numbers.shape == (3,) and np.issubdtype(numbers.dtype, np.integer)
        if not is_whole or (numbers < 0).any() or (numbers >= ends).any():
            raise ValueError(
                f"a click action is (kind, column, row), whole numbers from 0 to below "
                f"({', '.join(str(end) for end in ends)}), got {action!r}"
            )
        kind, column, row = (int(number) for number in numbers)
        if KINDS[kind] == "finish":
            return Finish()
        x = rescaled(column, length=self.grid_hw[1], to=size_hw[1])
        y = rescaled(row, length=self.grid_hw[0], to=size_hw[0])
        return Click(x, y, is_positive=KINDS[kind] == "positive")


def read_text(text: str, *, conversation: Conversation, size_hw: tuple[int, int]) -> Reading:
    """Read a model's text about an image of (height, width); never raises."""
    codec = conversation.view.seen_through(conversation.dialogue.codec)
    action = replace(conversation.dialogue, codec=codec).read(text, size_hw=size_hw).action
    if isinstance(action, Box):
        return InvalidAction(text, "a box where a click was asked for")
    return action
