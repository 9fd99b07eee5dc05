"""The content of a generated scene: a pure function of options, split and index."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.readers.shapes.kinds import (
    HOLED_KINDS,
    KINDS,
    SOLID_KINDS,
    THIN_KINDS,
    Outline,
)
from hlmat.transforms.readers.shapes.options import Difficulty, ShapesOptions

Pattern = Literal["plain", "gradient", "striped", "dotted", "checked"]
Ground = Literal["clouds", "gradient", "stripes", "checks", "blobs", "grain", "planks"]
Colour = tuple[int, int, int]
"""RGB, 0 to 255."""

COLOURS: dict[str, Colour] = {
    "red": (205, 38, 40),
    "blue": (42, 82, 205),
    "green": (48, 148, 62),
    "yellow": (240, 212, 48),
    "orange": (240, 132, 28),
    "purple": (122, 52, 158),
    "pink": (244, 140, 182),
    "brown": (116, 70, 36),
    "black": (30, 30, 34),
    "white": (240, 240, 236),
    "grey": (132, 134, 136),
    "cyan": (48, 196, 214),
}
GROUND_COLOURS: tuple[Colour, ...] = (
    (178, 160, 130),
    (120, 136, 104),
    (142, 158, 172),
    (92, 84, 78),
    (196, 190, 178),
    (108, 120, 140),
    (160, 124, 98),
    (74, 92, 84),
    (204, 178, 160),
    (150, 146, 118),
    (62, 66, 84),
    (172, 178, 160),
)
MIN_VISIBLE_SHARE = 0.4
MIN_VISIBLE_PIXELS = 40
_TRIES = 10


@dataclass(frozen=True)
class Thing:
    """One object of a scene.

    Attributes:
        kind: a key of `KINDS`.
        colour_name: a key of `COLOURS`.
        colour: what it is painted with.
        second_colour: of the stripes, dots, checks, or the gradient's other end.
        pattern: how the two colours are mixed.
        outline: in radii.
        centre_xy: in pixels.
        radius: in pixels.
        degrees: how far the outline is turned clockwise.
        pattern_degrees: the same for the pattern.
    """

    kind: str
    colour_name: str
    colour: Colour
    second_colour: Colour
    pattern: Pattern
    outline: Outline
    centre_xy: tuple[int, int]
    radius: int
    degrees: int
    pattern_degrees: int


@dataclass(frozen=True)
class Scene:
    """A scene without its pixels' colours.

    Attributes:
        things: front to back; every one is visible enough to be a target.
        labels: 0 for the background, k + 1 where `things[k]` is visible. Shape: (H, W).
        hidden: `hidden[a, b]` counts the pixels of thing b that thing a, the frontmost there,
            covers. Shape: (N, N).
        ground: kind of background.
        ground_colours: the two colours that the background mixes.
        paint_key: seeds what is drawn at random when the scene is painted.
    """

    things: tuple[Thing, ...]
    labels: NDArray[np.uint8]
    hidden: NDArray[np.int64]
    ground: Ground
    ground_colours: tuple[Colour, Colour]
    paint_key: str

    def mask(self, index: int) -> Mask:
        """Return the visible pixels of `things[index]`. Shape: (H, W)."""
        return self.labels == index + 1


def compose_scene(options: ShapesOptions, *, split: str, index: int) -> Scene:
    """Choose and place the objects of image `index`.

    Objects are placed from the front to the back, each where enough of it shows behind those
    before it, so that what can be seen of an object is known once it is placed. `count` plays no
    part: a longer data set begins with the shorter one's images.
    """
    size = f"{options.height}x{options.width}"
    objects = f"{options.objects_min}-{options.objects_max}"
    key = f"shapes/{split}/{index}/{size}/{objects}/{options.difficulty}"
    rng = target_rng(options.seed, key, "scene")
    grounds = get_args(Ground)
    ground: Ground = grounds[_below(rng, len(grounds))]
    ground_colours = _ground_colours(rng)
    colour_names = _colours_apart_from(ground_colours)
    labels = np.zeros((options.height, options.width), dtype=np.uint8)
    things: list[Thing] = []
    covered: list[NDArray[np.int64]] = []
    wanted = options.objects_min + _below(rng, options.objects_max - options.objects_min + 1)
    for _ in range(wanted):
        thing = _choose_thing(rng, options=options, before=things, colour_names=colour_names)
        placed = _place(rng, thing, labels=labels, before=things)
        if placed is not None:
            things.append(placed[0])
            covered.append(placed[1])
    hidden = np.zeros((len(things), len(things)), dtype=np.int64)
    for back, counts in enumerate(covered):
        hidden[:, back] = counts[1 : len(things) + 1]
    return Scene(
        things=tuple(things),
        labels=labels,
        hidden=hidden,
        ground=ground,
        ground_colours=ground_colours,
        paint_key=f"{options.seed}/{key}",
    )


def rasterise(thing: Thing, *, size_hw: tuple[int, int]) -> tuple[Mask, tuple[slice, slice], int]:
    """Draw an object without anti-aliasing.

    Returns:
        its mask within the image, the rows and columns of the image that the mask lies on
        (both may be empty), and how many pixels it has with those outside the image.
    """
    radius = thing.radius
    half = radius + max((_stroke_px(s.width, radius) for s in thing.outline.strokes), default=0)
    half += 2
    # Sines and cosines rounded to 2**-16 and coordinates to 1/16 pixel: the last bits of a
    # machine's mathematical library do not reach the mask.
    cos, sin = fixed_rotation(thing.degrees)
    turn = np.array([[cos, sin], [-sin, cos]], dtype=np.float64) / 65536
    canvas = np.zeros((2 * half + 1, 2 * half + 1), dtype=np.uint8)

    def to_canvas(points: NDArray[np.float64]) -> NDArray[np.int32]:
        return np.rint((points @ turn * radius + half) * 16 + 2**-8).astype(np.int32)

    if thing.outline.polygons:
        cv2.fillPoly(canvas, [to_canvas(p) for p in thing.outline.polygons], 1, shift=4)
    for stroke in thing.outline.strokes:
        thickness = _stroke_px(stroke.width, radius)
        cv2.polylines(
            canvas, [to_canvas(stroke.points)], stroke.is_closed, 1, thickness, cv2.LINE_8, 4
        )
    left, top = thing.centre_xy[0] - half, thing.centre_xy[1] - half
    height, width = size_hw
    rows = slice(max(top, 0), max(min(top + canvas.shape[0], height), 0))
    columns = slice(max(left, 0), max(min(left + canvas.shape[1], width), 0))
    inside = canvas[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return inside.view(np.bool_), (rows, columns), int(np.count_nonzero(canvas))


def fixed_rotation(degrees: int) -> tuple[int, int]:
    """Return cosine and sine of an angle as multiples of 2**-16."""
    angle = np.deg2rad(degrees)
    return round(float(np.cos(angle)) * 65536), round(float(np.sin(angle)) * 65536)


def _stroke_px(width: float, radius: int) -> int:
    return max(2, round(width * radius))


def _below(rng: np.random.Generator, bound: int) -> int:
    return int(rng.random() * bound)


def _between(rng: np.random.Generator, least: float, most: float) -> float:
    return least + (most - least) * rng.random()


def _ground_colours(rng: np.random.Generator) -> tuple[Colour, Colour]:
    first = GROUND_COLOURS[_below(rng, len(GROUND_COLOURS))]
    second = GROUND_COLOURS[_below(rng, len(GROUND_COLOURS))]
    # Drawn towards the first, or a ground of two strong colours would hide every shape.
    share = _between(rng, 0.5, 0.95)
    return first, _mixed(first, second, share=share)


def _mixed(first: Colour, second: Colour, *, share: float) -> Colour:
    r, g, b = (round(a + (c - a) * share) for a, c in zip(first, second, strict=True))
    return r, g, b


def _apart(first: Colour, second: Colour) -> int:
    return sum(abs(a - b) for a, b in zip(first, second, strict=True))


def _colours_apart_from(grounds: tuple[Colour, Colour]) -> list[str]:
    return [
        name
        for name, colour in COLOURS.items()
        if min(_apart(colour, ground) for ground in grounds) >= 110
    ]


def _choose_thing(
    rng: np.random.Generator,
    *,
    options: ShapesOptions,
    before: list[Thing],
    colour_names: list[str],
) -> Thing:
    """Choose everything but the place, often like an earlier object: texts must tell them apart."""
    twin = before[_below(rng, len(before))] if before and rng.random() < 0.45 else None
    kind = twin.kind if twin is not None else _choose_kind(rng, options.difficulty)
    alike = twin is not None and rng.random() < 0.3
    colour_name = colour_names[_below(rng, len(colour_names))]
    if alike and twin is not None:
        colour_name = twin.colour_name
    base = COLOURS[colour_name]
    r, g, b = (min(max(c + _below(rng, 25) - 12, 0), 255) for c in base)
    luma = (3 * r + 6 * g + b) // 10
    away: Colour = (16, 16, 20) if luma > 105 else (250, 250, 244)
    side = min(options.height, options.width)
    # From small to half of the image; thin shapes not so small that they are a blot.
    least = 0.13 if kind in THIN_KINDS else 0.08
    radius = max(12, round(side * least * (0.29 / least) ** rng.random()))
    pattern = _choose_pattern(rng, kind, colour_name=colour_name, radius=radius)
    share = _between(rng, 0.15, 0.3) if pattern == "gradient" else _between(rng, 0.45, 0.62)
    return Thing(
        kind=kind,
        colour_name=colour_name,
        colour=(r, g, b),
        second_colour=_mixed((r, g, b), away, share=share),
        pattern=pattern,
        outline=KINDS[kind](rng),
        centre_xy=(0, 0),
        radius=radius,
        degrees=_below(rng, 360),
        pattern_degrees=_below(rng, 180),
    )


def _choose_kind(rng: np.random.Generator, difficulty: Difficulty) -> str:
    draw = rng.random()
    if difficulty == "simple":
        names = tuple(SOLID_KINDS)
    elif difficulty == "thin":
        names = tuple(THIN_KINDS) if draw < 0.7 else tuple(HOLED_KINDS)
    else:
        solid_or_holed = tuple(SOLID_KINDS) if draw < 0.5 else tuple(HOLED_KINDS)
        names = solid_or_holed if draw < 0.72 else tuple(THIN_KINDS)
    return names[_below(rng, len(names))]


def _choose_pattern(
    rng: np.random.Generator, kind: str, *, colour_name: str, radius: int
) -> Pattern:
    draw = rng.random()
    # A pattern on a line a few pixels wide looks like a broken line, nor holes from dots.
    if kind in THIN_KINDS or kind == "perforated plate" or radius < 20:
        return "plain" if draw < 0.5 else "gradient"
    patterns: list[Pattern] = list(get_args(Pattern))
    # Half black and half white is neither: which of the two is the object's colour?
    if colour_name in ("black", "white", "grey"):
        patterns.remove("checked")
    return patterns[_below(rng, len(patterns))]


def _place(
    rng: np.random.Generator, thing: Thing, *, labels: NDArray[np.uint8], before: list[Thing]
) -> tuple[Thing, NDArray[np.int64]] | None:
    """Find a place behind the earlier objects and enter the object into `labels` there.

    Returns:
        the object with its place, and how many of its pixels each label hides; None if there is
        no room.
    """
    height, width = labels.shape
    number = len(before) + 1
    for attempt in range(_TRIES):
        # The first object always fits: its last attempt is alone in the centre.
        in_middle = not before and attempt == _TRIES - 1
        x = 0.5 if in_middle else _between(rng, 0.1, 0.9)
        y = 0.5 if in_middle else _between(rng, 0.1, 0.9)
        radius = thing.radius if attempt < 4 else max(12, thing.radius * (_TRIES - attempt) // 7)
        tried = replace(thing, centre_xy=(int(x * width), int(y * height)), radius=radius)
        mask, (rows, columns), full = rasterise(tried, size_hw=(height, width))
        region = labels[rows, columns]
        counts = np.bincount(region[mask], minlength=number)
        visible = int(counts[0])
        if visible < MIN_VISIBLE_PIXELS or visible < MIN_VISIBLE_SHARE * full:
            continue
        if _touches_own_colour(tried, mask, region=region, before=before):
            continue
        region[mask & (region == 0)] = number
        return tried, np.pad(counts, (0, 13 - counts.size))
    return None


def _touches_own_colour(
    thing: Thing, mask: Mask, *, region: NDArray[np.uint8], before: list[Thing]
) -> bool:
    """Return whether an object's border with an earlier one would be invisible."""
    alike = [k + 1 for k, other in enumerate(before) if other.colour_name == thing.colour_name]
    if not alike:
        return False
    around = cv2.dilate(mask.view(np.uint8), np.ones((7, 7), dtype=np.uint8))
    return bool(np.isin(region[around > 0], alike).any())
