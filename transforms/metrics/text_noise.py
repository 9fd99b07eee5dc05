"""Expressions that cannot tell the targets of an image apart, or name another of them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import cv2
import numpy as np

from hlmat.transforms.core.protocols import Image, Mask

# The words after these name another object, or count.
_RELATION = re.compile(
    r"\b(?:(?:to the |on the )?(?:left|right) of|above|below|under|over|behind|in front of|"
    r"next to|beside|near|by|with|from the|closest to|holding|wearing)\b.*"
)
_SIDES: Mapping[str, tuple[int, int]] = {
    # Axis (0 for x, 1 for y), and whether the word means its beginning (0) or its end (1).
    **dict.fromkeys(("left", "leftmost"), (0, 0)),
    **dict.fromkeys(("right", "rightmost"), (0, 1)),
    **dict.fromkeys(("top", "topmost", "upper", "uppermost"), (1, 0)),
    **dict.fromkeys(("bottom", "lower", "lowest", "bottommost"), (1, 1)),
}
_COLOURS: Mapping[str, str] = {
    **{name: name for name in ("red", "orange", "yellow", "green", "blue", "brown", "white")},
    **dict.fromkeys(("purple", "violet"), "purple"),
    **dict.fromkeys(("pink", "magenta"), "pink"),
    **dict.fromkeys(("cyan", "turquoise", "teal"), "cyan"),
    **dict.fromkeys(("grey", "gray", "silver"), "grey"),
    "black": "black",
}
# Hues in degrees up to which a saturated colour has its name, in order; red begins and ends.
_HUES = ((15, "red"), (42, "orange"), (70, "yellow"), (160, "green"), (200, "cyan"))
_MORE_HUES = ((255, "blue"), (290, "purple"), (340, "pink"), (361, "red"))
_FURTHER = 0.15
"""How much further to its side, as a share of the image, the other target must be."""
_MORE = 0.3
"""How much more of its colour, as a share of the target, the other target must have."""


@dataclass(frozen=True)
class NamedTarget:
    """A target as its expressions and its image describe it.

    Attributes:
        texts: its expressions.
        centre_xy: of its mask, as shares of the image's width and height.
        colours: share of its pixels by name of the colour; empty without an image.
        same: what targets of one object share, so that they are not compared.
    """

    texts: tuple[str, ...]
    centre_xy: tuple[float, float]
    colours: Mapping[str, float] = field(default_factory=dict)
    same: object = None


def shared_texts(targets: Sequence[NamedTarget]) -> dict[int, str]:
    """Return which targets of an image share an expression with another object, and one each.

    Case, spaces and punctuation do not count.
    """
    owners: defaultdict[str, list[int]] = defaultdict(list)
    for index, target in enumerate(targets):
        for text in dict.fromkeys(map(_plain, target.texts)):
            owners[text].append(index)
    found: dict[int, str] = {}
    for index, target in enumerate(targets):
        for text in target.texts:
            if any(_are_others(targets, index, other) for other in owners[_plain(text)]):
                found.setdefault(index, text)
    return found


def swapped_texts(targets: Sequence[NamedTarget]) -> dict[int, int]:
    """Return targets of an image whose expressions fit each other better than themselves.

    Words for sides ("left", "lowest") and colours are compared; words after a relation ("left of
    the cup") describe another object and are left out. Both targets of a pair need such a word, and
    each must fit the other's clearly better than its own owner does.

    Returns:
        For each of them the index of the other.
    """
    found: dict[int, int] = {}
    for a, b in combinations(range(len(targets)), 2):
        if a in found or b in found or not _are_others(targets, a, b):
            continue
        if all(_fits_better(targets[x], targets[y]) for x, y in ((a, b), (b, a))):
            found[a], found[b] = b, a
    return dict(sorted(found.items()))


def colour_shares(image: Image, mask: Mask) -> dict[str, float]:
    """Return the share of a mask's pixels by name of the colour; empty for an empty mask.

    Args:
        image: uint8 RGB. Shape: (H, W, 3).
        mask: Shape: (H, W), bool.
    """
    pixels = image[mask]
    if not len(pixels):
        return {}
    hsv = cv2.cvtColor(pixels[None], cv2.COLOR_RGB2HSV)[0].astype(np.int32)
    hue, saturation, value = 2 * hsv[:, 0], hsv[:, 1], hsv[:, 2]
    named: dict[str, float] = defaultdict(float)
    black = value < 50
    plain = ~black & (saturation < 45)
    coloured = ~black & ~plain
    total = len(pixels)
    named["black"] = float(black.sum()) / total
    named["white"] = float((plain & (value >= 200)).sum()) / total
    named["grey"] = float((plain & (value < 200)).sum()) / total
    low = 0
    for high, name in (*_HUES, *_MORE_HUES):
        chosen = coloured & (hue >= low) & (hue < high)
        dark = chosen & (value < 160) if name in ("red", "orange") else np.zeros_like(chosen)
        named["brown"] += float(dark.sum()) / total
        # A dark red or orange may be called either.
        named[name] += float(chosen.sum()) / total
        low = high
    return {name: share for name, share in named.items() if share}


def _fits_better(owner: NamedTarget, other: NamedTarget) -> bool:
    """Return whether some text fits another target better, and none fits the owner better."""
    margins = [margin for text in owner.texts for margin in _margins(text, owner, other)]
    return bool(margins) and max(margins) > 0 and min(margins) >= 0


def _margins(text: str, owner: NamedTarget, other: NamedTarget) -> Iterator[int]:
    """Yield 1 for each word that fits the other target clearly better, -1 for the owner."""
    for word in _RELATION.sub("", _plain(text)).split():
        if word in _SIDES:
            axis, end = _SIDES[word]
            further = other.centre_xy[axis] - owner.centre_xy[axis]
            yield _sign(further if end else -further, _FURTHER)
        elif word in _COLOURS and owner.colours and other.colours:
            name = _COLOURS[word]
            yield _sign(other.colours.get(name, 0) - owner.colours.get(name, 0), _MORE)


def _sign(value: float, least: float) -> int:
    return 0 if abs(value) < least else 1 if value > 0 else -1


def _are_others(targets: Sequence[NamedTarget], a: int, b: int) -> bool:
    return a != b and (targets[a].same is None or targets[a].same != targets[b].same)


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]", " ", text.casefold()).split())
