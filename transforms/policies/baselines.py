"""Baseline policies that do not look at the target; a trained model must beat them."""

from __future__ import annotations

from collections.abc import Sequence

from hlmat.transforms.core.protocols import PolicyAction, State
from hlmat.transforms.core.records import Click, Finish
from hlmat.transforms.core.rng import target_rng


class CentrePolicy:
    """Click the image's centre once, then finish."""

    name = "centre"

    def initial_clicks(self, state: State) -> tuple[Click, ...]:
        """Return no initial clicks."""
        return ()

    def next_actions(self, states: Sequence[State]) -> list[PolicyAction]:
        """Return a click at the centre for states without clicks, a finish for the others."""
        return [Finish() if state.clicks else _centre_of(state) for state in states]


class RandomPolicy:
    """Click random pixels of the image: a positive click first, then clicks of random sign.

    Args:
        seed: the run's seed.
    """

    name = "random"

    def __init__(self, *, seed: int) -> None:
        self._seed = seed

    def initial_clicks(self, state: State) -> tuple[Click, ...]:
        """Return no initial clicks."""
        return ()

    def next_actions(self, states: Sequence[State]) -> list[PolicyAction]:
        """Return a random click for each state; target, seed and click count determine it."""
        return [self._next_action(state) for state in states]

    def _next_action(self, state: State) -> Click:
        height, width = state.mask.shape
        turn = len(state.clicks)
        rng = target_rng(self._seed, state.target.ref.target_id, self.name, turn)
        x, y, label = int(rng.integers(width)), int(rng.integers(height)), int(rng.integers(2))
        return Click(x, y, is_positive=turn == 0 or bool(label))


def _centre_of(state: State) -> Click:
    height, width = state.mask.shape
    return Click(width // 2, height // 2, is_positive=True)
