"""A random point of the error: each wrong pixel is as likely as any other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hlmat.transforms.core.protocols import PolicyAction, State
from hlmat.transforms.core.records import Click, Finish, StopReason
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.oracle.click import error_regions


class UniformPolicy:
    """Clicks a wrong pixel that was not clicked before; the label is the truth's there."""

    name = "uniform"

    def __init__(self, *, seed: int) -> None:
        self._seed = seed

    def initial_clicks(self, state: State) -> tuple[Click, ...]:
        """Return no set-up clicks."""
        return ()

    def next_actions(self, states: Sequence[State]) -> list[PolicyAction]:
        """Return a random click of each state, a finish where no error is left."""
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
