"""The job `hlmat export`: from a finished run to the files of another tool."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hlmat.export.formats.trace import write_trace
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.paired_runs import OtherRunFiles, run_differences
from hlmat.export.llama_factory.unit_export import ExportSettings
from hlmat.export.runs.manifest import Manifest
from hlmat.export.runs.row_slices import TrajectoryFiles
from hlmat.export.runs.trajectories import read_trajectories
from hlmat.pipelines.exporting.coco_results import export_coco_results
from hlmat.pipelines.exporting.exclusion import excluded_setting, excluded_targets, key_of_ref
from hlmat.pipelines.exporting.execution import check_runner, do_units, paths_by_flag
from hlmat.pipelines.exporting.fiftyone import FIFTYONE, export_fiftyone
from hlmat.pipelines.exporting.folder import LlamaFactoryFolder
from hlmat.pipelines.exporting.hub import export_hub
from hlmat.pipelines.exporting.job import LlamaFactoryJob
from hlmat.pipelines.exporting.merging import merge_units
from hlmat.pipelines.exporting.planning import plan_export
from hlmat.pipelines.exporting.tables import digest_of
from hlmat.pipelines.exporting.trainer_tables import export_trainer_tables
from hlmat.pipelines.run.finished import open_source, read_run_manifest
from hlmat.pipelines.run.folder import RunStatus
from hlmat.pipelines.run.leak_guard import export_record
from hlmat.pipelines.run.output_errors import output_errors
from hlmat.pipelines.settings.export_options import (
    ExportOptions,
    Running,
    export_options,
    llama_factory_options,
    running_options,
)
from hlmat.pipelines.settings.run_options import fingerprint_of
from hlmat.pipelines.settings.runner_choice import (
    RunnerChoice,
    path_for_workers,
    threads_per_worker,
)
from hlmat.pipelines.settings.validation import Check
from hlmat.transforms.core.errors import ConfigError, HlmatError, OutputError
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.dataset_io.expression_choice import ExpressionChoice

EXPORT_VERSION = 1
"""Of the files of a data set: it changes with what the same settings write."""


def export_run(
    arguments: argparse.Namespace, rest: Sequence[str] = (), *, quiet: bool = True
) -> dict[str, Any]:
    """Export a run and return what was written.

    Args:
        arguments: of the command.
        rest: arguments unknown to its parser.
        quiet: show no progress.

    Raises:
        ConfigError: with every problem of the command line.
        DataError: no finished run, or an image that cannot be read.
        OutputError: the output cannot be written, or holds something else.
        IncompleteError: a worker or the engine failed; the same call resumes.
    """
    check = Check()
    asked = export_options(arguments, check)
    options = llama_factory_options(arguments, check)
    running = running_options(arguments, rest, check, quiet=quiet)
    check.done()
    asked = _for_workers(asked, running.runner)
    manifest = read_run_manifest(str(asked.run_folder))
    return FORMATS[str(asked.format)](asked, manifest, options, running)


def _for_workers(asked: ExportOptions, runner: RunnerChoice) -> ExportOptions:
    """Return the options with paths that lead every worker to the same place."""

    def path(given: str | None) -> str | None:
        return given and path_for_workers(given, runner)

    return replace(
        asked,
        run_folder=path(asked.run_folder),
        out=path(asked.out),
        data_root=path(asked.data_root),
        also=tuple(path_for_workers(other, runner) for other in asked.also),
    )


def _export_trace(
    asked: ExportOptions, manifest: Manifest, options: LlamaFactoryOptions, running: Running
) -> dict[str, Any]:
    if os.path.isdir(str(asked.out)):
        raise OutputError(f"{asked.out} is a folder; --format trace writes a file: name one")
    if os.path.lexists(str(asked.out)):
        raise OutputError(f"{asked.out} exists already; give another --out or remove it")
    out = str(asked.run_folder)
    excluded = excluded_targets(asked, manifest)
    trajectories = (
        trajectory
        for trajectory in read_trajectories(storage_for(out), out, manifest=manifest)
        if not excluded or key_of_ref(trajectory.target.ref) not in excluded
    )
    records = write_trace(trajectories, str(asked.out), info=manifest.config)
    return {"written": asked.out, "records": records}


def _export_llama_factory(
    asked: ExportOptions, manifest: Manifest, options: LlamaFactoryOptions, running: Running
) -> dict[str, Any]:
    out, name = str(asked.out), str(asked.run_folder)
    check_runner(
        running.runner,
        {
            **paths_by_flag(asked, manifest),
            "--also": next((other for other in asked.also if "://" not in other), None),
        },
    )
    others = _open_others(asked, manifest)
    excluded = excluded_targets(asked, manifest)
    settings = _settings(running.fingerprint, manifest, others) | excluded_setting(excluded)
    folder = LlamaFactoryFolder.of(out)
    with output_errors(out), folder.locked():
        status = folder.begin(settings, overwrite=running.overwrite)
        if status is RunStatus.COMPLETE:
            return _report(asked, options, folder.counts())
        try:
            reader = open_source(manifest, data_root=asked.data_root)
            run = TrajectoryFiles.of(storage_for(name), name, manifest)
            other_files = tuple(
                OtherRunFiles.of(storage_for(name), name, other) for name, other in others.items()
            )
            shuffled = asked.expressions == ExpressionChoice.SHUFFLED
            plan = plan_export(
                run,
                other_files,
                unit_size=running.unit_size,
                fingerprint=fingerprint_of(settings),
                shapes=manifest.config["shapes"],
                shuffle_seed=manifest.config["seed"] if shuffled else None,
                excluded=excluded,
            )
        except HlmatError:
            # Nothing was written: remove the claim, so that a corrected call can start.
            if status is RunStatus.NEW:
                folder.clear()
            raise
        runner = running.runner_for(plan.targets)
        work = ExportSettings(
            run,
            other_files,
            reader.load_image,
            asked.task,
            options,
            out,
            folder.storage,
            threads_per_worker(runner),
        )
        job = LlamaFactoryJob(work, plan, runner, folder)

        def record(counts: Mapping[str, object]) -> bytes:
            return export_record(
                manifest,
                images=plan.images,
                frame=options.frame.record(),
                also=tuple(others.values()),
                export={"settings": settings, "counts": counts},
            )

        do_units(job, quiet=running.quiet)
        counts = merge_units(job, max_reject_rate=running.max_reject_rate, record=record)
    return _report(asked, options, counts)


def _report(
    asked: ExportOptions, options: LlamaFactoryOptions, counts: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "written": asked.out,
        "data set": options.name,
        "samples": counts["samples"],
        **({"of which": counts["kinds"]} if counts["kinds"] else {}),
        "images": counts["images"],
        "targets": counts["targets"],
        "without samples": counts["targets_without_samples"],
        **({"rejected": counts["rejects"]} if counts["rejects"] else {}),
    }


def _settings(
    fingerprint: Mapping[str, Any], manifest: Manifest, others: Mapping[str, Manifest]
) -> dict[str, Any]:
    """Return everything that can change a byte of the data set."""
    return {
        **fingerprint,
        "run": digest_of(manifest),
        "also": [digest_of(other) for other in others.values()],
        "version": EXPORT_VERSION,
    }


def _open_others(asked: ExportOptions, manifest: Manifest) -> dict[str, Manifest]:
    """Return the manifests of the runs to compare with the first, by folder."""
    others = {out: read_run_manifest(out) for out in asked.also}
    problems = [
        f"--also {out}: {difference}"
        for out, other in others.items()
        for difference in run_differences(manifest.config, other.config)
    ]
    if problems:
        raise ConfigError(problems)
    return others


FORMATS: dict[
    str, Callable[[ExportOptions, Manifest, LlamaFactoryOptions, Running], dict[str, Any]]
] = {
    "trace": _export_trace,
    "llama-factory": _export_llama_factory,
    "hub": export_hub,
    "coco-results": export_coco_results,
    FIFTYONE: export_fiftyone,
    "trl": export_trainer_tables,
    "verl": export_trainer_tables,
    "ms-swift": export_trainer_tables,
}
