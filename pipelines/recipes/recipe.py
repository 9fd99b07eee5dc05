"""Recipes: a folder under train_recipes/ to the validated flags and settings of every step."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hlmat.export.llama_factory.tasks.registry import DEFAULT_TASK, training_task
from hlmat.pipelines.recipes.base_model import CHAT_TEMPLATE
from hlmat.pipelines.recipes.flag_files import (
    FLAG_FILES,
    OPTIONAL_FILES,
    WITH_RECIPE,
    parse_flags,
    read_flags,
)
from hlmat.pipelines.settings.flags import flags_in
from hlmat.pipelines.settings.prompt_options import CONVERSATION
from hlmat.pipelines.settings.recipe_models import RECIPES, RL_FILE
from hlmat.pipelines.settings.run_flags import DATA
from hlmat.pipelines.settings.validation import ArgumentParser
from hlmat.pipelines.settings.yaml_files import read_settings
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.suggestions import did_you_mean

TRAIN = "train.yaml"

_OF_A_SEGMENTER = ("segmenter", "segmenter-arg", "segmenter-path")
# Filled in when the recipe runs.
_PLACES = ("dataset", "dataset_dir", "media_dir", "output_dir", "resume_from_checkpoint")
_NEEDED = ("model_name_or_path", "template", "stage", "finetuning_type")


@dataclass(frozen=True)
class Recipe:
    """How a model is trained and evaluated. Built by `load_recipe`.

    Attributes:
        name: of its folder.
        folder: its path.
        trajectories: arguments of `hlmat trajectories`.
        export: arguments of `hlmat export --format llama-factory`.
        train: LLaMA-Factory's settings without paths of data and output.
        evaluate: arguments of `hlmat evaluate`; those on the conversation come from `export`.
        rl: arguments of `hlmat rl` if the recipe trains by rollouts; it then has no `train`, and
            needs no `trajectories`.
        base: arguments of `hlmat mini-base` if the recipe builds its base model, else None.
        processor: settings that replace those of the base model's image processor.
        chat_template: replaces the base model's, so that a trained model is asked as it was
            trained; None keeps it.
        segmenter_path: folders outside the recipe's from which the user lets it load code.
    """

    name: str
    folder: Path
    trajectories: tuple[str, ...]
    export: tuple[str, ...]
    train: Mapping[str, Any]
    evaluate: tuple[str, ...]
    rl: tuple[str, ...] | None = None
    base: tuple[str, ...] | None = None
    processor: Mapping[str, Any] = field(default_factory=dict)
    chat_template: str | None = None
    segmenter_path: tuple[str, ...] = ()


def load_recipe(name_or_path: str, *, segmenter_path: Sequence[str] = ()) -> Recipe:
    """Read a recipe and validate all of it.

    Args:
        name_or_path: the name of a folder under train_recipes/, or the path of any folder.
        segmenter_path: folders outside the recipe's from which it may load a segmenter class.

    Raises:
        ConfigError: no such recipe, or every problem of its files.
    """
    folder = _find(name_or_path)
    problems: list[str] = []
    flags: dict[str, tuple[str, ...] | None] = {}
    is_rl = (folder / RL_FILE).is_file() and not (folder / TRAIN).is_file()
    optional = (*OPTIONAL_FILES, "trajectories.yaml") if is_rl else OPTIONAL_FILES
    for file, kind in FLAG_FILES.items():
        if not (folder / file).is_file():
            flags[file] = None
            if file not in optional:
                problems.append(
                    f"{folder / file} is missing: it holds the flags of hlmat {kind.command}; an "
                    "empty file takes every default"
                )
            continue
        # Models are asked as in the export, so validate these flags with those.
        is_asked = file in ("evaluate.yaml", RL_FILE)
        talk = _conversation_flags(flags["export.yaml"] or ()) if is_asked else ()
        found: list[str] = []
        flags[file] = read_flags(
            folder / file, kind, beside=talk, segmenter_path=segmenter_path, problems=found
        )
        # The flags of an export that are wrong there are wrong in its evaluation, too.
        known = {problem.removeprefix(f"{folder / 'export.yaml'}: ") for problem in problems}
        problems += [p for p in found if p.removeprefix(f"{folder / file}: ") not in known]
    train = {} if is_rl else _read_train(folder, problems=problems)
    if train.get("stage") and flags["export.yaml"] is not None and not problems:
        problems += _stage_problems(folder, flags["export.yaml"], stage=train["stage"])
    processor = {}
    if (folder / "processor.yaml").is_file():
        processor = read_settings(folder / "processor.yaml", problems=problems)
    chat_template = _read_template(folder / CHAT_TEMPLATE, problems=problems)
    if problems:
        raise ConfigError(problems)
    return Recipe(
        name=folder.name,
        folder=folder,
        trajectories=flags["trajectories.yaml"] or (),
        export=flags["export.yaml"] or (),
        train=train,
        evaluate=flags["evaluate.yaml"] or (),
        rl=flags[RL_FILE],
        base=flags["base.yaml"],
        processor=processor,
        chat_template=chat_template,
        segmenter_path=tuple(segmenter_path),
    )


def _read_template(path: Path, *, problems: list[str]) -> str | None:
    """Return the text of a chat template; None if there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        problems.append(f"{path} cannot be read: {error}; write the template as UTF-8 text")
        return None


def recipe_names() -> list[str]:
    """List the recipes of `hlmat train` that ship with the project."""
    return sorted(path.parent.name for path in RECIPES.glob(f"*/{TRAIN}"))


def rl_recipe_names() -> list[str]:
    """List the recipes of `hlmat rl` that ship with the project."""
    return sorted(path.parent.name for path in RECIPES.glob(f"*/{RL_FILE}"))


def with_recipe_flags(argv: Sequence[str]) -> list[str]:
    """Insert a recipe's flags before the given ones, which take precedence.

    `evaluate` takes all flags of the recipe's evaluation, `filter` and `refine` those that they
    declare too, `rl` those of its `rl.yaml`. If `--dataset` differs from the recipe's, the recipe's
    data flags are left out; if `--segmenter` is given, so are the flags on the recipe's own. Any
    other command line is returned unchanged.

    Raises:
        ConfigError: as `load_recipe`.
    """
    argv = list(argv)
    if not argv or argv[0] not in WITH_RECIPE:
        return argv
    own = ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--recipe", nargs="?")
    own.add_argument("--dataset", nargs="?")
    own.add_argument("--segmenter", nargs="?")
    own.add_argument("--segmenter-path", action="append", default=[])
    given = own.parse_known_args(argv[1:])[0]
    if given.recipe is None:
        return argv
    recipe = load_recipe(given.recipe, segmenter_path=given.segmenter_path)
    if argv[0] == "rl" and recipe.rl is None:
        raise ConfigError(
            [
                f"{recipe.folder / RL_FILE} is missing: it holds the flags of hlmat rl; choose "
                f"from {', '.join(rl_recipe_names())}"
            ]
        )
    tasks = [flag for flag in recipe.export if _name_of(flag) == "task"]
    used = recipe.rl if argv[0] == "rl" and recipe.rl is not None else recipe.evaluate
    flags = [*_conversation_flags(recipe.export), *tasks, *used]
    recipes_own = own.parse_known_args(used)[0].dataset
    if None not in (given.dataset, recipes_own) and given.dataset != recipes_own:
        elsewhere = flags_in([DATA])
        flags = [flag for flag in flags if _name_of(flag) not in elsewhere]
    if given.segmenter is not None:
        flags = [flag for flag in flags if _name_of(flag) not in _OF_A_SEGMENTER]
    known = flags_in(WITH_RECIPE[argv[0]])
    return [argv[0], *(flag for flag in flags if _name_of(flag) in known), *argv[1:]]


def _find(name_or_path: str) -> Path:
    if os.sep not in name_or_path and _is_recipe(RECIPES / name_or_path):
        return RECIPES / name_or_path
    path = Path(name_or_path).expanduser()
    if path.is_dir() and (os.sep in name_or_path or _is_recipe(path)):
        return path.resolve()
    names = sorted({*recipe_names(), *rl_recipe_names()})
    raise ConfigError(
        [
            f"recipe {name_or_path!r} is unknown; {did_you_mean(name_or_path, names)}choose from "
            f"{', '.join(names)}, or give the path of a recipe's folder"
        ]
    )


def _is_recipe(folder: Path) -> bool:
    return any((folder / file).is_file() for file in (TRAIN, RL_FILE))


def _read_train(folder: Path, *, problems: list[str]) -> dict[str, Any]:
    path = folder / TRAIN
    if not path.is_file():
        problems.append(f"{path} is missing: it holds LLaMA-Factory's settings")
        return {}
    before = len(problems)
    train = read_settings(path, problems=problems)
    if len(problems) > before:
        return {}
    problems += [
        f"{path}: {key} is missing; LLaMA-Factory needs it" for key in _NEEDED if not train.get(key)
    ]
    problems += [
        f"{path}: {key} is filled in by hlmat train; leave it out"
        for key in _PLACES
        if key in train
    ]
    if train.get("trust_remote_code"):
        problems.append(
            f"{path}: trust_remote_code runs code that comes with the model, so a recipe cannot "
            "ask for it; leave it out, and if you trust the model, give hlmat train --set "
            "trust_remote_code=true"
        )
    if isinstance(train.get("deepspeed"), str):
        config = (folder / train["deepspeed"]).resolve()
        if not config.is_file():
            problems.append(
                f"{path}: deepspeed names {train['deepspeed']}, and {config} is not there; give "
                "the file's path from the recipe's folder"
            )
        train["deepspeed"] = str(config)
    return train


def _stage_problems(folder: Path, export: Sequence[str], *, stage: str) -> Iterator[str]:
    """Report a training stage that does not fit the exported task."""
    task = training_task(parse_flags("export.yaml", export).task or DEFAULT_TASK)
    if stage not in task.stages:
        yield (
            f"{folder / TRAIN}: stage is {stage!r}, but the task {task.name} of export.yaml is "
            f"trained with {' or '.join(task.stages)}"
        )


def _name_of(argument: str) -> str:
    return argument.partition("=")[0][2:]


def _conversation_flags(export: Sequence[str]) -> list[str]:
    """Return an export's flags on the conversation with the model."""
    names = flags_in([CONVERSATION])
    flags = [argument for argument in export if _name_of(argument) in names]
    # The task prm implies --score.
    tasks = {
        task for f in export if _name_of(f) == "task" for task in f.partition("=")[2].split(",")
    }
    return [*flags, "--score"] if "prm" in tasks and "--score" not in flags else flags
