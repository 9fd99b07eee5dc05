"""The parameters of a Dataflow flex template, generated from the settings' declarations.

`python -m hlmat.pipelines.cli.flex_template FILE` writes the metadata of the template.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hlmat.pipelines.settings.flags import Flag, flags_in
from hlmat.pipelines.settings.run_flags import TRAJECTORIES
from hlmat.transforms.core.options import REQUIRED, shown

_LEFT_OUT = frozenset({"runner", "workers", "worker-timeout", "segmenter-path"})
"""Flags about the machine that starts the job."""

_REQUIRED = ("dataset", "out")
_URL = r"^[a-z][a-z0-9]*://.+$"
_URLS = ("data-root", "checkpoint", "out")


def template_flags() -> dict[str, Flag]:
    """Return the flags of `hlmat trajectories` that are parameters of the template, by name."""
    return {n: flag for n, flag in flags_in(TRAJECTORIES).items() if n not in _LEFT_OUT}


def template_metadata() -> dict[str, Any]:
    """Return the metadata of the template, which Dataflow checks parameters against."""
    return {
        "name": "Click trajectories",
        "description": "Make click trajectories from a segmentation data set.",
        "parameters": [_parameter(name, flag) for name, flag in template_flags().items()],
    }


def metadata_text() -> str:
    """Return the metadata as the text of its file."""
    return json.dumps(template_metadata(), indent=2, ensure_ascii=False) + "\n"


def arguments_of_template(arguments: Sequence[str]) -> list[str]:
    """Return a template's arguments as the command takes them.

    A parameter has a value always: ``--overwrite=true`` is a switch, and an empty text is none.

    Args:
        arguments: as Dataflow's launcher gives them, with flags of Beam among them.
    """
    flags = template_flags()
    found = []
    for argument in arguments:
        spelled, equals, value = argument.partition("=")
        flag = flags.get(spelled.removeprefix("--"))
        if flag is None or not equals:
            found.append(argument)
        elif flag.is_switch:
            if value == "true":
                found.append(spelled)
            elif flag.default_value:
                found.append(f"--no-{flag.name}")
        elif value and flag.is_repeatable and not flag.is_mapping:
            found += [f"{spelled}={each}" for each in value.split(",")]
        elif value:
            found.append(argument)
    return found


def _parameter(name: str, flag: Flag) -> dict[str, Any]:
    declaration = flag.declaration
    found: dict[str, Any] = {
        "name": name,
        "label": name.replace("-", " ").capitalize(),
        "helpText": flag.help or declaration.help,
        "isOptional": name not in _REQUIRED,
    }
    if (pattern := _pattern(name, flag)) is not None:
        found["regexes"] = [pattern]
    default = flag.default_value
    if isinstance(default, str | int | float | bool) and default not in ("", REQUIRED):
        found["helpText"] += f" (default: {shown(default)})"
    return found


def _pattern(name: str, flag: Flag) -> str | None:
    declaration = flag.declaration
    names = declaration.choices or (flag.names if not flag.is_open else ())
    if name in _URLS:
        return _URL
    if flag.pair is not None:
        return flag.pair.pattern
    if names:
        one = f"({'|'.join(map(re.escape, names))})"
        return rf"^{one}(,{one})*$" if declaration.is_many else rf"^{one}$"
    patterns: Mapping[str, str] = {
        "bool": r"^(true|false)$",
        "int": r"^[0-9]+$",
        "float": r"^[0-9]*\.?[0-9]+([eE]-?[0-9]+)?$",
    }
    found = patterns.get(declaration.kind)
    if found is not None and declaration.is_optional:
        return rf"{found[:-1]}$|^none$"
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.parse_args().file.write_text(metadata_text(), encoding="utf-8")
