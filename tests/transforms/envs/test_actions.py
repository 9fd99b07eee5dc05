"""Texts and numbers parsed to actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.records import Click, Finish, InvalidAction
from hlmat.transforms.envs.actions import ClickActions, TextActions, read_text
from hlmat.transforms.envs.settings import default_conversation
from hlmat.transforms.policies.model_policy import Conversation
from hlmat.transforms.prompting.actions import TurnFormat
from hlmat.transforms.prompting.coordinates import build_codec
from hlmat.transforms.prompting.rendering import StateView

SIZE_HW = (40, 50)
TEXTS = TextActions(default_conversation())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Positive point: (0.500, 0.500)", Click(25, 20, True)),
        ("Negative point: (0.000, 0.999)", Click(0, 39, False)),
        ("Finish", Finish()),
    ],
)
def test_texts_of_the_turn_format_are_actions(text: str, expected: Click | Finish):
    assert TEXTS.read(text, size_hw=SIZE_HW) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not an action"),
        ("finish", "not an action"),
        ("I finish. Finish", "not an action"),
        ("Positive point: (1.500, 0.500)", "x is 1.500"),
        ("Box: (0.1, 0.1), (0.5, 0.5)", "got a box, expected a click"),
    ],
)
def test_everything_else_is_invalid_and_never_a_finish(text: str, problem: str):
    reading = TEXTS.read(text, size_hw=SIZE_HW)
    assert isinstance(reading, InvalidAction)
    assert reading.text == text
    assert problem in reading.problem


@given(st.text(max_size=60))
def test_any_string_can_be_read(text: str):
    reading = TEXTS.read(text, size_hw=SIZE_HW)
    assert isinstance(reading, (Click, Finish, InvalidAction))
    assert isinstance(reading, Finish) == (text.strip() == "Finish")


def test_a_finish_that_is_not_among_the_actions_is_invalid():
    conversation = Conversation(TurnFormat(build_codec("decimal")))
    reading = read_text("Finish", conversation=conversation, size_hw=SIZE_HW)
    assert isinstance(reading, InvalidAction)


def test_pixels_are_those_of_the_reduced_image_that_the_model_sees():
    conversation = Conversation(TurnFormat(build_codec("pixels")), StateView(max_side=25))
    text = "Positive point: (24, 19)"
    assert read_text(text, conversation=conversation, size_hw=SIZE_HW) == Click(49, 39, True)


def test_a_text_action_must_be_a_string():
    with pytest.raises(ValueError, match=r"action 3 \(int\): expected a str; use action_mode"):
        TEXTS.read(3, size_hw=SIZE_HW)


def test_a_cell_of_the_grid_is_the_pixel_under_its_centre():
    actions = ClickActions((4, 5))
    assert actions.read([0, 0, 0], size_hw=SIZE_HW) == Click(5, 5, True)
    assert actions.read(np.array([1, 4, 3]), size_hw=SIZE_HW) == Click(45, 35, False)
    assert actions.read((2, 1, 1), size_hw=SIZE_HW) == Finish()


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.data(),
)
def test_every_cell_is_a_pixel_of_the_image(
    grid_hw: tuple[int, int], size_hw: tuple[int, int], data: st.DataObject
):
    cell = [1, data.draw(st.integers(0, grid_hw[1] - 1)), data.draw(st.integers(0, grid_hw[0] - 1))]
    click = ClickActions(grid_hw).read(cell, size_hw=size_hw)
    assert isinstance(click, Click)
    assert 0 <= click.x < size_hw[1]
    assert 0 <= click.y < size_hw[0]


@pytest.mark.parametrize(
    "action", [[3, 0, 0], [0, 5, 0], [0, 0, 4], [0, -1, 0], [0, 0], [0.0, 1.0, 1.0], "Finish", None]
)
def test_numbers_outside_the_space_are_refused(action: Any):
    with pytest.raises(ValueError, match=r"expected integers .* from 0 to below \(3, 5, 4\)"):
        ClickActions((4, 5)).read(action, size_hw=SIZE_HW)
