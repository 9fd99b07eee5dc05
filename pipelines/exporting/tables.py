"""An export as Parquet tables with images inside: plan, units, files of the whole."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from hlmat.export.image_tables.merge import TableCounts
from hlmat.export.image_tables.unit_tables import TableForm, TableRecord, TableSettings
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.runs.flags import Key
from hlmat.export.runs.manifest import Manifest
from hlmat.export.runs.row_slices import TrajectoryFiles
from hlmat.pipelines.exporting.execution import check_runner, do_units
from hlmat.pipelines.exporting.folder import TableFolder
from hlmat.pipelines.exporting.job import TableJob
from hlmat.pipelines.exporting.merging import check_rejects, unit_files, write_rejects
from hlmat.pipelines.exporting.planning import plan_tables
from hlmat.pipelines.run.finished import open_source
from hlmat.pipelines.run.folder import RunStatus
from hlmat.pipelines.run.leak_guard import export_record
from hlmat.pipelines.run.output_errors import output_errors
from hlmat.pipelines.settings.export_options import Running
from hlmat.pipelines.settings.run_options import fingerprint_of
from hlmat.pipelines.settings.runner_choice import threads_per_worker
from hlmat.transforms.core.errors import HlmatError, OutputError
from hlmat.transforms.core.url_storage import storage_for

MAX_PIXELS_PER_FILE = 1_000_000_000
"""Pixels of the states of a file, after which it ends with the image: as JPEG about 400 MB, the
size of files that the Hub recommends."""


@dataclass(frozen=True)
class TableRun:
    """A run whose trajectories are exported.

    Attributes:
        out: its folder.
        split: name of the split, part of the files' names.
        data_root: where its images are now; None for where they were.
        needs_images: its images are read.
    """

    out: str
    manifest: Manifest
    split: str
    data_root: str | None
    needs_images: bool = True

    @property
    def files(self) -> TrajectoryFiles:
        """Its trajectories."""
        return TrajectoryFiles.of(storage_for(self.out), self.out, self.manifest)


@dataclass(frozen=True)
class TableExportRequest:
    """What is exported as tables.

    Attributes:
        runs: in order.
        form: the rows.
        options: how states are drawn and stored.
        folder: the output.
        rows_in: the folder of the files of rows, below the output.
        settings: everything that can change a byte, with `name`, `run`, `version` and `format`.
        why_none: why a trajectory may give no row.
        finish: writes further files, and returns the one that is written last.
        excluded: targets that are left out.
    """

    runs: Sequence[TableRun]
    form: TableForm
    options: LlamaFactoryOptions
    folder: TableFolder
    rows_in: str
    settings: Mapping[str, Any]
    why_none: str
    finish: Callable[[Sequence[TableRecord]], bytes]
    excluded: frozenset[Key] = frozenset()


def export_tables(
    request: TableExportRequest, running: Running, *, paths: Mapping[str, str | None]
) -> dict[str, Any]:
    """Export runs as tables, and return the counts; a finished export is not made again.

    Args:
        paths: that workers read and write, by flag.

    Raises:
        ConfigError, DataError, OutputError, IncompleteError: as `export_run`.
    """
    check_runner(running.runner, paths)
    folder, out = request.folder, request.folder.layout.out
    with output_errors(out), folder.locked():
        status = folder.begin(request.settings, overwrite=running.overwrite)
        if status is RunStatus.COMPLETE:
            return dict(folder.counts())
        try:
            job = _job(request, running)
        except HlmatError:
            # Nothing was written: remove the claim, so that a corrected call can start.
            if status is RunStatus.NEW:
                folder.clear()
            raise
        do_units(job, quiet=running.quiet)
        return _merge(job, request, max_reject_rate=running.max_reject_rate)


def digest_of(manifest: Manifest) -> str:
    """Return a digest of a run: its configuration and the content of its files."""
    files = {name: entry.sha256 for name, entry in manifest.files.items()}
    return fingerprint_of({"config": dict(manifest.config), "files": files})


def _job(request: TableExportRequest, running: Running) -> TableJob:
    loaders = [
        open_source(run.manifest, data_root=run.data_root).load_image if run.needs_images else None
        for run in request.runs
    ]
    files = [run.files for run in request.runs]
    plan = plan_tables(
        [
            (each, run.split, run.manifest.config["shapes"])
            for each, run in zip(files, request.runs, strict=True)
        ],
        folder=request.rows_in,
        unit_size=running.unit_size,
        max_pixels=MAX_PIXELS_PER_FILE,
        fingerprint=fingerprint_of(request.settings),
        excluded=request.excluded,
    )
    runner = running.runner_for(plan.targets)
    work = TableSettings(
        runs=tuple(zip(files, loaders, strict=True)),
        form=request.form,
        options=request.options,
        out=request.folder.layout.out,
        storage=request.folder.storage,
        num_threads=threads_per_worker(runner),
    )
    return TableJob(work, plan, runner, request.folder)


def _merge(job: TableJob, request: TableExportRequest, *, max_reject_rate: float) -> dict[str, Any]:
    records: list[TableRecord] = []
    with_rejects: list[str] = []
    for unit_id, path, data in unit_files(job):
        records.append(TableRecord.from_bytes(data, name=path))
        if records[-1].rejects:
            with_rejects.append(unit_id)
    rejects = [reject for record in records for reject in record.rejects]
    check_rejects(job, rejects, with_rejects, max_reject_rate=max_reject_rate)
    counts = TableCounts.of(records)
    if counts.rows == 0:
        job.folder.clear()
        raise OutputError(
            f"none of the {counts.targets_without_rows} trajectories has a row "
            f"({request.why_none}); {job.layout.out} was not written"
        )
    write_rejects(job, rejects)
    last = request.finish(records)
    report = asdict(counts)
    record = export_record(
        without_paths(request.runs[0].manifest),
        images=job.plan.images,
        frame=request.options.frame.record(),
        also=[without_paths(run.manifest) for run in request.runs[1:]],
        export={"settings": request.settings, "counts": report},
    )
    job.folder.storage.write_bytes(job.layout.record, record)
    job.folder.finish(last)
    return report


def without_paths(manifest: Manifest) -> Manifest:
    """Return a manifest whose configuration names files without their folders.

    The record is published with the rest.
    """
    config = dict(manifest.config)
    if config.get("annotations"):
        config["annotations"] = posixpath.basename(config["annotations"])
    return replace(manifest, config=config)
