"""Click policies that need no model, by name: for making data, and baselines.

A policy is imported only when it is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hlmat.transforms.clickability.click_model import built_in_click_model
from hlmat.transforms.core.options import options, setting
from hlmat.transforms.core.suggestions import did_you_mean
from hlmat.transforms.policies.human_options import HumanClicks

if TYPE_CHECKING:
    from hlmat.transforms.core.protocols import ClickPolicy


@options
class PolicyOptions:
    """Settings that a policy is built from; calling it builds the policy.

    Attributes:
        name: a key of `POLICIES`, or of `BASELINES` if a baseline is wanted.
        seed: the run's seed.
        num_initial_clicks: at most, for `random` and `grid` among `POLICIES`; the grid is the
            largest square one that needs no more.
        wrong_clicks: for `oracle` among `POLICIES`, the share of targets that begin wrongly.
        wrong_clicks_on: where their first click is, as for `WrongClickPolicy`.
        is_baseline: whether the name is one of `BASELINES`.
        human: of the policy `human`: its model and decile; None for the model of the package.

    Raises:
        ConfigError: unknown name, or fewer than one initial click.
    """

    name: str = setting(default="oracle", metavar="P", help="what chooses the clicks")
    seed: int = setting(default=0, ge=0, help="of everything random")
    num_initial_clicks: int = setting(
        default=4, ge=1, help="random, grid: clicks made before the oracle's, at most"
    )
    wrong_clicks: float = setting(
        default=0.0,
        ge=0,
        le=1,
        metavar="RATE",
        help="oracle: share of targets that begin with a wrong click, which is not learned",
    )
    wrong_clicks_on: Literal["outside", "object"] = setting(
        default="outside",
        help="oracle: a wrong click is anywhere outside the object, or on another object of the "
        "image if there is one",
    )
    is_baseline: bool = setting(default=False, help="whether a baseline is meant")
    human: HumanClicks | None = setting(default=None, help="human: the model of people's clicks")

    def conflicts(self) -> Iterator[str]:
        """Yield problems with combinations of values."""
        if (problem := check_policy_name(self.name, among=self._entries)) is not None:
            yield problem
        if self.wrong_clicks and self.name != "oracle":
            yield "{wrong_clicks} needs {name} to be oracle, which answers the wrong clicks"
        if self.wrong_clicks_on != "outside" and not self.wrong_clicks:
            yield "{wrong_clicks_on} needs a share of targets: {wrong_clicks} makes no wrong click"

    def __call__(self) -> ClickPolicy:
        """Build the policy."""
        return self._entries[self.name].build(self)

    def identity(self) -> dict[str, Any]:
        """Return what determines the clicks, apart from name and seed, as plain JSON values."""
        found: dict[str, Any] = {"initial_clicks": self.num_initial_clicks}
        if self.wrong_clicks:
            found["wrong_clicks"] = self.wrong_clicks
            # Runs from before the choice keep their fingerprint.
            if self.wrong_clicks_on != "outside":
                found["wrong_clicks_on"] = self.wrong_clicks_on
        return found | self.human_clicks.identity() if self.name == "human" else found

    @property
    def human_clicks(self) -> HumanClicks:
        """The model and decile of the policy `human`."""
        return self.human or HumanClicks(built_in_click_model())

    @property
    def _entries(self) -> Mapping[str, PolicyEntry]:
        return BASELINES if self.is_baseline else POLICIES


@dataclass(frozen=True)
class PolicyEntry:
    """A built-in policy.

    Attributes:
        summary: one line for the help.
    """

    summary: str
    build: Callable[[PolicyOptions], ClickPolicy]


def _build_oracle(options: PolicyOptions) -> ClickPolicy:
    from hlmat.transforms.policies.initial_clicks import WrongClickPolicy
    from hlmat.transforms.policies.oracle import OraclePolicy

    if options.wrong_clicks:
        return WrongClickPolicy(
            seed=options.seed,
            rate=options.wrong_clicks,
            on=options.wrong_clicks_on,
            then=OraclePolicy(),
        )
    return OraclePolicy()


def _build_uniform(options: PolicyOptions) -> ClickPolicy:
    from hlmat.transforms.policies.oracle import RandomErrorPolicy

    return RandomErrorPolicy(seed=options.seed)


def _build_random(options: PolicyOptions) -> ClickPolicy:
    from hlmat.transforms.policies.initial_clicks import RandomClicksPolicy
    from hlmat.transforms.policies.oracle import OraclePolicy

    return RandomClicksPolicy(
        seed=options.seed, num_clicks=options.num_initial_clicks, then=OraclePolicy()
    )


def _build_grid(options: PolicyOptions) -> ClickPolicy:
    from hlmat.transforms.policies.initial_clicks import GridPolicy, grid_side
    from hlmat.transforms.policies.oracle import OraclePolicy

    return GridPolicy(points_per_side=grid_side(options.num_initial_clicks), then=OraclePolicy())


def _build_human(options: PolicyOptions) -> ClickPolicy:
    from hlmat.transforms.policies.human import HumanPolicy

    return HumanPolicy(options.human_clicks, seed=options.seed)


def _build_centre(options: PolicyOptions) -> ClickPolicy:
    from hlmat.transforms.policies.baselines import CentrePolicy

    return CentrePolicy()


def _build_random_baseline(options: PolicyOptions) -> ClickPolicy:
    from hlmat.transforms.policies.baselines import RandomPolicy

    return RandomPolicy(seed=options.seed)


POLICIES: Mapping[str, PolicyEntry] = {
    "oracle": PolicyEntry("the deepest pixel of the deeper error region", _build_oracle),
    "uniform": PolicyEntry("a random pixel of the error", _build_uniform),
    "human": PolicyEntry("a pixel of the error where people would click", _build_human),
    "random": PolicyEntry(
        "random initial clicks in and around the object, then oracle", _build_random
    ),
    "grid": PolicyEntry("initial clicks on a grid over the object's box, then oracle", _build_grid),
}


BASELINES: Mapping[str, PolicyEntry] = {
    "centre": PolicyEntry("one click at the image's centre", _build_centre),
    "random": PolicyEntry("random clicks anywhere", _build_random_baseline),
    "human": PolicyEntry("a pixel of the error where people would click", _build_human),
    "oracle": PolicyEntry("the deepest pixel of the deeper error region", _build_oracle),
}
"""Policies to compare a model's figures with."""


def check_policy_name(
    name: str, *, among: Iterable[str] = POLICIES, flag: str = "--policy"
) -> str | None:
    """Return what is wrong with the name of a policy, None if it can be built."""
    names = list(among)
    if name in names:
        return None
    hint = did_you_mean(name, names)
    return f"{flag} {name!r} is unknown; {hint}choose from {', '.join(names)}"
