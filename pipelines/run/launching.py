"""Launch a pipeline of units on the chosen runner."""

from __future__ import annotations

from collections.abc import Callable

import apache_beam as beam

from hlmat.pipelines.run.engines import log_file, run_on_engine
from hlmat.pipelines.run.local_workers import LocalWorkers
from hlmat.pipelines.run.runners import build_runner, pipeline_options
from hlmat.pipelines.settings.runner_choice import RunnerChoice
from hlmat.transforms.core.errors import IncompleteError
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.dataset_io.layout import UnitLayout

Build = Callable[[beam.Pipeline], None]


def launch(
    build: Build,
    choice: RunnerChoice,
    *,
    out: str,
    storage: Storage,
    layout: UnitLayout,
    workers: LocalWorkers,
    has_processes: bool,
) -> None:
    """Run a pipeline and wait for it.

    Args:
        build: adds the steps to a pipeline.
        choice: the runner.
        out: the output folder.
        storage: gives access to it.
        layout: layout of the units in it.
        workers: worker processes of this machine.
        has_processes: whether they do the work instead of this process.

    Raises:
        IncompleteError: a worker or the engine failed; finished work is kept.
        Exception: raised by a step.
    """
    try:
        if choice.is_local:
            _run_here(build, choice, workers, has_processes=has_processes)
        else:
            storage.remove(layout.worker_note)
            pipeline = beam.Pipeline(options=pipeline_options(choice))
            build(pipeline)
            run_on_engine(
                pipeline,
                choice,
                log=log_file(out),
                has_begun=lambda: storage.is_file(layout.worker_note),
            )
    except IncompleteError as error:
        raise IncompleteError(
            f"{error}; finished units are kept in {layout.units}: fix the cause and run the "
            "same command again"
        ) from error


def _run_here(
    build: Build, choice: RunnerChoice, workers: LocalWorkers, *, has_processes: bool
) -> None:
    options = pipeline_options(choice)
    command = workers.command() if has_processes else None
    pipeline = beam.Pipeline(
        runner=build_runner(choice, options, worker_command=command), options=options
    )
    build(pipeline)
    workers.run(lambda: pipeline.run().wait_until_finish())
