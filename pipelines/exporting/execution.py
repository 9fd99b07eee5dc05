"""Do an export's units, each once: in this process, or on any runner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hlmat.export.runs.manifest import Manifest
from hlmat.pipelines.exporting.job import AnyJob
from hlmat.pipelines.run.progress import show_progress
from hlmat.pipelines.settings.export_options import ExportOptions
from hlmat.pipelines.settings.runner_choice import RunnerChoice, check_paths_elsewhere
from hlmat.transforms.beam.imports import import_beam_without_connectors


def paths_by_flag(asked: ExportOptions, manifest: Manifest) -> dict[str, str | None]:
    """Return the paths that the workers of an export read and write, by flag."""
    return {
        "--from": str(asked.run_folder),
        "--data-root": asked.data_root or manifest.source.get("data_root"),
        "--out": str(asked.out),
    }


def check_runner(runner: RunnerChoice, paths: Mapping[str, str | None]) -> None:
    """Report what is wrong with another runner before anything is written.

    Args:
        paths: that its workers read and write, by flag.

    Raises:
        ConfigError: its flags cannot be right, or it runs on machines that cannot see a path.
        IncompleteError: a job server, a worker pool or a program is not there.
    """
    if not runner.is_local:
        check_paths_elsewhere(runner, paths)
        from hlmat.pipelines.run.engine_checks import check_engine

        check_engine(runner)


def do_units(job: AnyJob, *, quiet: bool) -> None:
    """Do every unit that is not done yet, here or by workers.

    Raises:
        DataError: a run's file is not as its manifest lists it, or the runs are over other data.
        OutputError: the output cannot be written.
        IncompleteError: a worker or the engine failed; the same call resumes.
    """
    storage, layout = job.folder.storage, job.layout
    storage.remove_dir(layout.failures)
    done = {name.partition(".")[0] for name in storage.list_dir(layout.units)}
    left: list[Any] = [unit for unit in job.plan.units if unit.unit_id not in done]
    if not left:
        return
    with show_progress(job.plan.targets_by_unit, layout=layout, storage=storage, quiet=quiet):
        if job.runner.is_local and job.runner.workers == 1:
            work: Callable[[Any], bytes] = job.settings.build()
            for unit in left:
                storage.write_bytes(layout.unit_file(unit.unit_id), work(unit))
        else:
            # Beam takes a second to import, and three with its connectors.
            if job.runner.is_local:
                import_beam_without_connectors()
            from hlmat.pipelines.exporting.pipeline import run_pipeline

            run_pipeline(job)
