"""The pipeline of an export, for worker processes and other runners."""

from __future__ import annotations

import apache_beam as beam

from hlmat.pipelines.exporting.job import AnyJob
from hlmat.pipelines.exporting.planning import write_plan
from hlmat.pipelines.run.launching import launch
from hlmat.pipelines.run.local_workers import LocalWorkers
from hlmat.transforms.beam.do_units import DoUnits
from hlmat.transforms.beam.read_units import ReadWorkUnits
from hlmat.transforms.beam.worker_check import CheckWorker, WorkerNote, installed_versions


def run_pipeline(job: AnyJob) -> None:
    """Run the pipeline on the chosen runner and wait for it; errors as those of `do_units`."""
    with LocalWorkers() as workers:
        if job.runner.is_local:
            workers.start()
        files = write_plan(job.plan, job.layout, job.folder.storage)
        launch(
            lambda pipeline: build_pipeline(pipeline, job, plan_files=files),
            job.runner,
            out=job.layout.out,
            storage=job.folder.storage,
            layout=job.layout,
            workers=workers,
            has_processes=job.runner.is_local,
        )


def build_pipeline(pipeline: beam.Pipeline, job: AnyJob, *, plan_files: list[str]) -> None:
    """Add the job's steps to a pipeline."""
    storage, layout = job.folder.storage, job.layout
    files = pipeline | "List plan files" >> beam.Create(plan_files)
    if not job.runner.is_local:
        note = WorkerNote(layout.worker_note, storage, installed_versions())
        files |= "Check the worker" >> beam.ParDo(CheckWorker(note))
    units = files | "Read units" >> ReadWorkUnits(layout, storage, parse=job.plan.parse)
    _ = units["todo"] | "Export" >> DoUnits(job.settings.build, layout=layout, storage=storage)
