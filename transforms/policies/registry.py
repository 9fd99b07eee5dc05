"""Click policies that need no model, by name: those that make data and those to measure against."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.protocols import ClickPolicy
from hlmat.transforms.policies.baselines import CentrePolicy, RandomPolicy
from hlmat.transforms.policies.oracle import OraclePolicy
from hlmat.transforms.policies.random_error import UniformPolicy
from hlmat.transforms.policies.seeded_clicks import GridPolicy, RandomPointsPolicy, grid_side

DEFAULT_NUM_INITIAL = 4


@dataclass(frozen=True)
class PolicyOptions:
    """What a policy is built from; calling it builds the policy.

    Attributes:
        name: a key of `POLICIES`, or of `YARDSTICKS` where a baseline is wanted.
        seed: the run's seed.
        num_initial: how many set-up clicks, for `random` and `grid` among `POLICIES`; the grid is
            the largest square one that needs no more.
        is_baseline: whether the name is one of `YARDSTICKS`.

    Raises:
        ConfigError: unknown name, or fewer than one set-up click.
    """

    name: str
    seed: int
    num_initial: int = DEFAULT_NUM_INITIAL
    is_baseline: bool = False

    def __post_init__(self) -> None:
        problems = []
        if (problem := check_policy_name(self.name, among=self._entries)) is not None:
            problems.append(problem)
        if self.num_initial < 1:
            problems.append(
                f"the number of set-up clicks must be at least 1, got {self.num_initial}"
            )
        if problems:
            raise ConfigError(problems)

    def __call__(self) -> ClickPolicy:
        """Build the policy."""
        return self._entries[self.name].build(self)

    def identity(self) -> dict[str, int]:
        """Return what determines the clicks, apart from name and seed, as plain JSON values."""
        return {"initial_points": self.num_initial}

    @property
    def _entries(self) -> Mapping[str, PolicyEntry]:
        return YARDSTICKS if self.is_baseline else POLICIES


@dataclass(frozen=True)
class PolicyEntry:
    """A policy that goes by name.

    Attributes:
        summary: one line for the help.
    """

    summary: str
    build: Callable[[PolicyOptions], ClickPolicy]


def _build_oracle(options: PolicyOptions) -> ClickPolicy:
    return OraclePolicy()


def _build_uniform(options: PolicyOptions) -> ClickPolicy:
    return UniformPolicy(seed=options.seed)


def _build_random(options: PolicyOptions) -> ClickPolicy:
    return RandomPointsPolicy(
        seed=options.seed, num_points=options.num_initial, then=OraclePolicy()
    )


def _build_grid(options: PolicyOptions) -> ClickPolicy:
    return GridPolicy(points_per_side=grid_side(options.num_initial), then=OraclePolicy())


POLICIES: Mapping[str, PolicyEntry] = {
    "oracle": PolicyEntry("the deepest pixel of the deeper error region", _build_oracle),
    "uniform": PolicyEntry("a random pixel of the error", _build_uniform),
    "random": PolicyEntry(
        "random set-up points in and around the object, then oracle", _build_random
    ),
    "grid": PolicyEntry("a grid of set-up points over the object's box, then oracle", _build_grid),
}


YARDSTICKS: Mapping[str, PolicyEntry] = {
    "centre": PolicyEntry("one click at the image's centre", lambda _: CentrePolicy()),
    "random": PolicyEntry("random clicks anywhere", lambda o: RandomPolicy(seed=o.seed)),
    "oracle": PolicyEntry("the deepest pixel of the deeper error region", _build_oracle),
}
"""What a model's figures are held against."""


def check_policy_name(
    name: str, *, among: Iterable[str] = POLICIES, flag: str = "--policy"
) -> str | None:
    """Return what is wrong with the name of a policy, None if it can be built."""
    names = list(among)
    if name in names:
        return None
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{flag} {name!r} is unknown; {hint}choose from {', '.join(names)}"
