"""Initial clicks at random, on a grid or wrong, before another policy takes over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from hlmat.transforms.core.protocols import ClickPolicy, Mask, PolicyAction, State
from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.masks.boxes import truth_box
from hlmat.transforms.oracle.wrong_click import wrong_click

_BOX_SCALE = 1.5


class RandomClicksPolicy:
    """Start with random clicks, half inside the object and half around it, then hand over.

    Clicks around the object are within its box, enlarged 1.5 times about its centre. Clicks inside
    and around alternate, inside first; there are fewer if free pixels run out.

    Args:
        seed: the run's seed.
        num_clicks: number of initial clicks.
        then: the policy that takes over.
    """

    name = "random"

    def __init__(self, *, seed: int, num_clicks: int, then: ClickPolicy) -> None:
        self._seed = seed
        self._num_points = num_clicks
        self._then = then

    def initial_clicks(self, state: State) -> tuple[Click, ...]:
        """Return random initial clicks, set by target and seed; no clicks without an object."""
        if not state.truth.any():
            return ()
        free = _free_pixels(state)
        around = np.zeros_like(free)
        box = _enlarged(truth_box(state.truth), size_hw=state.truth.shape)
        around[box.y0 : box.y1, box.x0 : box.x1] = True
        rng = target_rng(self._seed, state.target.ref.target_id, self.name)
        num_inside = (self._num_points + 1) // 2
        inside_points = _sample(free & state.truth, num_inside, rng=rng)
        around_points = _sample(
            free & around & ~state.truth, self._num_points - num_inside, rng=rng
        )
        clicks = []
        for turn in range(num_inside):
            for points, is_positive in ((inside_points, True), (around_points, False)):
                if turn < len(points):
                    clicks.append(Click(*points[turn], is_positive))
        return tuple(clicks)

    def next_actions(self, states: Sequence[State]) -> list[PolicyAction]:
        """Return the actions of the policy that takes over."""
        return self._then.next_actions(states)


class GridPolicy:
    """Start with clicks on a square grid over the truth's box, in row-major order, then hand over.

    Clicks are at the centres of the grid's cells and labelled by the truth there; ignored pixels
    and duplicates are left out.

    Args:
        points_per_side: rows and columns of the grid.
        then: the policy that takes over.
    """

    name = "grid"

    def __init__(self, *, points_per_side: int, then: ClickPolicy) -> None:
        self._points_per_side = points_per_side
        self._then = then

    def initial_clicks(self, state: State) -> tuple[Click, ...]:
        """Return the initial clicks on the grid; no clicks without an object."""
        if not state.truth.any():
            return ()
        box = truth_box(state.truth)
        free = _free_pixels(state)
        points = (
            (x, y)
            for y in _centres(box.y0, box.y1, count=self._points_per_side)
            for x in _centres(box.x0, box.x1, count=self._points_per_side)
        )
        return tuple(Click(x, y, bool(state.truth[y, x])) for x, y in points if free[y, x])

    def next_actions(self, states: Sequence[State]) -> list[PolicyAction]:
        """Return the actions of the policy that takes over."""
        return self._then.next_actions(states)


class WrongClickPolicy:
    """Start some targets with one wrong click, then hand over to a policy that corrects it.

    The click is a positive one outside the object. States that a perfect policy never meets become
    part of the data, and its answers to them, as in DAgger (Ross et al. 2011); the wrong click
    itself is an initial click, which no export teaches.

    Args:
        seed: the run's seed.
        rate: the share of the targets, from 0 to 1.
        then: the policy that takes over.
        on: "outside" for any pixel outside the object, each equally likely; "object" for a pixel
            of another object of the image, first each object and then each of its pixels equally
            likely. An image without another object gets a click outside.
    """

    name = "wrong"

    def __init__(
        self,
        *,
        seed: int,
        rate: float,
        then: ClickPolicy,
        on: Literal["outside", "object"] = "outside",
    ) -> None:
        self._seed = seed
        self._rate = rate
        self._then = then
        self._on = on

    def initial_clicks(self, state: State) -> tuple[Click, ...]:
        """Return a wrong click or none, set by target and seed."""
        rng = target_rng(self._seed, state.target.ref.target_id, self.name)
        if rng.random() >= self._rate:
            return ()
        others = state.image_truths if self._on == "object" else ()
        click = wrong_click(state.truth, rng=rng, others=others, excluded=~_free_pixels(state))
        return () if click is None else (click,)

    def next_actions(self, states: Sequence[State]) -> list[PolicyAction]:
        """Return the actions of the policy that takes over."""
        return self._then.next_actions(states)


def grid_side(num_clicks: int) -> int:
    """Return the side of the largest square grid of at most `num_clicks` clicks."""
    return math.isqrt(num_clicks)


def _free_pixels(state: State) -> Mask:
    free = np.ones_like(state.truth) if state.ignore is None else ~state.ignore
    for click in state.clicks:
        free[click.y, click.x] = False
    return free


def _enlarged(box: Box, *, size_hw: tuple[int, ...]) -> Box:
    extra_x = math.ceil((box.x1 - box.x0) * (_BOX_SCALE - 1) / 2)
    extra_y = math.ceil((box.y1 - box.y0) * (_BOX_SCALE - 1) / 2)
    return Box(
        max(box.x0 - extra_x, 0),
        max(box.y0 - extra_y, 0),
        min(box.x1 + extra_x, size_hw[1]),
        min(box.y1 + extra_y, size_hw[0]),
    )


def _sample(region: Mask, count: int, *, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw (x, y) of `count` distinct pixels, or of all pixels if there are fewer."""
    pixels = np.flatnonzero(region)
    drawn = rng.choice(pixels, size=min(count, pixels.size), replace=False)
    return [(int(i) % region.shape[1], int(i) // region.shape[1]) for i in drawn]


def _centres(low: int, high: int, *, count: int) -> list[int]:
    """Return the distinct centres of `count` equal parts of a half-open range."""
    return sorted({low + (2 * i + 1) * (high - low) // (2 * count) for i in range(count)})
