"""Policies that see the ground truth and click its errors: at their deepest pixel, or at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hlmat.transforms.core.protocols import PolicyAction, State
from hlmat.transforms.core.records import Click, Finish, StopReason
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.oracle.click import error_regions, oracle_click


class OraclePolicy:
    """Click the deepest pixel of the deeper error region, missed or wrongly included."""

    name = "oracle"

    def initial_clicks(self, state: State) -> tuple[Click, ...]:
        """Return no initial clicks."""
        return ()

    def next_actions(self, states: Sequence[State]) -> list[PolicyAction]:
        """Return the oracle's click for each state, or a finish if no error is left."""
        return [self.next_action(state) for state in states]

    def next_action(self, state: State) -> Click | Finish:
        """Return the oracle's click, or a finish if no error is left."""
        click = oracle_click(
            state.mask,
            state.truth,
            ignore=state.ignore,
            clicked=state.clicks,
            part=state.part,
        )
        return Finish(StopReason.NO_ERROR_LEFT) if click is None else click


class RandomErrorPolicy:
    """Click a random wrong pixel, each equally likely; the label is the truth's there.

    A pixel is never clicked twice. The same target, seed and click count give the same click.

    Args:
        seed: the run's seed.
    """

    name = "uniform"

    def __init__(self, *, seed: int) -> None:
        self._seed = seed

    def initial_clicks(self, state: State) -> tuple[Click, ...]:
        """Return no initial clicks."""
        return ()

    def next_actions(self, states: Sequence[State]) -> list[PolicyAction]:
        """Return a random click for each state, or a finish if no error is left."""
        return [self._next_action(state) for state in states]

    def _next_action(self, state: State) -> Click | Finish:
        false_negative, false_positive = error_regions(state.mask, state.truth, ignore=state.ignore)
        error = false_negative | false_positive
        for click in state.clicks:
            error[click.y, click.x] = False
        wrong_pixels = np.flatnonzero(error)
        if wrong_pixels.size == 0:
            return Finish(StopReason.NO_ERROR_LEFT)
        rng = target_rng(self._seed, state.target.ref.target_id, self.name, len(state.clicks))
        y, x = divmod(int(rng.choice(wrong_pixels)), error.shape[1])
        return Click(x, y, bool(state.truth[y, x]))
