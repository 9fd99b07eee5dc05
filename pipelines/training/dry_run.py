"""What `hlmat train` would do: every step and setting, validated but not run."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hlmat.pipelines.settings.commands import groups_of
from hlmat.pipelines.settings.flags import flags_in
from hlmat.pipelines.training.folder import relative_name
from hlmat.pipelines.training.job import TrainingJob, read_job
from hlmat.pipelines.training.requirements import missing_packages, settings_problems
from hlmat.transforms.core.errors import ConfigError


def plan_training(arguments: argparse.Namespace) -> dict[str, Any]:
    """Validate recipe and command line, and return the steps of the training.

    LLaMA-Factory need not be installed; its settings are checked if it is.

    Returns:
        `recipe`; `steps`, the command lines in order; `settings`, LLaMA-Factory's; `missing`, one
        line for each package that the training needs but that is not installed.

    Raises:
        ConfigError: with every problem of recipe and command line.
        DataError: the training is to learn from rollouts, but there are no finished ones.
    """
    job = read_job(arguments)
    missing = missing_packages(job.settings)
    if not missing and (problems := settings_problems(job.settings)):
        raise ConfigError(problems)
    model = str(job.folder.base) if job.base else job.model or job.settings["model_name_or_path"]
    return {
        "recipe": str(job.recipe.folder),
        "steps": _steps(job),
        "settings": job.resolved(model=Path(model)),
        "missing": missing,
    }


def format_plan(plan: Mapping[str, Any]) -> str:
    """Return a plan as readable text."""
    settings = yaml.safe_dump(plan["settings"], sort_keys=False, allow_unicode=True)
    return "\n".join(
        [
            f"recipe {plan['recipe']}",
            "steps",
            *(f"  {step}" for step in plan["steps"]),
            "LLaMA-Factory's settings",
            *(f"  {line}" for line in settings.splitlines()),
            *(f"missing: {line}" for line in plan["missing"]),
            "dry run: nothing was made",
        ]
    )


def _steps(job: TrainingJob) -> list[str]:
    folder = job.folder
    steps = [] if job.base is None else [_command("mini-base", job.base)]
    if job.config is not None:
        steps.append(_command("trajectories", job.trajectories))
    exports = [(job.export, job.learned_run, folder.data)]
    for number, run in enumerate(job.given.added, start=1):
        exports.append((job.added_export, run, folder.added_data(number)))
    for flags, run, out in exports:
        places = {"run_folder": run, "format": "llama-factory", "out": relative_name(out)}
        steps.append(_command("export", flags, **places))
    return [
        *steps,
        f"llamafactory-cli train {shlex.quote(relative_name(folder.config))}",
    ]


def _command(name: str, arguments: argparse.Namespace, **places: str) -> str:
    """Write parsed arguments as a command line."""
    words = ["hlmat", name]
    for flag in flags_in(groups_of(name)).values():
        value = places.get(flag.dest, getattr(arguments, flag.dest))
        if value is None or (value is False and not flag.default_value):
            continue
        if flag.is_switch:
            words.append(f"--{flag.name}" if value else f"--no-{flag.name}")
            continue
        for each in value if isinstance(value, list) else [value]:
            text = str(each)
            words += [f"--{flag.name}", relative_name(Path(text)) if text.startswith("/") else text]
    return shlex.join(words)
