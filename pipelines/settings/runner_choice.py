"""The runner of a job by name, and its flags."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.options import options, setting
from hlmat.transforms.core.suggestions import closest, did_you_mean
from hlmat.transforms.core.threads import available_cores

LOCAL_RUNNER = "local"
MAX_WORKERS_BY_DEFAULT = 16
REFUSED_RUNNERS = {
    "DaskRunner": "it drops rows silently (measured with Beam 2.77); use local, a portable "
    "runner, Flink or Dataflow",
}

COMMON_FLAGS = ("--help", "--json", "--quiet", "--verbose")
"""Flags that every command has."""

_FLAG = re.compile(r"""['"](--[a-z][a-z0-9_-]*)['"]""")
_CLASS = re.compile(r"^class (\w+)\(PipelineOptions\):", re.MULTILINE)
_RUNNER = re.compile(r"apache_beam\.runners\.[\w.]*\.(\w+Runner)")
_OPTIONS_OF = {
    "FlinkRunnerOptions": "FlinkRunner",
    "KafkaStreamsRunnerOptions": "KafkaStreamsRunner",
    "PrismRunnerOptions": "PrismRunner",
    "SparkRunnerOptions": "SparkRunner",
}
_NOT_ON_DATAFLOW = ("--job_endpoint", "--artifact_endpoint", "--environment_type")


@options
class RunnerChoice:
    """A runner by name, with its flags.

    Attributes:
        name: `LOCAL_RUNNER`, or a runner's name as Beam knows it.
        flags: further Beam flags, such as ``--project=p``.
        worker_timeout_s: how long another runner may take until its first worker begins.
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
    worker_timeout_s: int | None = setting(
        default=None,
        ge=1,
        metavar="S",
        in_fingerprint=False,
        help="seconds in which another runner's first worker must begin",
    )

    @property
    def is_local(self) -> bool:
        """Whether everything runs on this machine in Beam's local engine."""
        return self.name == LOCAL_RUNNER

    @property
    def beam_name(self) -> str:
        """The runner's name as Beam spells it; Beam takes it in any case and without `Runner`."""
        by_folded = {name.lower(): name for name in known_runners()}
        folded = self.name.lower()
        return by_folded.get(folded) or by_folded.get(f"{folded}runner") or self.name


def threads_per_worker(runner: RunnerChoice) -> int | None:
    """Share this machine's cores among its workers; a remote worker takes all of its machine's."""
    return max(available_cores() // runner.workers, 1) if runner.is_local else None


def check_paths_elsewhere(runner: RunnerChoice, paths: Mapping[str, str | None]) -> None:
    """Refuse paths that other machines cannot see; portable runners may run on this host.

    Args:
        paths: that workers read or write, by flag.

    Raises:
        ConfigError: with every local path, if the runner's workers are on other machines.
    """
    if runner.beam_name != "DataflowRunner":
        return
    problems = [
        f"{flag} {path}: --runner {runner.name} runs on other machines, which cannot see "
        "this disk; use a URL such as gs://bucket/folder"
        for flag, path in paths.items()
        if path is not None and "://" not in path
    ]
    if problems:
        raise ConfigError(problems)


def path_for_workers(path: str, runner: RunnerChoice) -> str:
    """Return a path that leads workers to the same place; those of a pool have their own folder."""
    return path if runner.is_local or "://" in path else os.path.abspath(path)


def check_runner_name(choice: RunnerChoice) -> str | None:
    """Return what is wrong with a runner's name, or None."""
    if choice.name in REFUSED_RUNNERS:
        return f"--runner {choice.name}: {REFUSED_RUNNERS[choice.name]}"
    names = known_runners()
    # A class of the user's own is named with its module.
    if choice.is_local or "." in choice.name or not names or choice.beam_name in names:
        return None
    known = [LOCAL_RUNNER, *sorted(names)]
    return (
        f"--runner {choice.name}: no runner has this name; {did_you_mean(choice.name, known)}"
        f"Beam knows {', '.join(known)}"
    )


def check_runner_flags(
    flags: Sequence[str], *, is_local: bool, own_flags: Sequence[str], runner: str = ""
) -> list[str]:
    """Return what is wrong with flags that the command does not declare.

    Beam only warns about unknown flags; a misspelt one must not run for hours.

    Args:
        flags: the arguments left over, flags and their values.
        is_local: the local runner takes no further flags.
        own_flags: the command's flags, for suggestions.
        runner: its name as Beam spells it; empty if it is not known yet.
    """
    if not flags:
        return []
    beam_flags = known_beam_flags()
    problems = []
    for flag in (f for f in flags if f.startswith("-")):
        name = flag.partition("=")[0]
        known = name in beam_flags
        if known and not is_local:
            owner = _other_owner(name, runner)
            if owner is not None:
                problems.append(f"{name} is a flag of {owner}, not of {runner}; remove it")
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
    return frozenset(_FLAG.findall(_beam_options()))


@cache
def known_runners() -> frozenset[str]:
    """Return the names of Beam's runners, read like its flags."""
    return frozenset(_RUNNER.findall(_beam_options()))


def _other_owner(flag: str, runner: str) -> str | None:
    """Return whose flag it is if it means nothing to a runner; a job server may take any."""
    if runner == "DataflowRunner" and flag in _NOT_ON_DATAFLOW:
        return "portable runners"
    owner = _flag_owners().get(flag)
    return (
        owner if runner in (*_OPTIONS_OF.values(), "DataflowRunner") and owner != runner else None
    )


@cache
def _flag_owners() -> dict[str, str]:
    parts = _CLASS.split(_beam_options())
    return {
        flag: _OPTIONS_OF[name]
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
        if name in _OPTIONS_OF
        for flag in _FLAG.findall(body)
    }


@cache
def _beam_options() -> str:
    spec = importlib.util.find_spec("apache_beam")
    if spec is None or spec.origin is None:
        return ""
    source = Path(spec.origin).parent / "options" / "pipeline_options.py"
    return source.read_text(encoding="utf-8")
