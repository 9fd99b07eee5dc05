"""The plan of a ladder: its models, and how each is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT_STEPS = (1, 3, 5, 7)
FIRST, STAR_PLUS = "first", "star-plus"
"""The models of every ladder: the first one, and the one improved by StaR+."""

_GREEDY = ("--step=last", "--search=1", "--beam=1")


@dataclass(frozen=True)
class Variant:
    """A training that differs from the first in one flag.

    Attributes:
        name: name of the training and of its folder.
        label: label of its row in a table.
        flag: flag of both `hlmat train` and `hlmat evaluate`.
    """

    name: str
    label: str
    flag: str


@dataclass(frozen=True)
class Measurement:
    """One evaluation on each set.

    Attributes:
        name: name of its folder inside the set's folder.
        label: label of its row in a table.
        model: `FIRST`, `STAR_PLUS` or the name of a variant.
        flags: flags of `hlmat evaluate` that follow the recipe's and the set's.
        against: the measurement to compare with, over shared targets.
    """

    name: str
    label: str
    model: str
    flags: tuple[str, ...]
    against: str | None = None


@dataclass(frozen=True)
class LadderPlan:
    """The plan of a ladder, as `hlmat.pipelines.ladder.settings.read_plan` reads it.

    Attributes:
        sets: flags that choose held-out targets, by the set's name.
        rounds: rounds of StaR+.
        rollout_limit: number of training targets to roll out; None for all.
        stop_score: the model's score of a mask at which it stops, in (0, 1].
        search: clicks tried in each state, at least 2.
        steps: numbers of clicks of table 2.
        own_action: the initial action of the recipe's evaluation.
        initial_actions, codecs, mask_colours: to compare; empty to omit the table.
        filter, refine: IoU ranges of corrupted masks, LOW-HIGH; None to omit the table.
    """

    sets: Mapping[str, tuple[str, ...]]
    rounds: int = 1
    rollout_limit: int | None = None
    stop_score: float = 0.9
    search: int = 3
    steps: tuple[int, ...] = DEFAULT_STEPS
    own_action: str = "none"
    initial_actions: tuple[str, ...] = ()
    codecs: tuple[str, ...] = ()
    mask_colours: tuple[str, ...] = ()
    filter: str | None = None
    refine: str | None = None

    def rungs(self) -> list[Measurement]:
        """Return the ladder itself, each rung compared with the one before."""
        stop = ("--step=best-scored", f"--stop-score={self.stop_score:g}")
        search = (*stop, f"--search={self.search}")
        return [
            Measurement("sft", "SFT, greedy", FIRST, _GREEDY),
            Measurement("star-plus", "+ StaR+", STAR_PLUS, _GREEDY, "sft"),
            Measurement("stop", "+ PRM stop", STAR_PLUS, (*stop, *_GREEDY[1:]), "star-plus"),
            Measurement("search", f"+ search, K = {self.search}", STAR_PLUS, search, "stop"),
        ]

    def actions(self) -> list[Measurement]:
        """Return the greedy rollouts of the improved model for each initial action.

        For the recipe's own initial action, this is the rung of the same model.
        """
        return [
            Measurement("star-plus", action, STAR_PLUS, _GREEDY)
            if action == self.own_action
            else Measurement(
                f"initial-{action}",
                action,
                STAR_PLUS,
                (*_GREEDY, f"--initial-action={action}"),
                "star-plus",
            )
            for action in self.initial_actions
        ]

    def codec_variants(self) -> list[Variant]:
        """Return the trainings with other coordinate codecs."""
        return [Variant(f"codec-{c}", c, f"--codec={c}") for c in self.codecs]

    def colour_variants(self) -> list[Variant]:
        """Return the trainings with other mask colours."""
        return [Variant(f"colour-{c}", c, f"--mask-colour={c}") for c in self.mask_colours]


def of_variant(variant: Variant) -> Measurement:
    """Return the measurement of a variant: greedy, compared with the first model."""
    return Measurement(variant.name, variant.label, variant.name, (*_GREEDY, variant.flag), "sft")
