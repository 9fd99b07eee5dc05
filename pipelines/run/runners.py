"""Build a job's Beam runner and its options."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.runner import PipelineRunner
from apache_beam.transforms import environments

from hlmat.pipelines.settings.runner_choice import RunnerChoice

JOB_SERVER_TIMEOUT_S = 60
"""How long a job server may take to accept a connection; Beam's default is 300 s."""

_NO_LIMIT_S = 10 * 365 * 24 * 3600
_TIMEOUT_FLAG = "--job_server_timeout"


def pipeline_options(choice: RunnerChoice) -> PipelineOptions:
    """Return the Beam options for a runner."""
    if not choice.is_local:
        # Beam 2.77 would also end the stream of the job's states by then, and the job with it.
        flags = [f"--runner={choice.name}", *choice.flags, f"{_TIMEOUT_FLAG}={_NO_LIMIT_S}"]
        if choice.beam_name == "DataflowRunner" and not _has(choice.flags, "--save_main_session"):
            # Steps are imported from the package; workers do not need the state of this process.
            flags.append("--no_save_main_session")
        if choice.beam_name == "PrismRunner" and not _has(
            choice.flags, "--prism_location", "--job_endpoint"
        ):
            flags += [f"--prism_location={path}" for path in _installed_prism()]
        return PipelineOptions(flags)
    # Worker processes use the log level of the job's process.
    level = logging.getLevelName(logging.getLogger().getEffectiveLevel())
    return PipelineOptions(
        [
            f"--direct_num_workers={choice.workers}",
            f"--default_sdk_harness_log_level={level}",
            *choice.flags,
        ]
    )


def job_server_timeout(choice: RunnerChoice) -> int:
    """Return the seconds in which a job server must accept a connection."""
    options = PipelineOptions([f"{_TIMEOUT_FLAG}={JOB_SERVER_TIMEOUT_S}", *choice.flags])
    return options.view_as(PortableOptions).job_server_timeout


def build_runner(
    choice: RunnerChoice,
    options: PipelineOptions,
    *,
    worker_command: str | None,
) -> PipelineRunner | None:
    """Return the local engine, or None to let Beam look up the named runner.

    Args:
        worker_command: the shell command that starts a worker process; None to work in this one.

    The local engine is Beam's FnApiRunner, constructed directly: `DirectRunner` first tries to
    download another engine, and a FnApiRunner selected by name passes no options to its workers.
    """
    if not choice.is_local:
        return None
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    return fn_runner.FnApiRunner(
        default_environment=(None if worker_command is None else _worker_processes(worker_command)),
        provision_info=fn_runner.ExtendedProvisionInfo(provision_info=provision),
    )


def _has(flags: Sequence[str], *names: str) -> bool:
    return any(flag.partition("=")[0] in names for flag in flags)


def _installed_prism() -> list[str]:
    """Return the path of Prism from `make prism` or PATH; without one, Beam downloads it."""
    beside = os.path.join(os.path.dirname(sys.executable), "prism")
    found = beside if os.path.isfile(beside) else shutil.which("prism")
    return [] if found is None else [found]


def _worker_processes(command: str) -> environments.Environment:
    # Beam's decorator on the class hides its constructor from type checkers.
    environment_class: Any = environments.SubprocessSDKEnvironment
    return environment_class(command, capabilities=environments.python_sdk_capabilities())
