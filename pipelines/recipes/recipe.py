"""Recipes: a folder under train_recipes/ to the validated flags and settings of every step."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hlmat.export.llama_factory.tasks.registry import training_task
from hlmat.pipelines.exporting import export as exporting
from hlmat.pipelines.settings import annotation_options, evaluation_options
from hlmat.pipelines.settings import run_options as options
from hlmat.pipelines.settings.prompt_options import add_conversation_arguments
from hlmat.pipelines.settings.validation import ArgumentParser, Check
from hlmat.pipelines.settings.yaml_files import read_settings
from hlmat.pipelines.training import build_tiny_vlm as mini_base
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.suggestions import did_you_mean

RECIPES = Path(__file__).parents[2] / "train_recipes"

TRAIN = "train.yaml"

# Filled in when a recipe is run.
_PLACES = ("dataset", "dataset_dir", "media_dir", "output_dir", "resume_from_checkpoint")
_NEEDED = ("model_name_or_path", "template", "stage", "finetuning_type")
_PROMPTS = ("prompt", "box-prompt", "score-prompt")


@dataclass(frozen=True)
class Recipe:
    """How a model is trained and evaluated. Made by `load_recipe`.

    Attributes:
        name: of its folder.
        folder: where it lies.
        trajectories: arguments of `hlmat trajectories`.
        export: arguments of `hlmat export --format llama-factory`.
        train: LLaMA-Factory's settings, places of data and output left open.
        evaluate: arguments of `hlmat evaluate`, those on the conversation taken from `export`.
        base: arguments of `hlmat mini-base` where the recipe builds its base model, else None.
        processor: settings that replace those of the base model's image processor.
    """

    name: str
    folder: Path
    trajectories: tuple[str, ...]
    export: tuple[str, ...]
    train: Mapping[str, Any]
    evaluate: tuple[str, ...]
    base: tuple[str, ...] | None = None
    processor: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _FlagFile:
    """One YAML file of a recipe that holds the flags of a command.

    Attributes:
        command: whose flags it holds.
        declare: declares them.
        validate: reads the parsed arguments as the command would.
        missing: what stands in for flags that are given later, while the values are validated.
        reserved: flags that are set elsewhere, and where.
    """

    command: str
    declare: Callable[[argparse.ArgumentParser], None]
    validate: Callable[[argparse.Namespace], object]
    missing: Mapping[str, str]
    reserved: Mapping[str, str]

    def parser(self) -> argparse.ArgumentParser:
        """Return the command's own parser."""
        parser = ArgumentParser(
            prog=f"hlmat {self.command}", add_help=False, argument_default=None, allow_abbrev=False
        )
        self.declare(parser)
        return parser


def _validate_export(arguments: argparse.Namespace) -> None:
    check = Check()
    exporting.llama_factory_options(arguments, check)
    check.done()


_LATER = "given to hlmat train"
_IN_EXPORT = "taken from export.yaml"
_DATA = {"--dataset": "shapes", "--out": "out"}

FLAG_FILES: Mapping[str, _FlagFile] = {
    "trajectories.yaml": _FlagFile(
        "trajectories",
        options.add_trajectories_arguments,
        lambda a: options.trajectories_config(a, rest=[], own_flags=[]),
        missing=_DATA,
        reserved=dict.fromkeys(("out", "resume", "overwrite"), _LATER),
    ),
    "export.yaml": _FlagFile(
        "export",
        exporting.add_arguments,
        _validate_export,
        missing={},
        reserved=dict.fromkeys(("from", "format", "out", "data-root"), "set by hlmat train"),
    ),
    "evaluate.yaml": _FlagFile(
        "evaluate",
        evaluation_options.add_evaluation_arguments,
        lambda a: evaluation_options.evaluation_config(a, rest=[], own_flags=[]),
        missing={**_DATA, "--model": "model"},
        reserved={
            **dict.fromkeys(("recipe", "out", "resume", "overwrite"), "given to hlmat evaluate")
        },
    ),
    "base.yaml": _FlagFile(
        "mini-base",
        mini_base.add_arguments,
        lambda a: None,
        missing={},
        reserved=dict.fromkeys(("out", "overwrite"), "set by hlmat train"),
    ),
}
_OPTIONAL = ("base.yaml",)


_WITH_RECIPE: Mapping[str, Callable[[argparse.ArgumentParser], None]] = {
    "evaluate": evaluation_options.add_evaluation_arguments,
    "filter": annotation_options.add_filter_arguments,
    "refine": annotation_options.add_refinement_arguments,
}


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe and validate all of it.

    Args:
        name_or_path: the name of a folder under train_recipes/, or the path of any folder.

    Raises:
        ConfigError: there is no such recipe, or with every problem of its files.
    """
    folder = _find(name_or_path)
    problems: list[str] = []
    flags: dict[str, tuple[str, ...] | None] = {}
    for file, kind in FLAG_FILES.items():
        if not (folder / file).is_file():
            flags[file] = None
            if file not in _OPTIONAL:
                problems.append(
                    f"{folder / file} is missing: it holds the flags of hlmat {kind.command}; an "
                    "empty file takes every default"
                )
            continue
        # An evaluation talks as the export does, so its flags are judged beside those.
        talk = _conversation_flags(flags["export.yaml"] or ()) if file == "evaluate.yaml" else ()
        flags[file] = _read_flags(folder / file, kind, beside=talk, problems=problems)
    train = _read_train(folder, problems=problems)
    if train.get("stage") and flags["export.yaml"] is not None and not problems:
        problems += _stage_problems(folder, flags["export.yaml"], stage=train["stage"])
    processor = {}
    if (folder / "processor.yaml").is_file():
        processor = read_settings(folder / "processor.yaml", problems=problems)
    if problems:
        raise ConfigError(problems)
    return Recipe(
        name=folder.name,
        folder=folder,
        trajectories=flags["trajectories.yaml"] or (),
        export=flags["export.yaml"] or (),
        train=train,
        evaluate=flags["evaluate.yaml"] or (),
        base=flags["base.yaml"],
        processor=processor,
    )


def recipe_names() -> list[str]:
    """List the recipes that ship with the project."""
    return sorted(path.parent.name for path in RECIPES.glob(f"*/{TRAIN}"))


def with_recipe_flags(argv: Sequence[str]) -> list[str]:
    """Put the flags that a command takes from `--recipe R` before those given; the given ones win.

    `evaluate` takes all that the recipe's evaluation is made with, `filter` and `refine` what they
    have as well. With another data set than the recipe's, its flags on data are left out. Any
    other command line comes back as it is.

    Raises:
        ConfigError: as `load_recipe`.
    """
    argv = list(argv)
    if not argv or argv[0] not in _WITH_RECIPE:
        return argv
    own = ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--recipe", nargs="?")
    own.add_argument("--dataset", nargs="?")
    given = own.parse_known_args(argv[1:])[0]
    if given.recipe is None:
        return argv
    recipe = load_recipe(given.recipe)
    flags = [*_conversation_flags(recipe.export), *recipe.evaluate]
    recipes_own = own.parse_known_args(recipe.evaluate)[0].dataset
    if None not in (given.dataset, recipes_own) and given.dataset != recipes_own:
        elsewhere = _flag_names(options.add_data_arguments)
        flags = [flag for flag in flags if _name_of(flag) not in elsewhere]
    known = _flag_names(_WITH_RECIPE[argv[0]])
    return [argv[0], *(flag for flag in flags if _name_of(flag) in known), *argv[1:]]


def parse_flags(file: str, argv: Sequence[str]) -> argparse.Namespace:
    """Parse arguments as the command does whose flags `file` holds.

    Raises:
        ConfigError: an unknown flag, or one without its value.
    """
    return FLAG_FILES[file].parser().parse_args(list(argv))


def _find(name_or_path: str) -> Path:
    if os.sep not in name_or_path and (RECIPES / name_or_path / TRAIN).is_file():
        return RECIPES / name_or_path
    path = Path(name_or_path).expanduser()
    if path.is_dir() and (os.sep in name_or_path or (path / TRAIN).is_file()):
        return path.resolve()
    names = recipe_names()
    raise ConfigError(
        [
            f"recipe {name_or_path!r} is unknown; {did_you_mean(name_or_path, names)}choose from "
            f"{', '.join(names)}, or give the path of a recipe's folder"
        ]
    )


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
    """Say where LLaMA-Factory would train the exported task in another way than it is made for."""
    task = training_task(parse_flags("export.yaml", export).task)
    if stage not in task.stages:
        yield (
            f"{folder / TRAIN}: stage is {stage!r}, but the task {task.name} of export.yaml is "
            f"trained with {' or '.join(task.stages)}"
        )


def _read_flags(
    path: Path, kind: _FlagFile, *, beside: Sequence[str], problems: list[str]
) -> tuple[str, ...]:
    """Return a file's flags as arguments; what is wrong goes to `problems`.

    Args:
        beside: flags that come with them when the command is run.
    """
    found: list[str] = []
    values = read_settings(path, problems=found)
    parser = kind.parser()
    actions = {
        flag[2:]: action
        for action in parser._actions
        for flag in action.option_strings
        if flag.startswith("--")
    }
    reserved = dict(kind.reserved)
    if kind.command == "evaluate":
        reserved |= dict.fromkeys(_conversation_names(), _IN_EXPORT)
    argv: list[str] = []
    for name, value in values.items():
        if name in reserved:
            found.append(f"{path}: {name} is {reserved[name]}; leave it out")
        elif name not in actions:
            found.append(
                f"{path}: {name} is no flag of hlmat {kind.command}; "
                f"{did_you_mean(name, list(actions))}see hlmat {kind.command} --help"
            )
        else:
            if name in _PROMPTS and isinstance(value, str) and (path.parent / value).is_file():
                value = str(path.parent / value)
            try:
                argv += _arguments(name, value, actions[name])
            except ValueError as error:
                found.append(f"{path}: {error}")
    if not found:
        found += [f"{path}: {problem}" for problem in _value_problems(argv, kind, beside=beside)]
    problems += found
    return tuple(argv)


def _arguments(name: str, value: Any, action: argparse.Action) -> Iterator[str]:
    """Write one flag as arguments. Raises ValueError where it cannot have such a value."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}, expected true or false")
        negative = f"--no-{name}"
        if value:
            yield f"--{name}"
        elif negative in action.option_strings:
            yield negative
        return
    values = value if isinstance(value, list) else [value]
    if isinstance(value, list) and not isinstance(action, argparse._AppendAction):
        raise ValueError(f"{name} is a list, expected one value")
    for each in values:
        if each is None or isinstance(each, bool | dict | list):
            raise ValueError(
                f"{name} is {each!r}, expected text or a number; put quotes around a text that "
                "YAML reads otherwise"
            )
        yield f"--{name}={each}"


def _value_problems(
    argv: Sequence[str], kind: _FlagFile, *, beside: Sequence[str]
) -> Sequence[str]:
    """Return what the command itself finds wrong with the flags."""
    given = {argument.partition("=")[0] for argument in argv}
    stand_ins = [f"{f}={v}" for f, v in kind.missing.items() if f not in given]
    if "--dataset" in given and "--data-root" not in given:
        stand_ins.append("--data-root=.")
    try:
        kind.validate(kind.parser().parse_args([*beside, *argv, *stand_ins]))
    except ConfigError as error:
        return error.problems
    return ()


def _conversation_names() -> set[str]:
    return _flag_names(add_conversation_arguments)


def _flag_names(declare: Callable[[argparse.ArgumentParser], None]) -> set[str]:
    """Return the flags that are declared, without their hyphens."""
    parser = argparse.ArgumentParser(add_help=False)
    declare(parser)
    return {flag[2:] for action in parser._actions for flag in action.option_strings}


def _name_of(argument: str) -> str:
    return argument.partition("=")[0][2:]


def _conversation_flags(export: Sequence[str]) -> list[str]:
    """Return the flags of an export on how the model is talked with."""
    names = _conversation_names()
    flags = [argument for argument in export if _name_of(argument) in names]
    # What the task prm teaches is scored without being told.
    tasks = {
        task for f in export if _name_of(f) == "task" for task in f.partition("=")[2].split(",")
    }
    return [*flags, "--score"] if "prm" in tasks and "--score" not in flags else flags
