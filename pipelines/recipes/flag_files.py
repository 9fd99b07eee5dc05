"""The YAML files of a recipe that hold a command's flags, read and validated."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hlmat.pipelines.recipes.own_code import own_segmenter_path
from hlmat.pipelines.settings.annotation_options import FILTER, REFINE
from hlmat.pipelines.settings.commands import groups_of, parse_command
from hlmat.pipelines.settings.evaluation_options import EVALUATE, evaluation_config
from hlmat.pipelines.settings.export_options import llama_factory_options
from hlmat.pipelines.settings.flags import Flag, Group, arguments_of, flags_in
from hlmat.pipelines.settings.prompt_options import CONVERSATION
from hlmat.pipelines.settings.recipe_models import RL_FILE
from hlmat.pipelines.settings.rl_options import RL, rl_config
from hlmat.pipelines.settings.run_options import trajectories_config
from hlmat.pipelines.settings.tiny_vlm_options import tiny_vlm_config
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.view_options import VIEW
from hlmat.pipelines.settings.yaml_files import read_settings
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.suggestions import did_you_mean

_PROMPTS = ("prompt", "box-prompt", "score-prompt")


@dataclass(frozen=True)
class FlagFile:
    """One YAML file of a recipe that holds the flags of a command.

    Attributes:
        command: whose flags it holds.
        validate: reads the parsed arguments as the command would.
        missing: placeholders for flags that are given later, used for validation.
        reserved: flags that are set elsewhere, and where.
    """

    command: str
    validate: Callable[[argparse.Namespace], object]
    missing: Mapping[str, str]
    reserved: Mapping[str, str]

    def flags(self) -> dict[str, Flag]:
        """Return the flags that the file may hold, by name."""
        known = flags_in(groups_of(self.command))
        return {name: flag for name, flag in known.items() if name not in self.reserved}


def _validate_export(arguments: argparse.Namespace) -> None:
    check = Check()
    llama_factory_options(arguments, check)
    check.done()


_LATER = "given to hlmat train"
_DATA = {"--dataset": "shapes", "--out": "out"}
FLAG_FILES: Mapping[str, FlagFile] = {
    "trajectories.yaml": FlagFile(
        "trajectories",
        trajectories_config,
        missing=_DATA,
        reserved=dict.fromkeys(("out", "resume", "overwrite", "retry-rejects"), _LATER),
    ),
    "export.yaml": FlagFile(
        "export",
        _validate_export,
        missing={},
        reserved={
            **dict.fromkeys(("from", "format", "out", "data-root"), "set by hlmat train"),
            **dict.fromkeys(("images", "date"), "of exports for the hub"),
        },
    ),
    "evaluate.yaml": FlagFile(
        "evaluate",
        evaluation_config,
        missing={**_DATA, "--model": "model"},
        reserved={
            **dict.fromkeys(
                ("recipe", "out", "resume", "overwrite", "retry-rejects"),
                "given to hlmat evaluate",
            ),
            **dict.fromkeys(flags_in([CONVERSATION]), "taken from export.yaml"),
        },
    ),
    "base.yaml": FlagFile(
        "mini-base",
        tiny_vlm_config,
        missing={"--out": "out"},
        reserved=dict.fromkeys(("out", "overwrite"), "set by hlmat train"),
    ),
    RL_FILE: FlagFile(
        "rl",
        rl_config,
        missing={**_DATA, "--model": "model"},
        reserved={
            **dict.fromkeys(("recipe", "out", "overwrite"), "given to hlmat rl"),
            **dict.fromkeys(flags_in([CONVERSATION]), "taken from export.yaml"),
        },
    ),
}
OPTIONAL_FILES = ("base.yaml", RL_FILE)

WITH_RECIPE: Mapping[str, Sequence[Group]] = {
    "evaluate": EVALUATE,
    "filter": FILTER,
    "refine": REFINE,
    "view": VIEW,
    "rl": RL,
}
"""The commands that take flags from `--recipe`, with their groups of flags."""


def parse_flags(file: str, argv: Sequence[str]) -> argparse.Namespace:
    """Parse arguments as the command does that `file` belongs to.

    Raises:
        ConfigError: an unknown flag, or one without its value.
    """
    return parse_command(FLAG_FILES[file].command, argv)


def read_flags(
    path: Path,
    kind: FlagFile,
    *,
    beside: Sequence[str],
    segmenter_path: Sequence[str] = (),
    problems: list[str],
) -> tuple[str, ...]:
    """Return a file's flags as arguments; problems are appended to `problems`.

    Args:
        path: the file.
        kind: whose flags it holds.
        beside: flags added to them when the command runs.
        segmenter_path: folders outside the recipe's from which it may load a segmenter class.
        problems: problems are appended here.
    """
    found: list[str] = []
    values = read_settings(path, problems=found)
    values = own_segmenter_path(path, values, allowed=segmenter_path, problems=found)
    flags = kind.flags()
    argv: list[str] = []
    for name, value in values.items():
        if name in kind.reserved:
            found.append(f"{path}: {name} is {kind.reserved[name]}; leave it out")
        elif name not in flags:
            found.append(
                f"{path}: {name} is not a flag of hlmat {kind.command}; "
                f"{did_you_mean(name, flags)}see hlmat {kind.command} --help"
            )
        else:
            try:
                argv += arguments_of(flags[name], _beside(path, name, value))
            except ConfigError as error:
                found += [f"{path}: {problem}" for problem in error.problems]
    if not found:
        found += [f"{path}: {problem}" for problem in _value_problems(argv, kind, beside=beside)]
    problems += found
    return tuple(argv)


def _beside(path: Path, name: str, value: Any) -> Any:
    """Resolve a prompt's path relative to the recipe's folder, if the file is there."""
    if name in _PROMPTS and isinstance(value, str) and (path.parent / value).is_file():
        return str(path.parent / value)
    return value


def _value_problems(argv: Sequence[str], kind: FlagFile, *, beside: Sequence[str]) -> Sequence[str]:
    """Return the problems that the command finds with the flags."""
    given = {argument.partition("=")[0] for argument in argv}
    stand_ins = [f"{f}={v}" for f, v in kind.missing.items() if f not in given]
    if "--dataset" in given and "--data-root" not in given:
        stand_ins.append("--data-root=.")
    try:
        kind.validate(parse_command(kind.command, [*beside, *argv, *stand_ins]))
    except ConfigError as error:
        return error.problems
    return ()
