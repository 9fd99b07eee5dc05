"""The outlines of the kinds of shapes that a generated scene is made of.

An outline lies in a disc of radius 1 around the origin. Its polygons are filled together by the
even-odd rule, so a polygon inside another one is a hole; its strokes are drawn as thick lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(x, y) in radii of the shape. Shape: (N, 2)."""


@dataclass(frozen=True)
class Stroke:
    """A line of even width.

    Attributes:
        points: the line's corners.
        width: in radii of the shape.
        is_closed: whether the last point is joined to the first.
    """

    points: Points
    width: float
    is_closed: bool = False


@dataclass(frozen=True)
class Outline:
    """What a shape covers: polygons by the even-odd rule, and strokes over them."""

    polygons: tuple[Points, ...] = ()
    strokes: tuple[Stroke, ...] = ()


def _points(pairs: Sequence[tuple[float, float]]) -> Points:
    return np.array(pairs, dtype=np.float64)


def _polar(radius: Callable[[int], float], degrees: Sequence[int]) -> Points:
    return _points(
        [
            (radius(d) * math.cos(math.radians(d)), radius(d) * math.sin(math.radians(d)))
            for d in degrees
        ]
    )


def _circle(radius: float, *, centre: tuple[float, float] = (0.0, 0.0), step: int = 6) -> Points:
    return _polar(lambda _: radius, range(0, 360, step)) + _points([centre])


def _box(half_width: float, half_height: float, *, centre: tuple[float, float] = (0, 0)) -> Points:
    x, y = half_width, half_height
    return _points([(-x, -y), (x, -y), (x, y), (-x, y)]) + _points([centre])


def _disc(_: np.random.Generator) -> Outline:
    return Outline((_circle(1.0, step=5),))


def _oval(rng: np.random.Generator) -> Outline:
    aspect = 0.42 + 0.2 * rng.random()
    return Outline((_circle(1.0, step=5) * _points([(1.0, aspect)]),))


def _square(_: np.random.Generator) -> Outline:
    return Outline((_box(0.7, 0.7),))


def _rectangle(rng: np.random.Generator) -> Outline:
    return Outline((_box(0.89, 0.89 * (0.3 + 0.28 * rng.random())),))


def _triangle(rng: np.random.Generator) -> Outline:
    lean = 0.5 * (rng.random() - 0.5)
    return Outline((_points([(lean, -0.95), (0.85, 0.55), (-0.85, 0.55)]),))


def _hexagon(_: np.random.Generator) -> Outline:
    return Outline((_circle(1.0, step=60),))


def _star(rng: np.random.Generator) -> Outline:
    tips = 5 + int(2 * rng.random())
    inner = 0.38 + 0.12 * rng.random()
    corners = [
        ((1.0 if k % 2 == 0 else inner), math.radians(180 * k / tips)) for k in range(2 * tips)
    ]
    return Outline((_points([(r * math.sin(a), -r * math.cos(a)) for r, a in corners]),))


def _cross(rng: np.random.Generator) -> Outline:
    a, b = 0.18 + 0.12 * rng.random(), 0.95
    corners = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a)]
    return Outline((_points([*corners, *((-x, -y) for x, y in corners)]),))


def _heart(_: np.random.Generator) -> Outline:
    corners = []
    for degrees in range(0, 360, 6):
        t = math.radians(degrees)
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        corners.append((math.sin(t) ** 3 * 16 / 17.5, -(y + 2.5) / 17.5))
    return Outline((_points(corners),))


def _crescent(rng: np.random.Generator) -> Outline:
    offset, radius = 0.4 + 0.15 * rng.random(), 0.85
    # Both arcs end where the two circles meet, at the angle whose cosine this is.
    along = (1 - radius**2 + offset**2) / (2 * offset)
    outer_end = math.acos(along)
    inner_end = math.acos((along - offset) / radius)
    steps = range(33)
    outer = [outer_end + (2 * math.pi - 2 * outer_end) * k / 32 for k in steps]
    inner = [2 * math.pi - inner_end - (2 * math.pi - 2 * inner_end) * k / 32 for k in steps]
    return Outline(
        (
            _points(
                [(math.cos(a), math.sin(a)) for a in outer]
                + [(offset + radius * math.cos(a), radius * math.sin(a)) for a in inner]
            ),
        )
    )


def _arrow(rng: np.random.Generator) -> Outline:
    a, b = 0.16 + 0.1 * rng.random(), 0.55 + 0.12 * rng.random()
    neck = 0.1 + 0.2 * rng.random()
    corners = [(-0.97, -a), (neck, -a), (neck, -b), (1.0, 0), (neck, b), (neck, a), (-0.97, a)]
    return Outline((_points(corners),))


def _flower(rng: np.random.Generator) -> Outline:
    petals = 5 + int(3 * rng.random())
    return Outline(
        (_polar(lambda d: 0.72 + 0.28 * math.cos(math.radians(petals * d)), range(0, 360, 4)),)
    )


def _gear(rng: np.random.Generator) -> Outline:
    teeth = 8 + int(4 * rng.random())
    corners = []
    for k in range(4 * teeth):
        angle = 2 * math.pi * (k + (0.2 if k % 2 else -0.2)) / (4 * teeth)
        radius = 1.0 if k % 4 in (0, 1) else 0.77
        corners.append((radius * math.cos(angle), radius * math.sin(angle)))
    return Outline((_points(corners), _circle(0.22 + 0.15 * rng.random())))


def _ring(rng: np.random.Generator) -> Outline:
    return Outline((_circle(1.0, step=5), _circle(0.5 + 0.25 * rng.random(), step=5)))


def _frame(rng: np.random.Generator) -> Outline:
    x, y = 0.78, 0.78 * (0.65 + 0.2 * rng.random())
    border = 0.16 + 0.12 * rng.random()
    return Outline((_box(x, y), _box(x - border, y - border)))


def _perforated_plate(rng: np.random.Generator) -> Outline:
    columns, rows = 3 + int(2 * rng.random()), 2 + int(2 * rng.random())
    x, y = 0.8, 0.8 * min(1.0, (rows + 0.25) / (columns + 0.25))
    pitch = min(2 * x / (columns + 0.25), 2 * y / (rows + 0.25))
    radius = pitch * (0.27 + 0.08 * rng.random())
    holes = [
        _circle(
            radius,
            centre=(pitch * (c - (columns - 1) / 2), pitch * (r - (rows - 1) / 2)),
            step=15,
        )
        for r in range(rows)
        for c in range(columns)
    ]
    return Outline((_box(x, y), *holes))


def _half_ring(rng: np.random.Generator) -> Outline:
    inner = 0.55 + 0.2 * rng.random()
    bend = range(0, 181, 5)
    outside, inside = _polar(lambda _: 1.0, bend), _polar(lambda _: inner, bend)
    return Outline((np.concatenate([outside, inside[::-1]]) - _points([(0, 0.3)]),))


def _horseshoe(rng: np.random.Generator) -> Outline:
    a, b = 0.7, 0.36 + 0.1 * rng.random()
    bend = range(0, 181, 9)
    outside, inside = _polar(lambda _: a, bend), _polar(lambda _: b, bend)
    return Outline(
        (
            np.concatenate(
                [
                    _points([(a, -0.7)]),
                    outside + _points([(0, 0.25)]),
                    _points([(-a, -0.7), (-b, -0.7)]),
                    inside[::-1] + _points([(0, 0.25)]),
                    _points([(b, -0.7)]),
                ]
            ),
        )
    )


def _stick(rng: np.random.Generator) -> Outline:
    bow = 0.3 * (rng.random() - 0.5)
    points = [(x / 8, bow * (1 - (x / 8) ** 2)) for x in range(-8, 9)]
    return Outline(strokes=(Stroke(_points(points), 0.05 + 0.04 * rng.random()),))


def _wire_loop(rng: np.random.Generator) -> Outline:
    a, b, c = (0.07 + 0.07 * rng.random() for _ in range(3))
    turn = int(360 * rng.random())

    def radius(d: int) -> float:
        return (
            1
            - (a + b + c)
            + a * math.sin(math.radians(2 * d + turn))
            + b * math.sin(math.radians(3 * d - turn))
            + c * math.sin(math.radians(5 * d + 2 * turn))
        )

    line = _polar(radius, range(0, 360, 5))
    return Outline(strokes=(Stroke(line, 0.045 + 0.04 * rng.random(), is_closed=True),))


def _zigzag(rng: np.random.Generator) -> Outline:
    legs, height = 4 + int(4 * rng.random()), 0.2 + 0.15 * rng.random()
    points = [(2 * k / legs - 1, height if k % 2 else -height) for k in range(legs + 1)]
    return Outline(
        strokes=(Stroke(_points(points) * _points([(0.92, 1)]), 0.07 + 0.04 * rng.random()),)
    )


def _spiral(rng: np.random.Generator) -> Outline:
    turns = 2 + int(2 * rng.random())
    last = 360 * turns
    line = _polar(lambda d: 0.1 + 0.85 * d / last, range(0, last + 1, 10))
    return Outline(strokes=(Stroke(line, 0.07 + 0.03 * rng.random()),))


def _lines(
    segments: Sequence[tuple[tuple[float, float], tuple[float, float]]], *, width: float
) -> Outline:
    return Outline(strokes=tuple(Stroke(_points(segment), width) for segment in segments))


def _grid(rng: np.random.Generator) -> Outline:
    cells = 3 + int(3 * rng.random())
    x, y = 0.76, 0.76 * (0.7 + 0.3 * rng.random())
    at = [2 * k / cells - 1 for k in range(cells + 1)]
    rows = [((-x, y * k), (x, y * k)) for k in at]
    columns = [((x * k, -y), (x * k, y)) for k in at]
    return _lines([*rows, *columns], width=0.05 + 0.03 * rng.random())


def _ladder(rng: np.random.Generator) -> Outline:
    rungs, half = 4 + int(3 * rng.random()), 0.2 + 0.08 * rng.random()
    rails = [((s * half, -0.93), (s * half, 0.93)) for s in (-1, 1)]
    at = [-0.75 + 1.5 * k / (rungs - 1) for k in range(rungs)]
    return _lines([*rails, *(((-half, y), (half, y)) for y in at)], width=0.06)


def _fork(rng: np.random.Generator) -> Outline:
    prongs, half = 3 + int(2 * rng.random()), 0.28 + 0.08 * rng.random()
    at = [half * (2 * k / (prongs - 1) - 1) for k in range(prongs)]
    handle = [((0.0, 0.97), (0.0, -0.3)), ((-half, -0.3), (half, -0.3))]
    width = 0.07 + 0.03 * rng.random()
    return _lines([*handle, *(((x, -0.3), (x, -0.9)) for x in at)], width=width)


def _comb(rng: np.random.Generator) -> Outline:
    teeth = 9 + int(5 * rng.random())
    at = [-0.85 + 1.7 * k / (teeth - 1) for k in range(teeth)]
    back = Outline((_box(0.9, 0.11, centre=(0, -0.3)),))
    prongs = _lines([((x, -0.25), (x, 0.35)) for x in at], width=0.05)
    return Outline(back.polygons, prongs.strokes)


SOLID_KINDS: dict[str, Callable[[np.random.Generator], Outline]] = {
    "disc": _disc,
    "oval": _oval,
    "square": _square,
    "rectangle": _rectangle,
    "triangle": _triangle,
    "hexagon": _hexagon,
    "star": _star,
    "cross": _cross,
    "heart": _heart,
    "crescent": _crescent,
    "arrow": _arrow,
    "flower": _flower,
}
HOLED_KINDS: dict[str, Callable[[np.random.Generator], Outline]] = {
    "gear": _gear,
    "ring": _ring,
    "frame": _frame,
    "perforated plate": _perforated_plate,
    "half ring": _half_ring,
    "horseshoe": _horseshoe,
}
THIN_KINDS: dict[str, Callable[[np.random.Generator], Outline]] = {
    "stick": _stick,
    "wire loop": _wire_loop,
    "zigzag": _zigzag,
    "spiral": _spiral,
    "grid": _grid,
    "ladder": _ladder,
    "fork": _fork,
    "comb": _comb,
}
KINDS = SOLID_KINDS | HOLED_KINDS | THIN_KINDS
"""Every kind by its English name."""
