"""A call of `hlmat ladder`: recipe and command line, validated together."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from hlmat.pipelines.ladder.plan import (
    ALWAYS_CLICK,
    FIRST,
    GRPO,
    STAR_PLUS,
    LadderPlan,
    Measurement,
    Variant,
    of_variant,
)
from hlmat.pipelines.ladder.settings import read_plan
from hlmat.pipelines.recipes.flag_files import parse_flags
from hlmat.pipelines.recipes.recipe import load_recipe, recipe_names, with_recipe_flags
from hlmat.pipelines.settings.annotation_options import (
    AnnotationConfig,
    filter_config,
    refinement_config,
)
from hlmat.pipelines.settings.commands import groups_of, parse_command
from hlmat.pipelines.settings.evaluation_options import (
    EvaluationConfig,
    evaluation_config,
)
from hlmat.pipelines.settings.flags import spellings_in
from hlmat.pipelines.settings.rl_options import rl_config
from hlmat.pipelines.settings.training_options import LADDER, LADDER_PLACES, LadderOptions
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.pipelines.training.folder import TrainingFolder
from hlmat.pipelines.training.job import given_flags, read_job
from hlmat.pipelines.training.star_plus import StarPlusJob, read_star_plus
from hlmat.transforms.core.errors import ConfigError


@dataclass(frozen=True)
class LadderJob:
    """A call of `hlmat ladder`. Built by `read_ladder`.

    Attributes:
        star_arguments: arguments of `hlmat star-plus`.
        places: flags for the locations of data and weights, and for the devices.
        limit: number of targets of each set; None for all.
    """

    recipe: str
    plan: LadderPlan
    star: StarPlusJob
    star_arguments: argparse.Namespace
    out: Path
    places: tuple[str, ...]
    limit: int | None
    quiet: bool

    def variants(self) -> list[Variant]:
        """Return the trainings other than the first one."""
        return [*self.plan.codec_variants(), *self.plan.colour_variants()]

    def measurements(self, target_set: str) -> list[Measurement]:
        """Return the distinct evaluations on a set."""
        plan = self.plan.of(target_set)
        variants = [*plan.codec_variants(), *plan.colour_variants()]
        searches = plan.compared_searches()
        others = [*plan.controls(), *plan.reinforced(), *plan.actions()]
        asked = [*plan.rungs(), *searches, *others, *map(of_variant, variants)]
        first_of_name: dict[str, Measurement] = {}
        for measurement in asked:
            first_of_name.setdefault(measurement.name, measurement)
        return list(first_of_name.values())

    def model(self, name: str) -> Path:
        """Return the folder of a model."""
        if name == FIRST:
            return self.star.model(0)
        if name == STAR_PLUS:
            return self.star.model(self.star.rounds)
        return TrainingFolder(self.out / name).model

    def reinforcement(self) -> argparse.Namespace | None:
        """Return the arguments of `hlmat rl` from the first model; None if GRPO is not compared."""
        recipe = self.plan.reinforcement
        if recipe is None:
            return None
        places = self._known_places("rl")
        argv = with_recipe_flags(["rl", f"--recipe={recipe}", *places])[1:]
        arguments = parse_command("rl", argv)
        arguments.model = str(self.model(FIRST))
        arguments.out = str(self.out / GRPO)
        arguments.quiet = self.quiet
        return arguments

    def training_of(self, variant: Variant) -> argparse.Namespace:
        """Return the arguments of a variant's training: the first one's base model and data."""
        folder = self.star.first.folder
        arguments = parse_command("train", [f"--recipe={self.recipe}", *self.places, variant.flag])
        arguments.out = str(self.out / variant.name)
        arguments.trajectories = str(folder.trajectories)
        arguments.model = str(folder.base) if self.star.first.base else self.star.first.model
        arguments.overrides = self.star_arguments.overrides
        arguments.quiet = self.quiet
        return arguments

    def evaluations(self, target_set: str) -> list[tuple[Measurement, EvaluationConfig]]:
        """Return every evaluation on a set."""
        recipe = self._argv("evaluate", target_set)
        found = []
        for measurement in self.measurements(target_set):
            places = self._places(target_set, measurement.name, model=measurement.model)
            arguments = parse_flags("evaluate.yaml", [*recipe, *places, *measurement.flags])
            config = evaluation_config(arguments)
            found.append((measurement, config))
        return found

    def annotation(self, target_set: str, command: str, *, corrupt: str) -> AnnotationConfig:
        """Return how the improved model filters or refines a set's corrupted masks."""
        places = self._places(target_set, command, model=STAR_PLUS)
        argv = [*self._argv(command, target_set), *places, f"--corrupt={corrupt}"]
        if command == "refine" and self.plan.finishes:
            argv.append(ALWAYS_CLICK)
        arguments = parse_command(command, argv)
        read = filter_config if command == "filter" else refinement_config
        return read(arguments)

    def _argv(self, command: str, target_set: str) -> list[str]:
        """Return the recipe's flags of a command, with those of `places` and of the set."""
        limit = [] if self.limit is None else [f"--limit={self.limit}"]
        flags = [*self._known_places(command), *self.plan.sets[target_set], *limit]
        return with_recipe_flags([command, f"--recipe={self.recipe}", *flags])[1:]

    def _known_places(self, command: str) -> list[str]:
        known = spellings_in(groups_of(command))
        return [place for place in self.places if place.partition("=")[0] in known]

    def _places(self, target_set: str, name: str, *, model: str) -> list[str]:
        return [f"--model={self.model(model)}", f"--out={self.out / target_set / name}"]


def read_ladder(arguments: argparse.Namespace) -> LadderJob:
    """Validate the command line, the recipe and its `ladder.yaml` before anything runs.

    Raises:
        ConfigError: with every problem.
    """
    if not arguments.recipe:
        raise ConfigError([f"--recipe is missing; choose from {', '.join(recipe_names())}"])
    recipe = load_recipe(arguments.recipe, segmenter_path=arguments.segmenter_path or ())
    plan = read_plan(recipe)
    check = Check()
    options = Values(arguments, LADDER, check).build(LadderOptions)
    if options.until is not None:
        try:
            plan = plan.until(options.until)
        except ValueError as error:
            check.note(f"--until: the ladder of {recipe.name} has {error}")
    places = tuple(given_flags((*LADDER_PLACES, "model-device"), arguments))
    out = arguments.out or f"out/{recipe.name}-ladder"
    if "://" in out:
        check.note(f"--out {out}: training writes to the local disk; give a local path")
    flags = {"first": arguments.first, "out": arguments.star, "model": arguments.model}
    flags |= {"rounds": plan.rounds, "rollout-limit": plan.rollout_limit}
    star_arguments = parse_command(
        "star-plus",
        [
            f"--recipe={arguments.recipe}",
            *places,
            *(f"--{name}={value}" for name, value in flags.items() if value is not None),
        ],
    )
    star_arguments.overrides = arguments.overrides
    star_arguments.quiet = arguments.quiet or arguments.json
    star = check.built(lambda: read_star_plus(star_arguments))
    check.done()
    assert star is not None
    job = LadderJob(
        recipe=arguments.recipe,
        plan=plan,
        star=star,
        star_arguments=star_arguments,
        out=Path(out).absolute(),
        places=places,
        limit=options.limit,
        quiet=star_arguments.quiet,
    )
    _check_all(job, check)
    return job


def _check_all(job: LadderJob, check: Check) -> None:
    """Validate every training and evaluation of the job."""
    check.built(lambda: [read_job(job.training_of(v)) for v in job.variants()])
    if (reinforcement := job.reinforcement()) is not None:
        check.built(lambda: rl_config(reinforcement))
    for name in job.plan.sets:
        found = Check()
        found.built(lambda s=name: job.evaluations(s))
        check.note_all([f"ladder.yaml: sets: {name}: {problem}" for problem in found.problems])
    check.done()
