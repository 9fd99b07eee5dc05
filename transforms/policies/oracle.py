"""The oracle: the click that mends the greatest error."""

from __future__ import annotations

from collections.abc import Sequence

from hlmat.transforms.core.protocols import PolicyAction, State
from hlmat.transforms.core.records import Click, Finish, StopReason
from hlmat.transforms.oracle.click import oracle_click


class OraclePolicy:
    """Clicks the deepest pixel of the deeper error region."""

    name = "oracle"

    def initial_clicks(self, state: State) -> tuple[Click, ...]:
        """Return no set-up clicks."""
        return ()

    def next_actions(self, states: Sequence[State]) -> list[PolicyAction]:
        """Return the oracle's click of each state, a finish where no error is left."""
        return [self.next_action(state) for state in states]

    def next_action(self, state: State) -> Click | Finish:
        """Return the oracle's click, a finish where no error is left."""
        click = oracle_click(state.mask, state.truth, ignore=state.ignore, clicked=state.clicks)
        return Finish(StopReason.NO_ERROR_LEFT) if click is None else click
