"""The runner of a job by name, and its flags."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hlmat.transforms.core.options import options, setting
from hlmat.transforms.core.suggestions import closest

LOCAL_RUNNER = "local"
REFUSED_RUNNERS = {
    "DaskRunner": "it drops rows silently (measured with Beam 2.77); use local, a portable "
    "runner, Flink or Dataflow",
}

COMMON_FLAGS = ("--help", "--json", "--quiet", "--verbose")
"""Flags that every command has."""

_FLAG = re.compile(r"""['"](--[a-z][a-z0-9_-]*)['"]""")


@options
class RunnerChoice:
    """A runner by name, with its flags.

    Attributes:
        name: `LOCAL_RUNNER`, or a runner's name as Beam knows it.
        flags: further Beam flags, such as ``--project=p``.
    """

    name: str = setting(
        default=LOCAL_RUNNER,
        metavar="NAME",
        in_fingerprint=False,
        help="local, or a Beam runner, followed by Beam's flags for it",
    )
    workers: int = setting(
        default=1, ge=1, metavar="N", in_fingerprint=False, help="local processes"
    )
    flags: tuple[str, ...] = setting(default=(), in_fingerprint=False, help="further Beam flags")

    @property
    def is_local(self) -> bool:
        """Whether everything runs on this machine in Beam's local engine."""
        return self.name == LOCAL_RUNNER


def check_runner_flags(
    flags: Sequence[str], *, is_local: bool, own_flags: Sequence[str]
) -> list[str]:
    """Return what is wrong with flags that the command does not declare.

    Beam only warns about unknown flags; a misspelt one must not run for hours.

    Args:
        flags: the arguments left over, flags and their values.
        is_local: the local runner takes no further flags.
        own_flags: the command's flags, for suggestions.
    """
    if not flags:
        return []
    beam_flags = known_beam_flags()
    problems = []
    for flag in (f for f in flags if f.startswith("-")):
        name = flag.partition("=")[0]
        known = name in beam_flags
        if known and not is_local:
            continue
        if known:
            problems.append(f"{name} is a flag of Beam; it needs a --runner other than local")
            continue
        meant = closest(name, [*own_flags, *sorted(beam_flags)], cutoff=0.5)
        hint = "; see --help" if meant is None else f"; did you mean {meant}?"
        problems.append(f"unknown flag {name}{hint}")
    if not flags[0].startswith("-"):
        problems.append(f"unexpected argument {flags[0]!r}; see --help")
    return problems


@cache
def known_beam_flags() -> frozenset[str]:
    """Return Beam's flags, read from the source of its options: importing Beam takes seconds."""
    spec = importlib.util.find_spec("apache_beam")
    if spec is None or spec.origin is None:
        return frozenset()
    source = Path(spec.origin).parent / "options" / "pipeline_options.py"
    return frozenset(_FLAG.findall(source.read_text(encoding="utf-8")))
