"""Texts that several targets share, and texts of two targets that were swapped."""

from __future__ import annotations

import numpy as np
import pytest

from hlmat.transforms.metrics.text_noise import (
    NamedTarget,
    colour_shares,
    shared_texts,
    swapped_texts,
)


def named(*texts: str, x: float = 0.5, y: float = 0.5, same: object = None, **colours: float):
    return NamedTarget(texts, (x, y), colours, same)


def test_shared_texts_are_compared_as_words() -> None:
    targets = [named("The cup", "a mug"), named("the  cup."), named("a plate")]
    assert shared_texts(targets) == {0: "The cup", 1: "the  cup."}


def test_an_object_may_have_a_text_twice() -> None:
    assert shared_texts([named("cup", "cup")]) == {}
    assert shared_texts([named("cup", same="a"), named("cup", same="a")]) == {}
    assert shared_texts([named("cup", same="a"), named("cup", same="b")]) == {0: "cup", 1: "cup"}


@pytest.mark.parametrize(
    ("first", "second", "is_swapped"),
    [
        (named("left cup", x=0.8), named("right cup", x=0.2), True),
        (named("left cup", x=0.2), named("right cup", x=0.8), False),
        (named("left cup", x=0.55), named("right cup", x=0.45), False),
        (named("lowest cup", y=0.1), named("cup at the top", y=0.9), True),
        (named("left cup", x=0.8), named("a cup", x=0.2), False),
        (named("cup right of the plate", x=0.2), named("left cup", x=0.8), False),
        (named("red cup", blue=0.9), named("blue cup", red=0.9), True),
        (named("red cup", red=0.9), named("blue cup", blue=0.9), False),
        (named("red cup", red=0.5), named("blue cup", red=0.6, blue=0.3), False),
        (named("red cup"), named("blue cup"), False),
        # One word says so, another says the opposite.
        (named("left red cup", x=0.8, red=0.9), named("right cup", x=0.2, blue=1), False),
    ],
)
def test_swapped_texts_fit_each_other_better(
    first: NamedTarget, second: NamedTarget, is_swapped: bool
) -> None:
    assert swapped_texts([first, second]) == ({0: 1, 1: 0} if is_swapped else {})
    assert swapped_texts([second, first]) == ({0: 1, 1: 0} if is_swapped else {})


def test_colours_have_the_names_that_people_use() -> None:
    colours = {
        "red": (200, 30, 30),
        "green": (40, 180, 60),
        "blue": (40, 60, 200),
        "yellow": (240, 220, 40),
        "purple": (120, 40, 190),
        "white": (250, 250, 250),
        "grey": (128, 128, 128),
        "black": (10, 10, 10),
    }
    for name, rgb in colours.items():
        image = np.full((4, 4, 3), rgb, np.uint8)
        assert colour_shares(image, np.ones((4, 4), np.bool_)).get(name) == 1.0, name
    assert colour_shares(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.bool_)) == {}
