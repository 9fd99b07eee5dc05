"""How commands print their results, and refuse flags that they do not have."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from hlmat.pipelines.cli.exit_codes import EXIT_OK
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.visible_text import visible_json


def refuse_rest(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    """Raise ConfigError if there are arguments that a command's parser did not know."""
    from hlmat.pipelines.settings.commands import groups_of
    from hlmat.pipelines.settings.flags import spellings_in
    from hlmat.pipelines.settings.runner_choice import COMMON_FLAGS, check_runner_flags

    if rest:
        own_flags = [*spellings_in(groups_of(arguments.command)), *COMMON_FLAGS]
        raise ConfigError(check_runner_flags(rest, is_local=True, own_flags=own_flags))


def print_result(arguments: argparse.Namespace, values: Any, *, text: str) -> int:
    """Print a command's result, as text or as JSON."""
    if arguments.json:
        print_json(values)
    else:
        print(text)
    return EXIT_OK


def print_report(arguments: argparse.Namespace, report: Mapping[str, Any]) -> int:
    """Print what was written, unless `--quiet` is given."""
    if arguments.json:
        print_json(report)
    elif not arguments.quiet:
        print_lines(report)
    return EXIT_OK


def print_remarks(remarks: Sequence[str]) -> None:
    """Print remarks on the error stream."""
    for remark in remarks:
        print(f"hlmat: {remark}", file=sys.stderr)


def print_lines(values: Mapping[str, Any]) -> None:
    """Print values with their labels."""
    print("\n".join(f"{key:<15} {value}" for key, value in values.items()))


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(visible_json(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)))
