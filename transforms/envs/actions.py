"""Action spaces of the environment: text or numbers, parsed to clicks and finishes."""

from __future__ import annotations

import string
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hlmat.transforms.core.records import Box, Click, Finish, InvalidAction, NoObject, Undo
from hlmat.transforms.envs.observation import rescaled
from hlmat.transforms.policies.model_policy import Conversation

if TYPE_CHECKING:
    from gymnasium import spaces

Reading = Click | Undo | Finish | NoObject | InvalidAction

KINDS = ("positive", "negative", "finish", "undo")
"""Meaning of the first number of a click action, by its value; the last one only `with_undo`."""

_MAX_TEXT = 256
_CHARACTERS = string.ascii_letters + string.digits + string.punctuation + " \n"


@dataclass(frozen=True)
class TextActions:
    """Parse text actions with the turn format that models are trained with.

    Attributes:
        conversation: parses texts and defines the image that the model is shown.
    """

    conversation: Conversation

    def space(self) -> spaces.Text:
        """Return the space that samples are drawn from; `read` accepts any other text too."""
        from gymnasium import spaces

        return spaces.Text(_MAX_TEXT, min_length=0, charset=_CHARACTERS)

    def read(self, action: Any, *, size_hw: tuple[int, int]) -> Reading:
        """Parse a text; anything but exactly one action of the turn format is an `InvalidAction`.

        Args:
            action: a str.
            size_hw: (height, width) of the image.

        Raises:
            ValueError: not a str.
        """
        if not isinstance(action, str):
            raise ValueError(
                f"action {action!r} ({type(action).__name__}): expected a str; "
                'use action_mode="click" for numbers'
            )
        return read_text(action, conversation=self.conversation, size_hw=size_hw)


@dataclass(frozen=True)
class ClickActions:
    """Parse actions of three integers: kind (see `KINDS`), column and row of a grid.

    Attributes:
        grid_hw: (rows, columns) over the image; a click goes to the pixel at its cell's centre.
        with_undo: whether the kinds include `undo`.
    """

    grid_hw: tuple[int, int]
    with_undo: bool = False

    def space(self) -> spaces.MultiDiscrete:
        """Return the space of (kind, column, row)."""
        from gymnasium import spaces

        return spaces.MultiDiscrete([len(self.kinds), self.grid_hw[1], self.grid_hw[0]])

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of actions, by their number."""
        return KINDS if self.with_undo else KINDS[:-1]

    def read(self, action: Any, *, size_hw: tuple[int, int]) -> Reading:
        """Convert three integers to a click, undo or finish; never invalid.

        Args:
            action: integers of any integer dtype. Shape: (3,).
            size_hw: (height, width) of the image.

        Raises:
            ValueError: not three integers, or one of them out of range.
        """
        numbers = np.asarray(action)
        ends = np.array([len(self.kinds), self.grid_hw[1], self.grid_hw[0]])
        is_whole = numbers.shape == (3,) and np.issubdtype(numbers.dtype, np.integer)
        if not is_whole or (numbers < 0).any() or (numbers >= ends).any():
            raise ValueError(
                f"action {action!r}: expected integers (kind, column, row), each from 0 to below "
                f"({', '.join(str(end) for end in ends)})"
            )
        kind, column, row = (int(number) for number in numbers)
        if KINDS[kind] == "finish":
            return Finish()
        if KINDS[kind] == "undo":
            return Undo()
        x = rescaled(column, length=self.grid_hw[1], to=size_hw[1])
        y = rescaled(row, length=self.grid_hw[0], to=size_hw[0])
        return Click(x, y, is_positive=KINDS[kind] == "positive")


def read_text(text: str, *, conversation: Conversation, size_hw: tuple[int, int]) -> Reading:
    """Parse a model's text; never raises.

    Args:
        text: what the model wrote.
        conversation: parses the text.
        size_hw: (height, width) of the image; clicks are in its pixels.

    Returns:
        A click, an undo, a finish or a missing object; an `InvalidAction` for a box or anything
        other than exactly one action.
    """
    codec = conversation.view.seen_through(conversation.turn_format.codec)
    action = replace(conversation.turn_format, codec=codec).read(text, size_hw=size_hw).action
    if isinstance(action, Box):
        return InvalidAction(text, "got a box, expected a click")
    return action
