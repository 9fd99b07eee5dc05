"""A policy that sees the ground truth and clicks its errors where people would."""

from __future__ import annotations

from collections.abc import Sequence

from hlmat.transforms.clickability.features import error_pixels
from hlmat.transforms.clickability.sampling import sample_pixel
from hlmat.transforms.core.protocols import PolicyAction, State
from hlmat.transforms.core.records import Click, Finish, StopReason
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.policies.human_options import HumanClicks


class HumanPolicy:
    """Click a pixel of the error drawn from a clickability model; the label is the truth's there.

    A pixel is never clicked twice. The same target, seed and click count give the same click in the
    same state; deciles share their random numbers.

    Args:
        clicks: the model and the decile.
        seed: the run's seed.
    """

    name = "human"

    def __init__(self, clicks: HumanClicks, *, seed: int) -> None:
        self._clicks = clicks
        self._seed = seed

    def initial_clicks(self, state: State) -> tuple[Click, ...]:
        """Return no initial clicks."""
        return ()

    def next_actions(self, states: Sequence[State]) -> list[PolicyAction]:
        """Return a click for each state, or a finish if no error is left."""
        return [self.next_action(state) for state in states]

    def next_action(self, state: State) -> Click | Finish:
        """Return the next click, or a finish if no error is left."""
        pixels = error_pixels(
            state.mask, state.truth, ignore=state.ignore, clicked=state.clicks, part=state.part
        )
        if not len(pixels):
            return Finish(StopReason.NO_ERROR_LEFT)
        rng = target_rng(self._seed, state.target.ref.target_id, self.name, len(state.clicks))
        index = sample_pixel(
            pixels.probabilities(self._clicks.model), rng.random(), decile=self._clicks.decile
        )
        return pixels.click(index)
