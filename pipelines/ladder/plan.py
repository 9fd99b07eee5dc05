"""The plan of a ladder: its models, and how each is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

DEFAULT_STEPS = (1, 3, 5, 7)
FIRST, STAR_PLUS = "first", "star-plus"
"""The models of every ladder: the first one, and the one improved by StaR+."""
GRPO = "grpo"
"""The first model, trained further by its rollouts."""

_GREEDY = ("--step=last", "--search=1", "--beam=1")
ALWAYS_CLICK = "--always-click"
"""Flag of measurements in which a model that finishes is kept from it."""


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
        model: `FIRST`, `STAR_PLUS`, `GRPO` or the name of a variant.
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
        last_rungs: the last rung of sets that are measured only so far, without any table.
        rounds: rounds of StaR+.
        rollout_limit: number of training targets to roll out; None for all.
        stop_score: the model's score of a mask at which it stops, in (0, 1].
        search: clicks tried in each state, at least 2.
        searches: numbers of clicks tried to compare; empty to omit the table.
        finishes: whether the model is taught to finish. Its rollouts are then also measured
            without that, and the rungs above stop by the score alone.
        steps: numbers of clicks of table 2.
        own_action: the initial action of the recipe's evaluation.
        initial_actions, codecs, mask_colours: to compare; empty to omit the table.
        filter, refine: IoU ranges of corrupted masks, LOW-HIGH; None to omit the table.
        reinforcement: the recipe of `hlmat rl` that trains `GRPO`; None to omit the table.
        shuffled: whether the first model is also asked for other targets' expressions.
        last_rung: name of the last rung, without any table; None for all rungs and the tables.
    """

    sets: Mapping[str, tuple[str, ...]]
    last_rungs: Mapping[str, str] = field(default_factory=dict)
    rounds: int = 1
    rollout_limit: int | None = None
    stop_score: float = 0.9
    search: int = 3
    searches: tuple[int, ...] = ()
    finishes: bool = False
    steps: tuple[int, ...] = DEFAULT_STEPS
    own_action: str = "none"
    initial_actions: tuple[str, ...] = ()
    codecs: tuple[str, ...] = ()
    mask_colours: tuple[str, ...] = ()
    filter: str | None = None
    refine: str | None = None
    reinforcement: str | None = None
    shuffled: bool = False
    last_rung: str | None = None

    def of(self, target_set: str) -> LadderPlan:
        """Return the plan of a set, which may end earlier than the others."""
        rung = self.last_rungs.get(target_set)
        names = [measurement.name for measurement in self.rungs()]
        if rung not in names:
            return self
        # GRPO is compared with the rungs up to StaR+, wherever they are measured.
        grpo = self.reinforcement if STAR_PLUS in names[: names.index(rung) + 1] else None
        return replace(self.until(rung), reinforcement=grpo)

    def until(self, rung: str) -> LadderPlan:
        """Return the plan of the rungs up to one, without the tables.

        Raises:
            ValueError: the ladder has no such rung.
        """
        names = [measurement.name for measurement in self.rungs()]
        if rung not in names:
            raise ValueError(f"no rung {rung!r}; choose from {', '.join(names)}")
        return replace(
            self,
            searches=(),
            steps=(),
            initial_actions=(),
            codecs=(),
            mask_colours=(),
            filter=None,
            refine=None,
            reinforcement=None,
            shuffled=False,
            last_rung=rung,
        )

    def rungs(self) -> list[Measurement]:
        """Return the ladder itself, each rung compared with the one before."""
        greedy = [
            Measurement("sft", "SFT, greedy", FIRST, _GREEDY),
            Measurement("star-plus", "+ StaR+", STAR_PLUS, _GREEDY, "sft"),
        ]
        if self.finishes:
            flags = (*_GREEDY, ALWAYS_CLICK)
            greedy.append(Measurement("always", "always clicking", STAR_PLUS, flags, "star-plus"))
        rungs = [*greedy, self._stop(greedy[-1].name), self._searched(self.search)]
        names = [rung.name for rung in rungs]
        return rungs if self.last_rung is None else rungs[: names.index(self.last_rung) + 1]

    def own_finish(self) -> list[Measurement]:
        """Return the stop by the score, compared with the model's own `Finish` if it has one."""
        return [self._stop("star-plus")] if self.finishes and self.last_rung is None else []

    def reinforced(self) -> list[Measurement]:
        """Return the rollouts after GRPO, compared with both models that learned otherwise."""
        if self.reinforcement is None:
            return []
        return [
            Measurement(GRPO, f"GRPO, compared with {label}", GRPO, _GREEDY, against)
            for label, against in (("SFT", "sft"), ("StaR+", STAR_PLUS))
        ]

    def controls(self) -> list[Measurement]:
        """Return the rollouts of the first model for other targets' expressions, if wanted."""
        flags = (*_GREEDY, "--expressions=shuffled")
        control = Measurement("shuffled", "another target's expression", FIRST, flags, "sft")
        return [control] if self.shuffled else []

    def compared_searches(self) -> list[Measurement]:
        """Return the searches to compare with none, which is the rung that stops."""
        return [
            self._searched(count) if count > 1 else replace(self._stop(None), label="none")
            for count in self.searches
        ]

    def _stop(self, against: str | None) -> Measurement:
        return Measurement(
            "stop", "+ PRM stop", STAR_PLUS, (*self._stop_flags(), *_GREEDY[1:]), against
        )

    def _searched(self, count: int) -> Measurement:
        name = "search" if count == self.search else f"search-{count}"
        flags = (*self._stop_flags(), f"--search={count}")
        return Measurement(name, f"+ search, K = {count}", STAR_PLUS, flags, "stop")

    def _stop_flags(self) -> tuple[str, ...]:
        always = (ALWAYS_CLICK,) if self.finishes else ()
        return ("--step=best-scored", f"--stop-score={self.stop_score:g}", *always)

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
