"""Candidate changes of a mask for one more click, each with a score."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.segmenters.graphcut.chamfer import chamfer_depth, depth_share
from hlmat.transforms.segmenters.graphcut.colour_model import ColourClasses, Values
from hlmat.transforms.segmenters.graphcut.first_click import Candidate, keep_clicked
from hlmat.transforms.segmenters.graphcut.likelihood import PastError, click_likelihood
from hlmat.transforms.segmenters.graphcut.window import Bump, Cell, ImageWindow

_REACHES = (0.4, 0.8, 1.5, 3.0)
_LOCAL_COLOUR_WEIGHTS = (0.4, 0.9)
_GLOBAL_WEIGHTS = ((0.7, 0.8), (1.0, 0.3))
_GLOBAL_ROUNDS = 2
_PRIOR_WEIGHT = 1.5
_CLICK_WEIGHT = 2.5
_OLD_CLICK_WEIGHT = 1.5
# Click numbers: the first for which only the part near the click is solved; the first for which
# whole-window candidates too keep only the change connected to the click; the last for which
# whole-window candidates are proposed.
_LOCAL_FROM = 3
_CONNECTED_FROM = 6
_GLOBAL_UNTIL = 8


@dataclass(frozen=True)
class _Plan:
    """Candidates for a later click that share a colour model.

    Attributes:
        radius: reach of the click, in cells.
        weights: for each candidate, of the colours and of the mask before the click.
        rounds: how often colours are estimated and the window is cut.
        is_local: only the region connected to the click may change.
    """

    radius: float
    weights: tuple[tuple[float, float], ...]
    rounds: int
    is_local: bool


@dataclass(frozen=True, eq=False)
class _OldClicks:
    """Influence of the clicks before the last one.

    Attributes:
        pull: preference for the object. Shape: the window's.
        inside: samples of the object's colours, by class.
        outside: samples of other colours, by class.
    """

    pull: Values
    inside: Values
    outside: Values

    @classmethod
    def of(cls, window: ImageWindow, cells: Sequence[Cell]) -> _OldClicks:
        samples = {side: np.zeros_like(window.colours.count) for side in (True, False)}
        pull = np.zeros(window.shape, np.float32)
        for row, column, is_positive in cells:
            bump = window.bump(row, column, 0.03 * window.side)
            weight = _OLD_CLICK_WEIGHT if is_positive else -_OLD_CLICK_WEIGHT
            pull[bump.part] += weight * bump.weights
            samples[is_positive] += _colours_under(window, bump, 0.15)
        return cls(pull, samples[True], samples[False])


def _colours_under(window: ImageWindow, bump: Bump, total: float) -> Values:
    """Return the mass of the colours under a bump by class, scaled to a total."""
    mass = window.colours.mass(bump.weights, bump.part)
    return total / mass.sum() * mass


@dataclass(frozen=True, eq=False)
class _Lesson:
    """The colour model of a click at one reach.

    Attributes:
        is_positive: whether the click asks for object.
        reach: the click's weight around it.
        core: the colours at the click, by class.
        old: influence of the clicks before it.
    """

    is_positive: bool
    reach: Bump
    core: Values
    old: _OldClicks

    @classmethod
    def of(cls, window: ImageWindow, cell: Cell, *, radius: float, old: _OldClicks) -> _Lesson:
        row, column, is_positive = cell
        core = _colours_under(window, window.bump(row, column, max(0.6 * radius, 2)), 0.5)
        return cls(is_positive, window.bump(row, column, radius), core, old)

    def evidence(self, colours: ColourClasses, believed: Values) -> Values:
        """Return the log odds of object by colour class.

        Args:
            colours: the classes of the window.
            believed: float32, each cell's current probability of object. Shape: the window's.
        """
        inside = colours.mass(believed)
        outside = colours.count - inside
        # The surroundings of the click count only for its label.
        share = believed[self.reach.part]
        if self.is_positive:
            outside -= colours.mass((1 - share) * self.reach.weights, self.reach.part)
        else:
            inside -= colours.mass(share * self.reach.weights, self.reach.part)
        inside = inside / max(float(inside.sum()), 1) + self.old.inside
        outside = outside / max(float(outside.sum()), 1) + self.old.outside
        if self.is_positive:
            inside += self.core
        else:
            outside += self.core
        return colours.evidence(inside, outside)


def change_candidates(
    window: ImageWindow,
    prior: Values,
    cells: Sequence[Cell],
    *,
    past: Sequence[PastError],
    anchor: Mask | None = None,
) -> Iterator[Candidate]:
    """Propose changes of a mask for the last click.

    Args:
        window: the part of the image to change.
        prior: float32, each cell's share of the mask before the click. Shape: the window's.
        cells: every click, the new one last.
        past: recent errors and their clicks, including the new one.
        anchor: bool, cells whose connected parts need no positive click. Shape: the window's.
    """
    row, column, is_positive = cells[-1]
    before = prior > 0.5
    old = _OldClicks.of(window, cells[:-1])
    depth = float(chamfer_depth(before != is_positive)[row, column]) / 1024
    seen: list[Mask] = []
    # Clipped radii can make plans equal; unlike a set, a dict keeps their order.
    for plan in dict.fromkeys(_plans(depth, side=window.side, order=len(cells))):
        for labels in _carry_out(plan, window, prior, cells, old):
            if len(cells) >= _LOCAL_FROM and (plan.is_local or len(cells) >= _CONNECTED_FROM):
                labels = _connected_change(labels, before, (row, column))
            labels = labels.copy()
            for click_row, click_column, click_positive in cells:
                labels[click_row, click_column] = click_positive
            labels = keep_clicked(labels, cells, anchor=anchor)
            if not any(np.array_equal(labels, other) for other in seen):
                seen.append(labels)
                score = _score_change(window, labels, before, (row, column), past)
                yield Candidate(window, labels, score)


def _plans(depth: float, *, side: int, order: int) -> Iterator[_Plan]:
    """Yield plans for the click of number `order`, `depth` cells deep in its region."""
    local = tuple((colour, _PRIOR_WEIGHT) for colour in _LOCAL_COLOUR_WEIGHTS)
    for reach in _REACHES:
        radius = float(np.clip(reach * depth, 0.02 * side, 0.35 * side))
        yield _Plan(radius, local, 1, is_local=True)
    if order <= _GLOBAL_UNTIL:
        radius = float(np.clip(depth, 0.04 * side, 0.2 * side))
        yield _Plan(radius, _GLOBAL_WEIGHTS, _GLOBAL_ROUNDS, is_local=False)


def _carry_out(
    plan: _Plan, window: ImageWindow, prior: Values, cells: Sequence[Cell], old: _OldClicks
) -> Iterator[Mask]:
    """Estimate colours and cut, as often as planned; yield the labels of each candidate."""
    row, column, is_positive = cells[-1]
    before = prior > 0.5
    lesson = _Lesson.of(window, cells[-1], radius=plan.radius, old=old)
    part = window.whole
    if plan.is_local and len(cells) >= _LOCAL_FROM:
        part = window.part(row, column, int(2.5 * plan.radius + 3))
    influence = np.zeros(window.shape, np.float32)
    influence[lesson.reach.part] = lesson.reach.weights
    influence = influence[part]
    inertia = (2 * prior[part] - 1) * (1 - influence)
    pull = old.pull[part] + (_CLICK_WEIGHT if is_positive else -_CLICK_WEIGHT) * influence
    cutter = window.part_cutter(part, before)
    learned = lesson.evidence(window.colours, prior)
    for colour_weight, prior_weight in plan.weights:
        steady = prior_weight * inertia + pull
        labels = cutter.cut(colour_weight * window.colours.paint(learned, part) + steady, cells)
        for _ in range(plan.rounds - 1):
            evidence = lesson.evidence(window.colours, labels.astype(np.float32))
            colours = window.colours.paint(evidence, part)
            labels = cutter.cut(colour_weight * colours + steady, cells)
        yield labels


def _connected_change(labels: Mask, before: Mask, cell: tuple[int, int]) -> Mask:
    change = labels != before
    _, parts = cv2.connectedComponents(change.view(np.uint8), connectivity=8)
    if parts[cell] == 0:
        return before
    return np.where(parts == parts[cell], labels, before)


def _score_change(
    window: ImageWindow,
    labels: Mask,
    before: Mask,
    cell: tuple[int, int],
    past: Sequence[PastError],
) -> float:
    change = labels != before
    shares = [(4.0, depth_share(change, *cell))]
    shares += [(6 / len(past), error.depth_share(labels)) for error in past]
    return (
        5.5 * window.contrast(labels, besides=before)
        + 0.2 * math.log(float(change.mean()) + 1e-4)
        + click_likelihood(shares)
    )
