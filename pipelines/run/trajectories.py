"""The main job: from a segmentation data set to click trajectories."""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from hlmat.export.runs.data_card import render_data_card
from hlmat.export.runs.manifest import FileEntry, build_manifest
from hlmat.pipelines.run.engine_checks import check_engine
from hlmat.pipelines.run.folder import RunFolder, RunStatus
from hlmat.pipelines.run.launching import launch
from hlmat.pipelines.run.local_workers import LocalWorkers
from hlmat.pipelines.run.output_errors import output_errors
from hlmat.pipelines.run.planning import Plan
from hlmat.pipelines.run.progress import show_progress
from hlmat.pipelines.run.source import RunSource, finish_inputs
from hlmat.pipelines.run.unit_shards import check_shard, unfinished_units, units_of
from hlmat.pipelines.run.worker_paths import with_worker_paths
from hlmat.pipelines.settings.run_options import RunConfig, fingerprint_of
from hlmat.pipelines.settings.runner_choice import threads_per_worker
from hlmat.transforms.beam.read_units import ReadWorkUnits
from hlmat.transforms.beam.shards import ShardPlan, WriteShards
from hlmat.transforms.beam.simulate import (
    ClickSimulationHandler,
    KnownOutcomes,
    SimulateClicks,
)
from hlmat.transforms.beam.worker_check import CheckWorker, WorkerNote, installed_versions
from hlmat.transforms.core.errors import ConfigError, HlmatError, IncompleteError
from hlmat.transforms.core.protocols import DatasetReader, HasRemarks
from hlmat.transforms.core.records import Provenance
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.dataset_io.layout import OutputLayout
from hlmat.transforms.rollout.options import InitialAction
from hlmat.transforms.rollout.segmenter_batching import load_texts
from hlmat.transforms.rollout.unit_worker import RolloutSettings
from hlmat.transforms.segmenters.registry import load_segmenter, segmenter_identity
from hlmat.transforms.segmenters.remote.address import is_address

TARGETS_PER_OUTPUT_SHARD = 5000
_READERS_OF_URLS = 16
"""Threads of a worker that read remote images: they mostly wait."""


@dataclass(frozen=True)
class RunReport:
    """The outcome of a run.

    Attributes:
        layout: the paths of the run's files.
        status: whether the run was new, resumed, or found complete.
        reader_layout: which data set layout was recognised; empty for a run found complete.
        elapsed_s: seconds spent on clicks in this call.
        targets_done: targets processed in this call.
        remarks: warnings about the data set, one sentence each.
    """

    layout: OutputLayout
    status: RunStatus
    reader_layout: str = ""
    elapsed_s: float = 0.0
    targets_done: int = 0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """Everything needed to build a run's pipeline."""

    config: RunConfig
    plan: Plan
    shards: ShardPlan
    settings: RolloutSettings

    @property
    def layout(self) -> OutputLayout:
        """The paths of the run's files."""
        return OutputLayout(self.config.out)

    @property
    def storage(self) -> Storage:
        """Storage of the output folder."""
        return RunFolder.of(self.config.out).storage


def make_trajectories(config: RunConfig, *, quiet: bool = False) -> RunReport:
    """Run the job, or resume it.

    Raises:
        ConfigError: something that the run needs is missing.
        DataError: the data set cannot be listed, or has no targets.
        OutputError: the output folder cannot be written or contains another run.
        IncompleteError: units died; the same call resumes them.
    """
    config = with_worker_paths(config)
    check_engine(config.runner)
    folder = RunFolder.of(config.out)
    source = RunSource.open(config)
    reader = source.reader
    identity, device, config = _identified(config)
    settings = {
        **config.identity(identity, config.policy.identity()),
        "device": device,
        "split": reader.split,
    }
    fingerprint = fingerprint_of(settings)

    with (
        folder.locked(is_shared=config.shard is not None),
        output_errors(config.out),
        LocalWorkers() as workers,
    ):
        status = folder.begin(settings, overwrite=config.overwrite)
        if status is not RunStatus.COMPLETE and _has_worker_processes(config):
            workers.start()
        try:
            if status is RunStatus.COMPLETE:
                plan, remarks = source.check_finished(
                    folder, settings=settings, fingerprint=fingerprint
                )
                if plan is None:
                    if config.shard is None:
                        folder.clear_working_files()
                    return RunReport(folder.layout, status, remarks=tuple(remarks))
            else:
                plan, remarks = source.plan_run(
                    folder, status=status, settings=settings, fingerprint=fingerprint
                )
        except HlmatError:
            # Nothing was written: remove the folder's claim, so that a corrected call can start.
            if status is RunStatus.NEW and config.shard is None:
                folder.clear_working_files()
            raise
        # Other shards may be recording their failures now.
        if config.shard is None:
            folder.forget_failures()
        provenance = Provenance(
            segmenter=str(identity["name"]),
            weights_sha256=str(identity.get("weights_sha256") or ""),
            policy=config.policy.name,
            seed=config.seed,
            config_fingerprint=fingerprint,
        )
        job = Job(
            config,
            plan,
            ShardPlan(len(plan.targets_by_unit), _num_shards(config, plan)),
            rollout_settings(config, reader=reader, provenance=provenance),
        )
        targets_to_do = sum(unfinished_units(plan, folder, shard=config.shard).values())
        started = time.monotonic()
        with show_progress(
            units_of(config.shard, plan),
            layout=folder.layout,
            storage=folder.storage,
            quiet=quiet,
        ):
            run_pipeline(job, workers)
        elapsed_s = time.monotonic() - started
        if config.shard is None:
            _finish(job, folder=folder, settings=settings)
        else:
            check_shard(config.shard, plan, folder)
    return RunReport(
        folder.layout,
        status,
        reader_layout=reader.describe_layout(),
        elapsed_s=elapsed_s,
        targets_done=targets_to_do,
        remarks=(*remarks, *(reader.remarks() if isinstance(reader, HasRemarks) else ())),
    )


def rollout_settings(
    config: RunConfig, *, reader: DatasetReader, provenance: Provenance
) -> RolloutSettings:
    """Return the settings from which a worker builds its simulation."""
    return RolloutSettings(
        reader=reader,
        segmenter=config.segmenter,
        build_policy=config.policy,
        initial_action=config.initial_action,
        limits=config.limits,
        area_filter=config.area_filter,
        seed=config.seed,
        provenance=provenance,
        num_threads=threads_per_worker(config.runner),
        num_readers=_READERS_OF_URLS if "://" in (config.reader.data_root or "") else None,
        images_at_once=config.images_at_once,
        search=config.search,
        first_mask=config.first_mask,
    )


def build_pipeline(pipeline: beam.Pipeline, job: Job) -> None:
    """Add the job's steps to a pipeline."""
    plan_files = pipeline | "List plan files" >> beam.Create(list(job.plan.files))
    if not job.config.runner.is_local:
        note = WorkerNote(job.layout.worker_note, job.storage, installed_versions())
        plan_files |= "Check the worker" >> beam.ParDo(CheckWorker(note))
    units = plan_files | "Read work units" >> ReadWorkUnits(
        job.layout, job.storage, shard=job.config.shard
    )
    made = units["todo"] | "Simulate" >> SimulateClicks(
        ClickSimulationHandler(
            job.settings, known=KnownOutcomes(layout=job.layout, storage=job.storage)
        ),
        layout=job.layout,
        storage=job.storage,
        fingerprint=job.settings.provenance.config_fingerprint,
        accelerator=job.config.accelerator,
    )
    if job.config.shard is not None:
        return
    _ = (
        (made, units["done"])
        | "Join new and earlier units" >> beam.Flatten()
        | "Final files" >> WriteShards(job.shards, layout=job.layout, storage=job.storage)
    )


def run_pipeline(job: Job, workers: LocalWorkers) -> None:
    """Run the pipeline on the chosen runner and wait for it."""
    launch(
        lambda pipeline: build_pipeline(pipeline, job),
        job.config.runner,
        out=job.config.out,
        storage=job.storage,
        layout=job.layout,
        workers=workers,
        has_processes=_has_worker_processes(job.config),
    )


def _identified(
    config: RunConfig,
) -> tuple[dict[str, str | int | float | bool | None], str, RunConfig]:
    """Return the segmenter's identity and device, and the configuration for the workers, which
    ties them to the segmenter that a server has now.

    The segmenter is built here once, to report problems before workers start. If workers run on
    other machines, this one need not have their device.
    """
    options = config.segmenter
    if not config.runner.is_local and not is_address(options.name):
        options = replace(options, device="cpu")
    try:
        segmenter = load_segmenter(options)
    except SystemExit as error:
        raise ConfigError(
            [f"--segmenter {options.name!r}: loading it ended the program (SystemExit: {error})"]
        ) from error
    if config.initial_action is InitialAction.TEXT:
        load_texts(segmenter, name=options.name)
    identity = segmenter_identity(segmenter, config.segmenter)
    if not is_address(options.name):
        return identity, config.segmenter.device, config
    # Its client imports httpx.
    from hlmat.transforms.segmenters.remote.segmenter import RemoteSegmenter

    assert isinstance(segmenter, RemoteSegmenter)
    tied = replace(config, segmenter=replace(options, served=segmenter.digest))
    return identity, segmenter.device, tied


def _has_worker_processes(config: RunConfig) -> bool:
    """Return whether work is done outside this process: by several workers of this machine, or
    because the segmenter is the user's own code, whose crash must not end the job."""
    name = config.segmenter.name
    is_foreign = ":" in name and not name.startswith("hlmat.") and not is_address(name)
    return config.runner.is_local and (config.runner.workers > 1 or is_foreign)


def _num_shards(config: RunConfig, plan: Plan) -> int:
    wanted = config.output_shards or -(-plan.num_targets // TARGETS_PER_OUTPUT_SHARD)
    return min(wanted, len(plan.targets_by_unit))


def _finish(job: Job, *, folder: RunFolder, settings: Mapping[str, Any]) -> None:
    """Write data card and manifest once every final file exists."""
    layout, storage = folder.layout, folder.storage
    count = job.shards.num_shards
    names = [layout.trajectory_name(i, count) for i in range(count)]
    names += [layout.reject_name(i, count) for i in range(count)]
    written = {
        f"{part}/{name}"
        for part in dict.fromkeys(name.partition("/")[0] for name in names)
        for name in storage.list_dir(f"{layout.out}/{part}")
    }
    missing = [name for name in names if name not in written]
    if missing:
        failures = folder.failures()
        shown = "\n".join(f"  {text}" for text in failures[:3])
        raise IncompleteError(
            f"{len(failures)} of {job.shards.num_units} units died, so {len(missing)} of "
            f"{len(names)} final files are not written:\n{shown}\nwhat is done is kept in "
            f"{layout.units}; run the same command again to do the rest"
        )
    files: dict[str, FileEntry] = {}
    licenses: dict[str, str] = {}
    for name in names:
        data = storage.read_bytes(f"{layout.out}/{name}")
        columns = pq.read_table(pa.BufferReader(data), columns=["dataset", "license"])
        files[name] = FileEntry.of(data, rows=columns.num_rows)
        licenses.update((row["dataset"], row["license"]) for row in columns.to_pylist())
    counts = {
        "targets": job.plan.num_targets,
        "trajectories": sum(files[name].rows for name in names[:count]),
        "rejects": sum(files[name].rows for name in names[count:]),
        "units": job.shards.num_units,
    }
    card = render_data_card(config=settings, counts=counts, licenses=licenses).encode()
    storage.write_bytes(layout.data_card, card)
    files[posixpath.basename(layout.data_card)] = FileEntry.of(card, rows=0)
    reader = job.config.reader
    if (inputs := finish_inputs(folder)) is not None:
        files[posixpath.basename(layout.inputs)] = FileEntry.of(inputs, rows=0)
    source = {
        "listing": {"count": job.plan.num_targets, "sha256": job.plan.targets_sha256},
        "data_root": _absolute(reader.data_root),
        **({"follow_links": True} if reader.follow_links else {}),
        "licenses": licenses,
    }
    manifest = build_manifest(files, settings, counts, source=source)
    folder.finish(manifest)


def _absolute(path: str | None) -> str | None:
    return path if path is None or "://" in path else os.path.abspath(path)
