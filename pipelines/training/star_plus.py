"""The job `hlmat star-plus`: improve a model with its own rollouts, round by round.

StaR+ of SegAgent (arXiv 2503.08625): the model is rolled out on its training targets; clicks that
raise the IoU are kept, others are replaced with the oracle's in the same state; the base model is
then retrained on the first data and the additions of all rounds so far.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hlmat.export.llama_factory.tasks.star_plus import Origin
from hlmat.export.reports.evaluation_report import RESULTS_HEADER, results_row
from hlmat.pipelines.evaluation.evaluate import evaluate
from hlmat.pipelines.recipes.recipe import with_recipe_flags
from hlmat.pipelines.run.engine_checks import check_engine
from hlmat.pipelines.run.trajectories import make_trajectories
from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.settings.evaluation_options import EvaluationConfig, evaluation_config
from hlmat.pipelines.settings.run_options import RunConfig
from hlmat.pipelines.settings.runner_choice import RunnerChoice
from hlmat.pipelines.settings.training_options import RUNNER_FLAGS, STAR_PLUS, StarPlusOptions
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.pipelines.training import train as training
from hlmat.pipelines.training.folder import TrainingFolder
from hlmat.pipelines.training.job import TrainingJob, given_flags, read_job
from hlmat.transforms.core.errors import ConfigError

ROUNDS = "rounds.json"

_SAME_PLACE = ("dataset", "data-root", "checkpoint", "device", "segmenter-path", "workers")
_MODEL_FLAGS = ("model-device", "codec", "mask-colour")


@dataclass(frozen=True)
class StarPlusJob:
    """A call of `hlmat star-plus`. Built by `read_star_plus`.

    Attributes:
        first: the training before the first round.
        arguments: arguments of `hlmat train` for that training.
        out: output folder of the rounds.
        rounds: number of rounds.
        rollout_limit: number of targets to roll out; None for all.
        evaluation: arguments of `hlmat evaluate` without model and output.
        rest: flags of the runner of rollouts and evaluations, as Beam spells them.
    """

    first: TrainingJob
    arguments: argparse.Namespace
    out: Path
    rounds: int
    rollout_limit: int | None
    evaluation: tuple[str, ...]
    rest: tuple[str, ...]
    quiet: bool

    def round_folder(self, number: int) -> Path:
        """Return a round's folder with rollouts, training, model and evaluation; 0 is the first."""
        return self.first.folder.out if number == 0 else self.out / f"round-{number}"

    def model(self, number: int) -> Path:
        """Return the model of a round."""
        return TrainingFolder(self.round_folder(number)).model

    def rollouts(self, number: int) -> Path:
        """Return the rollouts of the previous round's model on its training targets."""
        return self.round_folder(number) / "rollouts"

    def evaluation_of(self, number: int) -> EvaluationConfig:
        """Return the evaluation of a round's model on held-out targets."""
        out = (self.out / "round-0" if number == 0 else self.round_folder(number)) / "evaluation"
        return self._asked(model=self.model(number), out=out)

    def rollout_config(self, number: int) -> RunConfig:
        """Return the run of a round's rollouts: the first run with the model as policy."""
        data = self.first.config
        assert data is not None
        asked = self._asked(model=self.model(number - 1), out=self.rollouts(number)).run
        limits = replace(data.limits, stop_on_no_gain=False, score_last=asked.limits.score_last)
        return replace(
            data,
            policy=asked.policy,
            images_at_once=asked.images_at_once,
            unit_size=asked.unit_size,
            runner=asked.runner,
            accelerator=asked.accelerator,
            limits=limits,
            limit=data.limit if self.rollout_limit is None else self.rollout_limit,
            out=asked.out,
            overwrite=False,
        )

    def _asked(self, *, model: Path, out: Path) -> EvaluationConfig:
        argv = [*self.evaluation, f"--model={model}", f"--out={out}"]
        parsed = parse_command("evaluate", argv)
        return evaluation_config(parsed, rest=self.rest, groups=STAR_PLUS)


def read_star_plus(arguments: argparse.Namespace, rest: Sequence[str] = ()) -> StarPlusJob:
    """Validate the arguments of `hlmat star-plus` before anything runs.

    Args:
        arguments: parsed with the flags of `STAR_PLUS`.
        rest: arguments unknown to the parser: flags of the Beam runner, or mistakes.

    Raises:
        ConfigError: with every problem.
    """
    check = Check()
    options = Values(arguments, STAR_PLUS, check).build(StarPlusOptions)
    for flag, given in (
        ("--also", arguments.also),
        ("--trajectories", arguments.trajectories),
        ("--overwrite", arguments.overwrite),
    ):
        if given:
            check.note(f"{flag} goes with hlmat train; hlmat star-plus sets it")
    if arguments.dataset and not arguments.evaluation_split:
        check.note(
            "--evaluation-split is missing: say on which split of --dataset "
            f"{arguments.dataset} each round is evaluated"
        )
    check.done()
    own = copy.copy(arguments)
    own.out = arguments.first
    first = read_job(own)
    job = StarPlusJob(
        first=first,
        arguments=own,
        out=Path(arguments.out or f"out/{first.recipe.name}-star-plus").absolute(),
        rounds=options.rounds,
        rollout_limit=options.rollout_limit,
        evaluation=tuple(_evaluation_flags(arguments)),
        rest=tuple(rest),
        quiet=first.quiet,
    )
    _check_runner(job.evaluation_of(0).run.runner)
    return job


def improve(arguments: argparse.Namespace, rest: Sequence[str] = ()) -> dict[str, Any]:
    """Run all remaining rounds; return the results of each.

    Rollouts and evaluations run on the runner of the command line; training runs on this machine.

    The folder of a round contains `rollouts`, the training with its `model`, and `evaluation`;
    `rounds.json` records the data and results of each round. Finished parts are kept: the same call
    resumes an interrupted job, also within a round.

    Raises:
        ConfigError: with every problem of recipe and command line.
        DataError: the data set cannot be read.
        OutputError: the output cannot be written, or contains another training.
        IncompleteError: rollouts or training failed; the same call resumes.
    """
    job = read_star_plus(arguments, rest)
    training.train(job.arguments)
    records = [_finish_round(job, 0)]
    report: dict[str, Any] = {}
    for number in range(1, job.rounds + 1):
        _train_round(job, number)
        records.append(_finish_round(job, number))
        report = {"model": str(job.model(number)), "rounds": records}
        TrainingFolder(job.out).write_json(job.out / ROUNDS, report)
    return report


def train_rounds(job: StarPlusJob) -> None:
    """Run all remaining rounds without evaluating them; the first training must be done.

    Raises:
        ConfigError, DataError, OutputError, IncompleteError: as `improve`.
    """
    for number in range(1, job.rounds + 1):
        _train_round(job, number)


def _train_round(job: StarPlusJob, number: int) -> None:
    """Roll the last round's model out, and train on what is kept of its rollouts."""
    make_trajectories(job.rollout_config(number), quiet=job.quiet)
    training.train(_training_of(job, number))


def format_rounds(report: Mapping[str, Any]) -> str:
    """Return a table of the rounds, and the data of the last one."""
    rounds = report["rounds"]
    table = [
        RESULTS_HEADER,
        *(results_row(f"round {each['round']}", each["figures"]) for each in rounds),
    ]
    learnt = [
        f"rows of round {rows['round']}, {rows['origin'].replace('_', ' ')}: {rows['rows']}"
        for rows in rounds[-1]["rows"]
    ]
    return "\n".join([*table, "", *learnt, f"model: {report['model']}"])


def _check_runner(runner: RunnerChoice) -> None:
    """Check before the first training, which may take hours, that rollouts can run after it.

    Raises:
        ConfigError: the runner cannot be reached, or its workers cannot see this disk.
    """
    if runner.beam_name == "DataflowRunner":
        raise ConfigError(
            [
                f"--runner {runner.name}: its workers cannot see the models that this machine "
                "trains; use a runner whose workers share this disk"
            ]
        )
    check_engine(runner)


def _evaluation_flags(arguments: argparse.Namespace) -> list[str]:
    """Return the flags of the recipe's evaluation, followed by those of the command line."""
    flags = given_flags((*_SAME_PLACE, *RUNNER_FLAGS, *_MODEL_FLAGS), arguments)
    evaluated = {"split": arguments.evaluation_split, "limit": arguments.evaluation_limit}
    flags += [f"--{name}={value}" for name, value in evaluated.items() if value is not None]
    return with_recipe_flags(["evaluate", f"--recipe={arguments.recipe}", *flags])[1:]


def _training_of(job: StarPlusJob, number: int) -> argparse.Namespace:
    """Return the arguments of a round's training: the first one's base, data and settings."""
    arguments = copy.copy(job.arguments)
    arguments.out = str(job.round_folder(number))
    arguments.trajectories = str(job.first.folder.trajectories)
    arguments.also = [str(job.rollouts(n)) for n in range(1, number + 1)]
    if job.first.base is not None:
        arguments.model = str(job.first.folder.base)
    return arguments


def _finish_round(job: StarPlusJob, number: int) -> dict[str, Any]:
    """Evaluate a round's model; return the round's data and results."""
    config = job.evaluation_of(number)
    figures = evaluate(config, quiet=job.quiet).figures
    made = job.first if number == 0 else read_job(_training_of(job, number))
    rows = json.loads((made.folder.data / f"{made.data_name}.json").read_bytes())
    origins = Counter((row.get("round", 0), row.get("origin", Origin.FIRST_DATA)) for row in rows)
    return {
        "round": number,
        "model": str(made.folder.model),
        "evaluation": config.run.out,
        "rows": [
            {"round": n, "origin": str(origin), "rows": count}
            for (n, origin), count in sorted(origins.items())
        ],
        "figures": figures,
    }
