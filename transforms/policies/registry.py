"""Click policies by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from transforms.errors import ConfigError
from transforms.policies.initial_points import GridPolicy, RandomPointsPolicy, grid_side
from transforms.policies.oracle import OraclePolicy
from transforms.policies.uniform import UniformPolicy
from transforms.protocols import ClickPolicy

DEFAULT_NUM_INITIAL = 4


@dataclass(frozen=True)
class PolicyOptions:
    """What a policy is built from.

    Attributes:
        seed: the run's seed.
        num_initial: how many set-up clicks, for policies that have some.
    """

    seed: int
    num_initial: int


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


def check_policy_name(name: str) -> str | None:
    """Return what is wrong with a `--policy` value, None if it can be built."""
    if name in POLICIES:
        return None
    close = difflib.get_close_matches(name, POLICIES, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"--policy {name!r} is unknown; {hint}choose from {', '.join(POLICIES)}"


def make_policy(name: str, *, seed: int, num_initial: int = DEFAULT_NUM_INITIAL) -> ClickPolicy:
    """Build a policy.

    Args:
        name: a key of `POLICIES`.
        seed: the run's seed.
        num_initial: how many set-up clicks, for `random` and `grid`; the grid is the largest
            square one that needs no more.

    Raises:
        ConfigError: unknown name, or fewer than one set-up click.
    """
    problems = []
    if (problem := check_policy_name(name)) is not None:
        problems.append(problem)
    if num_initial < 1:
        problems.append(f"the number of set-up clicks must be at least 1, got {num_initial}")
    if problems:
        raise ConfigError(problems)
    return POLICIES[name].build(PolicyOptions(seed=seed, num_initial=num_initial))
