"""Texts that single one object of a generated scene out, and what they mean exactly.

A text is the rendering of a `Description`. Every condition of a description is judged twice:
`is_clear` asks whether anybody would agree that an object meets it, otherwise whether somebody
could. A description singles an object out when it clearly meets it and no other possibly does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from hlmat.transforms.readers.shapes.scene import Scene

Side = Literal["left", "right", "top", "bottom"]
Region = Literal["top left", "top right", "bottom left", "bottom right", "centre"]
Size = Literal["largest", "smallest"]
RelationName = Literal["left of", "right of", "above", "below", "in front of", "behind"]

MAX_EXPRESSIONS = 3
_WORN_PATTERNS = ("striped", "dotted", "checked")
_EXTREMES: dict[Side, str] = {
    "left": "leftmost",
    "right": "rightmost",
    "top": "topmost",
    "bottom": "lowest",
}
_ORDINALS = (
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
)


@dataclass(frozen=True)
class Attributes:
    """Attributes of an object; None means not mentioned."""

    kind: str | None = None
    colour: str | None = None
    pattern: str | None = None

    def noun_phrase(self) -> str:
        """Return such as "striped red star", without an article."""
        return " ".join(w for w in (self.pattern, self.colour, self.kind or "object") if w)


@dataclass(frozen=True)
class Extreme:
    """The outermost of those with the same attributes."""

    side: Side


@dataclass(frozen=True)
class Ordinal:
    """The n-th, counted from 1, of those with the same attributes."""

    place: int
    side: Side


@dataclass(frozen=True)
class Within:
    """In a part of the image."""

    region: Region


@dataclass(frozen=True)
class OfSize:
    """The largest or smallest of those with the same attributes."""

    size: Size


@dataclass(frozen=True)
class Related:
    """Next to, over or behind another object, which its own attributes single out."""

    relation: RelationName
    anchor: Attributes


Modifier = Extreme | Ordinal | Within | OfSize | Related


@dataclass(frozen=True)
class Description:
    """Attributes and at most one further condition."""

    attributes: Attributes
    modifier: Modifier | None = None

    def text(self) -> str:
        """Return the description in English."""
        noun = self.attributes.noun_phrase()
        match self.modifier:
            case Extreme(side):
                return f"the {_EXTREMES[side]} {noun}"
            case Ordinal(place, side):
                return f"the {_ORDINALS[place - 1]} {noun} from the {side}"
            case Within("centre"):
                return f"the {noun} in the centre"
            case Within(region):
                return f"the {noun} at the {region}"
            case OfSize(size):
                return f"the {size} {noun}"
            case Related(relation, anchor):
                return f"the {noun} {relation} the {anchor.noun_phrase()}"
        return f"the {noun}"


class SceneFacts:
    """What can be measured of the visible objects of a scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        height, width = scene.labels.shape
        self.area: list[int] = []
        self.centre_x: list[float] = []
        self.centre_y: list[float] = []
        for index in range(len(scene.things)):
            moments = cv2.moments(scene.mask(index).view(np.uint8), True)
            self.area.append(round(moments["m00"]))
            self.centre_x.append(moments["m10"] / moments["m00"] / width)
            self.centre_y.append(moments["m01"] / moments["m00"] / height)
        self.aspect = width / height
        self.attributes = [
            Attributes(t.kind, t.colour_name, t.pattern if t.pattern in _WORN_PATTERNS else None)
            for t in scene.things
        ]

    def having(self, attributes: Attributes) -> list[int]:
        """Return the objects with these attributes, by number."""
        return [
            k
            for k, own in enumerate(self.attributes)
            if attributes.kind in (None, own.kind)
            and attributes.colour in (None, own.colour)
            and attributes.pattern in (None, own.pattern)
        ]

    def distance_inwards(self, index: int, side: Side) -> float:
        """Return how far the visible part's centroid is from a side, as a share of the image."""
        if side == "left":
            return self.centre_x[index]
        if side == "right":
            return 1 - self.centre_x[index]
        return self.centre_y[index] if side == "top" else 1 - self.centre_y[index]


def matches(description: Description, facts: SceneFacts, *, is_clear: bool) -> frozenset[int]:
    """Return the objects that a description clearly, or else possibly, means."""
    alike = facts.having(description.attributes)
    modifier = description.modifier
    if modifier is None:
        return frozenset(alike)
    if isinstance(modifier, Ordinal):
        return _nth(modifier, facts, alike)
    if isinstance(modifier, Related):
        anchors = facts.having(modifier.anchor)
        return frozenset(
            k
            for k in alike
            if any(
                a != k and _is_related(modifier.relation, facts, k, a, is_clear=is_clear)
                for a in anchors
            )
        )
    meets = _condition(modifier, facts, alike, is_clear=is_clear)
    return frozenset(k for k in alike if meets(k))


def singles_out(description: Description, facts: SceneFacts, index: int) -> bool:
    """Return whether a description clearly means object `index` and no other."""
    wanted = frozenset([index])
    return (
        matches(description, facts, is_clear=False) == wanted
        and matches(description, facts, is_clear=True) == wanted
    )


def describe_object(
    facts: SceneFacts, index: int, *, rng: np.random.Generator
) -> tuple[Description, ...]:
    """Choose one to three descriptions, each of which singles object `index` out.

    They differ in what they go by: looks, place, size, relation. Where nothing else does, the
    object is counted among those of its kind, from the side where counting is clearest.
    """
    wanted = 1 + int(rng.random() * MAX_EXPRESSIONS)
    found: list[Description] = []
    for group in rng.permutation(len(_GROUPS)).tolist():
        candidates = list(_GROUPS[group](facts, index))
        for candidate in rng.permutation(len(candidates)).tolist():
            if singles_out(candidates[candidate], facts, index):
                found.append(candidates[candidate])
                break
        if len(found) == wanted:
            break
    return tuple(found) if found else (_by_counting(facts, index),)


def _condition(
    modifier: Extreme | Within | OfSize, facts: SceneFacts, alike: list[int], *, is_clear: bool
) -> Callable[[int], bool]:
    match modifier:
        case Extreme(side):
            margin = 0.06 if is_clear else -0.06
            at = {k: facts.distance_inwards(k, side) for k in alike}
            return lambda k: all(at[k] + margin < at[o] for o in alike if o != k)
        case OfSize(size):
            return lambda k: all(
                _is_larger(facts, k, o, is_clear=is_clear)
                if size == "largest"
                else _is_larger(facts, o, k, is_clear=is_clear)
                for o in alike
                if o != k
            )
        case Within("centre"):
            reach = 0.15 if is_clear else 0.27
            return lambda k: (
                abs(facts.centre_x[k] - 0.5) <= reach and abs(facts.centre_y[k] - 0.5) <= reach
            )
        case Within(region):
            vertical, horizontal = region.split()
            reach = 0.37 if is_clear else 0.53
            sides: list[Side] = [
                "top" if vertical == "top" else "bottom",
                "left" if horizontal == "left" else "right",
            ]
            return lambda k: all(facts.distance_inwards(k, s) <= reach for s in sides)


def _is_larger(facts: SceneFacts, index: int, other: int, *, is_clear: bool) -> bool:
    """Compare both what is visible and the whole shapes, part of which may be hidden."""
    things = facts.scene.things
    area, other_area = facts.area[index], facts.area[other]
    radius, other_radius = things[index].radius, things[other].radius
    if is_clear:
        return 2 * area >= 3 * other_area and 5 * radius >= 6 * other_radius
    return 3 * area > 2 * other_area or 6 * radius > 5 * other_radius


def _is_related(
    relation: RelationName, facts: SceneFacts, index: int, anchor: int, *, is_clear: bool
) -> bool:
    if relation in ("in front of", "behind"):
        front, back = (index, anchor) if relation == "in front of" else (anchor, index)
        hidden = int(facts.scene.hidden[front, back])
        return 12 * hidden >= facts.area[back] if is_clear else hidden > 0
    right = (facts.centre_x[index] - facts.centre_x[anchor]) * facts.aspect
    down = facts.centre_y[index] - facts.centre_y[anchor]
    along, across = {
        "left of": (-right, down),
        "right of": (right, down),
        "above": (-down, right),
        "below": (down, right),
    }[relation]
    # Clear: within 45 degrees of the direction and well apart. Possible: in that half at all.
    return along >= 0.15 and along >= abs(across) if is_clear else along > -0.03


def _nth(modifier: Ordinal, facts: SceneFacts, alike: list[int]) -> frozenset[int]:
    order = _order_from(modifier.side, facts, alike)
    return frozenset(order[modifier.place - 1 : modifier.place])


def _order_from(side: Side, facts: SceneFacts, alike: list[int]) -> list[int]:
    return sorted(alike, key=lambda k: (facts.distance_inwards(k, side), k))


def _by_looks(facts: SceneFacts, index: int) -> Iterator[Description]:
    own = facts.attributes[index]
    yield Description(Attributes(kind=own.kind))
    yield Description(Attributes(kind=own.kind, colour=own.colour))
    yield Description(Attributes(colour=own.colour))
    if own.pattern is not None:
        yield Description(Attributes(kind=own.kind, pattern=own.pattern))
        yield Description(own)
        yield Description(Attributes(pattern=own.pattern))


def _bases(facts: SceneFacts, index: int) -> list[Attributes]:
    own = facts.attributes[index]
    bases = [Attributes(kind=own.kind), Attributes(kind=own.kind, colour=own.colour)]
    if own.pattern is not None:
        bases += [Attributes(kind=own.kind, pattern=own.pattern), own]
    return bases


def _by_relation(facts: SceneFacts, index: int) -> Iterator[Description]:
    for anchor in range(len(facts.attributes)):
        if anchor == index:
            continue
        names = [d.attributes for d in _by_looks(facts, anchor)]
        unique = [a for a in names if a.kind is not None and facts.having(a) == [anchor]]
        for relation in get_args(RelationName):
            if unique and _is_related(relation, facts, index, anchor, is_clear=True):
                # The last is the fullest: "the blue ring" rather than "the ring".
                for base in _bases(facts, index):
                    yield Description(base, Related(relation, unique[-1]))


def _by_place(facts: SceneFacts, index: int) -> Iterator[Description]:
    for base in _bases(facts, index):
        if len(facts.having(base)) > 1:
            yield from (Description(base, Extreme(side)) for side in get_args(Side))
        yield from (Description(base, Within(region)) for region in get_args(Region))
    if len(facts.attributes) > 1:
        yield from (Description(Attributes(), Extreme(side)) for side in get_args(Side))


def _by_size(facts: SceneFacts, index: int) -> Iterator[Description]:
    for base in _bases(facts, index):
        if len(facts.having(base)) > 1:
            yield from (Description(base, OfSize(size)) for size in get_args(Size))


def _by_counting(facts: SceneFacts, index: int) -> Description:
    kind = Attributes(kind=facts.attributes[index].kind)
    alike = facts.having(kind)

    def clearness(side: Side) -> float:
        own = facts.distance_inwards(index, side)
        return min(abs(own - facts.distance_inwards(k, side)) for k in alike if k != index)

    side = max(("left", "top"), key=clearness) if len(alike) > 1 else "left"
    return Description(kind, Ordinal(_order_from(side, facts, alike).index(index) + 1, side))


_GROUPS = (_by_looks, _by_relation, _by_place, _by_size)
