"""The flags of every command by name; a command's declarations are imported on demand."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping, Sequence
from functools import cache

from hlmat.pipelines.settings.flags import Group, add_flags, spellings_in
from hlmat.pipelines.settings.runner_choice import COMMON_FLAGS, check_runner_flags
from hlmat.pipelines.settings.validation import ArgumentParser, Check
from hlmat.pipelines.settings.values import Values
from hlmat.transforms.core.errors import ConfigError

_DECLARATIONS: Mapping[str, tuple[str, str]] = {
    "trajectories": ("run_flags", "TRAJECTORIES"),
    "export": ("export_options", "EXPORT"),
    "train": ("training_options", "TRAIN"),
    "star-plus": ("training_options", "STAR_PLUS"),
    "ladder": ("training_options", "LADDER"),
    "rl": ("rl_options", "RL"),
    "evaluate": ("evaluation_options", "EVALUATE"),
    "filter": ("annotation_options", "FILTER"),
    "refine": ("annotation_options", "REFINE"),
    "score": ("evaluation_options", "SCORE"),
    "compare": ("report_options", "COMPARE"),
    "fit-clicks": ("fit_clicks_options", "FIT_CLICKS"),
    "mini-base": ("tiny_vlm_options", "MINI_BASE"),
    "serve-segmenter": ("serving_options", "SERVE_SEGMENTER"),
    "stats": ("report_options", "STATS"),
    "rejects": ("report_options", "REJECTS"),
    "inspect": ("report_options", "INSPECT"),
    "view": ("view_options", "VIEW"),
    "edit": ("correction_options", "EDIT"),
    "split": ("correction_options", "SPLIT"),
    "merge": ("correction_options", "MERGE"),
    "sample": ("correction_options", "SAMPLE"),
    "noise": ("noise_options", "NOISE"),
    "bench": ("bench_options", "BENCH"),
}
_FIRST: Mapping[str, tuple[str, ...]] = {
    "trajectories": ("dataset", "data-root", "split", "segmenter", "out"),
    "export": ("from", "format", "out", "task", "codec"),
    "train": ("recipe", "dataset", "data-root", "model", "out"),
    "star-plus": ("recipe", "rounds", "dataset", "data-root", "out"),
    "ladder": ("recipe", "out", "data-root", "limit", "model"),
    "rl": ("recipe", "model", "out", "rounds", "learning-rate"),
    "evaluate": ("recipe", "model", "dataset", "data-root", "out"),
    "filter": ("recipe", "model", "dataset", "data-root", "out"),
    "refine": ("recipe", "model", "dataset", "data-root", "out"),
    "fit-clicks": ("out", "dataset", "data-root", "split", "masks"),
    "mini-base": ("out", "seed", "device", "image-size", "steps"),
    "serve-segmenter": ("segmenter", "checkpoint", "device", "host", "port"),
    "view": ("save", "against", "data-root", "browser", "recipe"),
}
"""The flags that most people need; a command's help begins with them."""


@cache
def groups_of(command: str) -> tuple[Group, ...]:
    """Return the flags of a command."""
    module, name = _DECLARATIONS[command]
    return getattr(importlib.import_module(f"hlmat.pipelines.settings.{module}"), name)


def add_command_flags(parser: argparse.ArgumentParser, command: str) -> None:
    """Declare a command's flags to its parser."""
    add_flags(parser, groups_of(command), first=_FIRST.get(command, ()))


def positional_usage(command: str) -> str:
    """Return a command's positional arguments as its usage shows them."""
    flags = [flag for group in groups_of(command) for flag in group.flags if flag.is_positional]
    return "".join(f"{f.name} [...] " if f.declaration.is_many else f"{f.name} " for f in flags)


def parse_command(command: str, argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments of a command.

    Raises:
        ConfigError: an unknown flag, or one without its value.
    """
    parser = ArgumentParser(prog=f"hlmat {command}", add_help=False, allow_abbrev=False)
    add_flags(parser, groups_of(command))
    arguments, rest = parser.parse_known_args(list(argv))
    if rest:
        raise ConfigError([f"unrecognized arguments: {' '.join(rest)}; see hlmat {command} --help"])
    return arguments


def refuse_mistakes(command: str, arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    """Check each given flag on its own.

    Args:
        command: whose flags they are.
        arguments: what the command's parser read.
        rest: arguments unknown to the parser; Beam's flags are accepted.

    Raises:
        ConfigError: with every unknown flag and every wrong value.
    """
    check = Check()
    groups = groups_of(command)
    Values(arguments, groups, check).read_given()
    own_flags = [*spellings_in(groups), *COMMON_FLAGS]
    check.note_all(check_runner_flags(rest, is_local=False, own_flags=own_flags))
    check.done()
