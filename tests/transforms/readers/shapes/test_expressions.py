"""Every text identifies its object alone, and its words are true of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlmat.transforms.readers.shapes.expressions import (
    Attributes,
    Description,
    Extreme,
    Modifier,
    OfSize,
    Ordinal,
    Related,
    SceneFacts,
    Within,
    describe_object,
    matches,
    singles_out,
)
from hlmat.transforms.readers.shapes.kinds import KINDS
from hlmat.transforms.readers.shapes.scene import (
    COLOURS,
    Pattern,
    Scene,
    ShapesOptions,
    Thing,
    compose_scene,
)

STAR, RING = Attributes(kind="star"), Attributes(kind="ring")


def _scene(*things: tuple[str, str, Pattern, tuple[int, int], int]) -> Scene:
    """A 100x100 scene of squares standing for the things, (x, y) and half side given."""
    labels = np.zeros((100, 100), dtype=np.uint8)
    hidden = np.zeros((len(things), len(things)), dtype=np.int64)
    made = []
    for number, (kind, colour_name, pattern, (x, y), half) in enumerate(things):
        region = labels[y - half : y + half, x - half : x + half]
        for front in range(number):
            hidden[front, number] = np.count_nonzero(region == front + 1)
        region[region == 0] = number + 1
        colour = COLOURS[colour_name]
        outline = KINDS[kind](np.random.default_rng(0))
        made.append(Thing(kind, colour_name, colour, colour, pattern, outline, (x, y), half, 0, 0))
    return Scene(tuple(made), labels, hidden, "clouds", ((0, 0, 0), (0, 0, 0)), "test")


SCENE = SceneFacts(
    _scene(
        ("star", "red", "striped", (20, 20), 8),
        ("star", "red", "plain", (80, 22), 14),
        ("ring", "blue", "gradient", (50, 50), 10),
        ("star", "green", "plain", (24, 82), 12),
        ("disc", "blue", "dotted", (60, 54), 10),
    )
)


@pytest.mark.parametrize(
    ("description", "text", "meant"),
    [
        (Description(RING), "the ring", {2}),
        (Description(STAR), "the star", {0, 1, 3}),
        (Description(Attributes("star", "red", "striped")), "the striped red star", {0}),
        (Description(Attributes(colour="green")), "the green object", {3}),
        (Description(STAR, Extreme("right")), "the rightmost star", {1}),
        (Description(STAR, Extreme("left")), "the leftmost star", set()),  # two as far left
        (Description(STAR, Extreme("bottom")), "the lowest star", {3}),
        (Description(STAR, OfSize("smallest")), "the smallest star", {0}),
        (Description(STAR, OfSize("largest")), "the largest star", set()),  # 28 against 24
        (Description(STAR, Within("top left")), "the star at the top left", {0}),
        (Description(RING, Within("centre")), "the ring in the centre", {2}),
        (Description(STAR, Ordinal(2, "left")), "the second star from the left", {3}),
        (Description(STAR, Ordinal(4, "left")), "the fourth star from the left", set()),
        (
            Description(STAR, Related("right of", Attributes("ring", "blue"))),
            "the star right of the blue ring",
            {1},
        ),
        (
            Description(Attributes("star", pattern="striped"), Related("left of", RING)),
            "the striped star left of the ring",
            {0},
        ),
        (Description(STAR, Related("below", RING)), "the star below the ring", {3}),
        (
            Description(Attributes("disc"), Related("behind", RING)),
            "the disc behind the ring",
            {4},
        ),
        (
            Description(RING, Related("in front of", Attributes("disc"))),
            "the ring in front of the disc",
            {2},
        ),
    ],
)
def test_text_and_clear_meaning(description: Description, text: str, meant: set[int]) -> None:
    assert description.text() == text
    assert matches(description, SCENE, is_clear=True) == meant


def test_a_doubtful_second_spoils_a_description() -> None:
    description = Description(STAR, OfSize("largest"))
    assert matches(description, SCENE, is_clear=False) == {1, 3}
    assert not singles_out(description, SCENE, 1)
    assert singles_out(Description(STAR, Extreme("right")), SCENE, 1)


def test_looks_come_with_a_gradient_unsaid() -> None:
    assert SCENE.attributes[2] == Attributes("ring", "blue")


def test_objects_that_differ_in_nothing_else_are_counted() -> None:
    # Three like discs in a clump: no extreme, part of the image, size or neighbour is clear.
    facts = SceneFacts(
        _scene(
            ("disc", "red", "plain", (50, 30), 2),
            ("disc", "red", "plain", (54, 30), 2),
            ("disc", "red", "plain", (58, 30), 2),
        )
    )
    texts = [describe_object(facts, k, rng=np.random.default_rng(k))[0].text() for k in range(3)]
    assert texts == [
        "the first disc from the left",
        "the second disc from the left",
        "the third disc from the left",
    ]


@settings(max_examples=80, deadline=None)
@given(
    index=st.integers(0, 10**6),
    difficulty=st.sampled_from(["simple", "thin", "mixed"]),
    objects=st.sampled_from([(1, 1), (2, 5), (12, 12)]),
)
def test_every_description_means_its_object_alone(index, difficulty, objects) -> None:
    options = ShapesOptions(
        objects_min=objects[0], objects_max=objects[1], difficulty=difficulty, seed=3
    )
    facts = SceneFacts(compose_scene(options, split="train", index=index))
    rng = np.random.default_rng(index)
    meant: dict[str, int] = {}
    for number in range(len(facts.attributes)):
        descriptions = describe_object(facts, number, rng=rng)
        assert 1 <= len(descriptions) <= 3
        assert len({d.text() for d in descriptions}) == len(descriptions)
        for description in descriptions:
            assert matches(description, facts, is_clear=True) == {number}
            assert matches(description, facts, is_clear=False) == {number}
            assert meant.setdefault(description.text(), number) == number


@settings(max_examples=40, deadline=None)
@given(index=st.integers(0, 10**6))
def test_what_is_clear_is_possible(index: int) -> None:
    facts = SceneFacts(compose_scene(ShapesOptions(), split="train", index=index))
    attributes = [Attributes(), *(Attributes(kind=a.kind) for a in facts.attributes)]
    modifiers: list[Modifier] = [
        Extreme("left"),
        Extreme("bottom"),
        Within("top right"),
        Within("centre"),
        OfSize("largest"),
        OfSize("smallest"),
        *(Related("left of", a) for a in attributes),
        *(Related("in front of", a) for a in attributes),
    ]
    for own in attributes:
        for modifier in modifiers:
            description = Description(own, modifier)
            clear = matches(description, facts, is_clear=True)
            assert clear <= matches(description, facts, is_clear=False)
