"""Which Beam runner a job goes to, and the flags that it understands."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.runner import PipelineRunner
from apache_beam.transforms import environments

from hlmat.transforms.core.suggestions import closest

LOCAL_RUNNER = "local"
REFUSED_RUNNERS = {
    "DaskRunner": "it drops rows silently (measured with Beam 2.77); use local, a portable "
    "runner, Flink or Dataflow",
}


@dataclass(frozen=True)
class RunnerChoice:
    """A runner by name with its own flags.

    Attributes:
        name: `LOCAL_RUNNER`, or a runner's name as Beam knows it.
        workers: processes of the local runner.
        flags: further Beam flags, such as ``--project=p``.
    """

    name: str = LOCAL_RUNNER
    workers: int = 1
    flags: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        """Tell whether everything runs on this machine in Beam's own local engine."""
        return self.name == LOCAL_RUNNER


def pipeline_options(choice: RunnerChoice) -> PipelineOptions:
    """Return the Beam options for a runner."""
    if not choice.is_local:
        return PipelineOptions([f"--runner={choice.name}", *choice.flags])
    # Worker processes log as the job's own process does.
    level = logging.getLevelName(logging.getLogger().getEffectiveLevel())
    return PipelineOptions(
        [
            f"--direct_num_workers={choice.workers}",
            f"--default_sdk_harness_log_level={level}",
            *choice.flags,
        ]
    )


def make_runner(
    choice: RunnerChoice, options: PipelineOptions, *, worker_command: str
) -> PipelineRunner | None:
    """Return the local engine; None leaves it to Beam to look the named runner up.

    Args:
        worker_command: the shell command that starts a worker process.

    The local engine is Beam's FnApiRunner, made here: `DirectRunner` would first try to download
    another engine, and by its name alone FnApiRunner hands its workers no options.
    """
    if not choice.is_local:
        return None
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    return fn_runner.FnApiRunner(
        default_environment=_worker_processes(worker_command) if choice.workers > 1 else None,
        provision_info=fn_runner.ExtendedProvisionInfo(provision_info=provision),
    )


def _worker_processes(command: str) -> environments.Environment:
    # Beam's decorator on the class hides its constructor from type checkers.
    environment_class: Any = environments.SubprocessSDKEnvironment
    return environment_class(command, capabilities=environments.python_sdk_capabilities())


def check_runner_flags(
    flags: Sequence[str], *, is_local: bool, own_flags: Sequence[str]
) -> list[str]:
    """Return what is wrong with flags that the command itself does not know.

    Beam merely warns of flags that nobody knows; a misspelt one must not run for hours.

    Args:
        flags: the arguments left over, flags and their values.
        is_local: the local runner takes no further flags.
        own_flags: the command's flags, for suggestions.
    """
    beam_flags = _beam_flags()
    problems = []
    for flag in (f for f in flags if f.startswith("-")):
        name = flag.partition("=")[0]
        known = name in beam_flags
        if known and not is_local:
            continue
        if known:
            problems.append(f"{name} is a flag of Beam; it needs a --runner other than local")
            continue
        meant = closest(name, [*own_flags, *beam_flags], cutoff=0.5)
        hint = "; see --help" if meant is None else f"; did you mean {meant}?"
        problems.append(f"unknown flag {name}{hint}")
    if flags and not flags[0].startswith("-"):
        problems.append(f"unexpected argument {flags[0]!r}; see --help")
    return problems


def _beam_flags() -> set[str]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, conflict_handler="resolve")
    for options_class in [PipelineOptions, *PipelineOptions.__subclasses__()]:
        add_arguments = getattr(options_class, "_add_argparse_args", None)
        if add_arguments is not None:
            add_arguments(parser)
    return {name for action in parser._actions for name in action.option_strings}
