"""Build a job's Beam runner and its options."""

from __future__ import annotations

import logging
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.runner import PipelineRunner
from apache_beam.transforms import environments

from hlmat.pipelines.settings.runner_choice import RunnerChoice


def pipeline_options(choice: RunnerChoice) -> PipelineOptions:
    """Return the Beam options for a runner."""
    if not choice.is_local:
        return PipelineOptions([f"--runner={choice.name}", *choice.flags])
    # Worker processes use the log level of the job's process.
    level = logging.getLevelName(logging.getLogger().getEffectiveLevel())
    return PipelineOptions(
        [
            f"--direct_num_workers={choice.workers}",
            f"--default_sdk_harness_log_level={level}",
            *choice.flags,
        ]
    )


def build_runner(
    choice: RunnerChoice,
    options: PipelineOptions,
    *,
    worker_command: str,
    own_process: bool = False,
) -> PipelineRunner | None:
    """Return the local engine, or None to let Beam look up the named runner.

    Args:
        worker_command: the shell command that starts a worker process.
        own_process: a single worker gets a process of its own too.

    The local engine is Beam's FnApiRunner, constructed directly: `DirectRunner` first tries to
    download another engine, and a FnApiRunner selected by name passes no options to its workers.
    """
    if not choice.is_local:
        return None
    apart = own_process or choice.workers > 1
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    return fn_runner.FnApiRunner(
        default_environment=_worker_processes(worker_command) if apart else None,
        provision_info=fn_runner.ExtendedProvisionInfo(provision_info=provision),
    )


def _worker_processes(command: str) -> environments.Environment:
    # Beam's decorator on the class hides its constructor from type checkers.
    environment_class: Any = environments.SubprocessSDKEnvironment
    return environment_class(command, capabilities=environments.python_sdk_capabilities())
