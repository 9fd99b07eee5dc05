"""Masks that one more click may mean, each with a score; the best one is the answer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from transforms.protocols import Mask
from transforms.segmenters.chamfer import chamfer_depth
from transforms.segmenters.picture_window import Cell, PictureWindow, Values

WHOLE_PICTURE_RADII = (0.05, 0.08, 0.13, 0.2, 0.3, 0.45)
"""Guesses of the object's radius, as shares of the window's longer side."""
NEAR_OBJECT_RADII = (0.1, 0.16, 0.24)
_RADIUS_PULL = 1.5
_FIRST_ROUNDS = 2

_BOX_SHRINKS = (0.5, 0.75, 1.0)
_BOX_ROUNDS = 3
_BOX_PULL = 1.0

_REACHES = (0.4, 0.8, 1.5, 3.0)
_LOCAL_COLOUR_WEIGHTS = (0.4, 0.9)
_GLOBAL_WEIGHTS = ((0.7, 0.8), (1.0, 0.3))
_GLOBAL_ROUNDS = 2
_PRIOR_WEIGHT = 1.5
_CLICK_WEIGHT = 2.5
_OLD_CLICK_WEIGHT = 1.5
# From these clicks on: only the part near the click is solved; only the connected change that
# holds the click is kept of the whole-window candidates too; no whole-window candidates any more.
_LOCAL_FROM = 3
_CONNECTED_FROM = 6
_GLOBAL_UNTIL = 8

# Two kinds of people: some click the deepest pixel of an error, some anywhere well inside it. For
# each: from which share of the greatest depth on a click is as good as the deepest, the likelihood
# at the very edge against that at the best, and the log odds of the kind when all clicks are best.
_CLICKERS = ((1.0, 0.23, 2.0), (0.5, 0.09, 0.0))


@dataclass(frozen=True, eq=False)
class Candidate:
    """A labelling of a window.

    Attributes:
        labels: bool. Shape: the window's.
        score: comparable among the candidates for the same prompt.
    """

    window: PictureWindow
    labels: Mask
    score: float


@dataclass(frozen=True, eq=False)
class PastError:
    """A mask of the past and the click that was made to mend it.

    Attributes:
        labels: the mask before the click. Shape: the window's.
    """

    labels: Mask
    cell: Cell


def best(candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate of the highest score, the first among equals."""
    return max(candidates, key=lambda candidate: candidate.score)


def keep_clicked(labels: Mask, cells: Sequence[Cell], *, anchor: Mask | None = None) -> Mask:
    """Keep the 4-connected parts that hold a positive click or meet the anchor."""
    _, parts = cv2.connectedComponents(labels.astype(np.uint8), connectivity=4)
    parts = np.asarray(parts, np.intp)
    keep = np.zeros(int(parts.max()) + 1, np.bool_)
    for row, column, is_positive in cells:
        if is_positive:
            keep[parts[row, column]] = True
    if anchor is not None:
        keep[parts[anchor]] = True
    keep[0] = False
    return keep[parts]


def first_candidates(
    window: PictureWindow, cells: Sequence[Cell], *, centre: Cell, radii: Sequence[float]
) -> Iterator[Candidate]:
    """Propose objects around the first positive click, one size after another.

    Args:
        cells: every click, oldest first.
        centre: the click that the object lies around.
        radii: guesses of the object's radius, as shares of the window's longer side.
    """
    row, column, _ = centre
    squares = window.squared_distance(row, column)
    distance = np.sqrt(squares)
    for share in radii:
        radius = share * window.side
        inside = np.exp(-squares / (2 * (0.5 * radius) ** 2))
        outside = 1 - np.exp(-squares / (2 * (1.3 * radius) ** 2))
        pull = np.clip(-_RADIUS_PULL * (distance / radius - 1), -4, 4)
        labels = np.zeros(window.shape, np.bool_)
        for _ in range(_FIRST_ROUNDS):
            labels = window.cut(window.colour_evidence(inside, outside) + pull, cells)
            labels = keep_clicked(labels, [centre])
            inside = labels * np.exp(-squares / (2 * (2 * radius) ** 2))
            outside = (~labels).astype(np.float32)
        yield Candidate(window, labels, score_first(window, labels, centre))


def score_first(window: PictureWindow, labels: Mask, centre: Cell) -> float:
    """Score an object by its contour, the click's depth in it, its colours, edge and size."""
    depth = chamfer_depth(labels)
    depth_share = float(depth[centre[:2]]) / max(int(depth.max()), 1)
    box, (height, width) = window.box, window.picture_hw
    window_share = (box.x1 - box.x0) * (box.y1 - box.y0) / (height * width)
    return (
        24 * window.contrast(labels)
        + click_likelihood(((8, depth_share),))
        + 5 * window.separation(labels)
        - 20 * window.rim_share(labels)
        + 1 * math.log(float(labels.mean()) * window_share + 1e-4)
    )


def box_candidates(window: PictureWindow, inner: Mask) -> Iterator[Candidate]:
    """Propose objects inside a box.

    Args:
        inner: the cells of the box. Shape: the window's.
    """
    rows, columns = np.flatnonzero(inner.any(axis=1)), np.flatnonzero(inner.any(axis=0))
    half_height, half_width = rows.size / 2, columns.size / 2
    centre_row, centre_column = rows[0] + half_height - 0.5, columns[0] + half_width - 0.5
    ellipse = ((window.rows - centre_row) / half_height) ** 2 + (
        (window.columns - centre_column) / half_width
    ) ** 2
    outer = (~inner).astype(np.float32)
    for shrink in _BOX_SHRINKS:
        inside = np.where(inner, np.exp(-ellipse / (2 * (0.7 * shrink) ** 2)), 0)
        outside = outer + np.where(inner & (ellipse > 1), 0.5, 0)
        pull = np.clip(2 * _BOX_PULL * (shrink - ellipse), -2, 2)
        labels = inner
        for _ in range(_BOX_ROUNDS):
            evidence = window.colour_evidence(inside, outside) + pull
            labels = window.cut(np.where(inner, evidence, -1e4), ())
            labels = _largest_parts(labels) if labels.any() else inner
            inside = labels.astype(np.float32)
            outside = outer + np.where(inner & ~labels, 0.5, 0)
        filled = (
            np.count_nonzero(labels.any(axis=1)) / rows.size
            + np.count_nonzero(labels.any(axis=0)) / columns.size
        )
        score = 24 * window.contrast(labels) + 5 * window.separation(labels) + 8 * filled
        yield Candidate(window, labels, score)


def _largest_parts(labels: Mask) -> Mask:
    _, parts = cv2.connectedComponents(labels.astype(np.uint8), connectivity=4)
    area = np.bincount(parts.ravel())
    area[0] = 0
    return (area >= 0.1 * area.max())[parts] & labels


@dataclass(frozen=True)
class _Plan:
    """One way to answer a later click.

    Attributes:
        radius: how far the click reaches, in cells.
        colour: weight of the colours.
        inertia: weight of the mask before the click.
        rounds: how often colours are learned and the window is cut.
        is_local: only what hangs together with the click may change.
    """

    radius: float
    colour: float
    inertia: float
    rounds: int
    is_local: bool


@dataclass(frozen=True, eq=False)
class _OldClicks:
    """What the clicks before the last one still say: as a preference and as colour samples."""

    pull: Values
    inside: Values
    outside: Values

    @classmethod
    def of(cls, window: PictureWindow, cells: Sequence[Cell]) -> _OldClicks:
        samples = {True: np.zeros(window.shape), False: np.zeros(window.shape)}
        pull = np.zeros(window.shape)
        for row, column, is_positive in cells:
            spread = 2 * (0.03 * window.side) ** 2
            bump = np.exp(-window.squared_distance(row, column) / spread)
            pull += _OLD_CLICK_WEIGHT * bump if is_positive else -_OLD_CLICK_WEIGHT * bump
            samples[is_positive] += 0.15 / bump.sum() * bump
        return cls(pull, samples[True], samples[False])


def next_candidates(
    window: PictureWindow,
    prior: Values,
    cells: Sequence[Cell],
    *,
    past: Sequence[PastError],
    anchor: Mask | None = None,
) -> Iterator[Candidate]:
    """Propose changes of a mask that the last click may ask for.

    Args:
        prior: each cell's share of the mask before the click. Shape: the window's.
        cells: every click, the new one last.
        past: the latest errors and their clicks, this one's included.
        anchor: cells whose part of the mask stands without a positive click.
    """
    row, column, is_positive = cells[-1]
    before = prior > 0.5
    old = _OldClicks.of(window, cells[:-1])
    depth = float(chamfer_depth(before != is_positive)[row, column]) / 1024
    seen: list[Mask] = []
    for plan in _plans(depth, side=window.side, order=len(cells)):
        labels = _carry_out(plan, window, prior, cells, old)
        if len(cells) >= _LOCAL_FROM and (plan.is_local or len(cells) >= _CONNECTED_FROM):
            labels = _connected_change(labels, before, (row, column))
        labels = labels.copy()
        for click_row, click_column, click_positive in cells:
            labels[click_row, click_column] = click_positive
        labels = keep_clicked(labels, cells, anchor=anchor)
        if not any(np.array_equal(labels, other) for other in seen):
            seen.append(labels)
            score = _score_next(window, labels, before, (row, column), past)
            yield Candidate(window, labels, score)


def _plans(depth: float, *, side: int, order: int) -> Iterator[_Plan]:
    """Yield the ways to answer the click of this order, `depth` cells deep in its region."""
    for reach in _REACHES:
        radius = float(np.clip(reach * depth, 0.02 * side, 0.35 * side))
        for colour in _LOCAL_COLOUR_WEIGHTS:
            yield _Plan(radius, colour, _PRIOR_WEIGHT, 1, is_local=True)
    if order <= _GLOBAL_UNTIL:
        radius = float(np.clip(depth, 0.04 * side, 0.2 * side))
        for colour, inertia in _GLOBAL_WEIGHTS:
            yield _Plan(radius, colour, inertia, _GLOBAL_ROUNDS, is_local=False)


def _carry_out(
    plan: _Plan, window: PictureWindow, prior: Values, cells: Sequence[Cell], old: _OldClicks
) -> Mask:
    """Learn colours from mask and clicks and cut, as often as planned."""
    row, column, is_positive = cells[-1]
    before = prior > 0.5
    squares = window.squared_distance(row, column)
    influence = np.exp(-squares / (2 * plan.radius**2))
    core = np.exp(-squares / (2 * max(0.6 * plan.radius, 2) ** 2))
    core *= 0.5 / core.sum()
    pull = plan.inertia * (2 * prior - 1) * (1 - influence) + old.pull
    pull += _CLICK_WEIGHT * influence if is_positive else -_CLICK_WEIGHT * influence
    around = None
    if plan.is_local and len(cells) >= _LOCAL_FROM:
        around = (row, column, int(2.5 * plan.radius + 3))
    believed, labels = prior, before
    for _ in range(plan.rounds):
        # The surroundings of the click count for its own side alone.
        inside = believed if is_positive else believed * (1 - influence)
        outside = (1 - believed) * (1 - influence) if is_positive else 1 - believed
        inside = inside / max(float(inside.sum()), 1) + old.inside
        outside = outside / max(float(outside.sum()), 1) + old.outside
        if is_positive:
            inside = inside + core
        else:
            outside = outside + core
        evidence = plan.colour * window.colour_evidence(inside, outside)
        labels = window.cut(evidence + pull, cells, around=around, keep=before)
        believed = labels.astype(np.float32)
    return labels


def _connected_change(labels: Mask, before: Mask, cell: tuple[int, int]) -> Mask:
    change = labels != before
    _, parts = cv2.connectedComponents(change.astype(np.uint8), connectivity=8)
    if parts[cell] == 0:
        return before
    return np.where(parts == parts[cell], labels, before)


def _score_next(
    window: PictureWindow,
    labels: Mask,
    before: Mask,
    cell: tuple[int, int],
    past: Sequence[PastError],
) -> float:
    change = labels != before
    depth = chamfer_depth(change)
    depth_share = float(depth[cell]) / max(int(depth.max()), 1)
    shares = [(4.0, depth_share)]
    shares += [(6 / len(past), _past_depth_share(labels, error)) for error in past]
    return (
        5.5 * window.contrast(labels, besides=before)
        + 0.2 * math.log(float(change.mean()) + 1e-4)
        + click_likelihood(shares)
    )


def click_likelihood(shares: Sequence[tuple[float, float]]) -> float:
    """Return the log likelihood, up to a constant, that somebody made all these clicks.

    Args:
        shares: weight of each click, and its depth in the error as a share of the greatest.
    """
    by_kind = [
        odds
        + sum(
            weight * math.log((min(share / deep_enough, 1.0) + edge) / (1 + edge))
            for weight, share in shares
        )
        for deep_enough, edge, odds in ((d, e / (1 - e), o) for d, e, o in _CLICKERS)
    ]
    return float(np.logaddexp.reduce(by_kind))


def _past_depth_share(labels: Mask, error: PastError) -> float:
    """Return how deep a past click lay in the error, were the labels the truth, from 0 to 1."""
    row, column, is_positive = error.cell
    missed = chamfer_depth(labels & ~error.labels)
    wrong = chamfer_depth(~labels & error.labels)
    deepest = max(int(missed.max()), int(wrong.max()))
    if deepest == 0:
        return 1.0
    return float((missed if is_positive else wrong)[row, column]) / deepest
