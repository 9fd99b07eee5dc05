"""The main job: a segmentation data set in, click trajectories out."""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from export.data_card import render_data_card
from export.manifest import FileEntry, build_manifest
from pipelines.options import TrajectoriesConfig, fingerprint_of
from pipelines.progress import show_progress
from pipelines.run_folder import RunFolder, RunStatus
from pipelines.runners import make_runner, pipeline_options
from transforms.errors import ConfigError, DataError, HlmatError, IncompleteError, OutputError
from transforms.output_layout import OutputLayout
from transforms.protocols import DatasetReader
from transforms.readers.registry import open_reader
from transforms.records import Provenance
from transforms.segmenters.registry import describe_segmenter, load_segmenter
from transforms.simulation import SimulationRecipe
from transforms.steps.beam_storage import storage_for
from transforms.steps.click_simulation import ClickSimulationHandler, SimulateClicks
from transforms.steps.shards import ShardPlan, WriteShards
from transforms.steps.work_units import ReadWorkUnits
from transforms.work_units import WorkUnit, plan_units, select_items, unit_to_json

UNITS_PER_PLAN_FILE = 64
TARGETS_PER_OUTPUT_SHARD = 5000


@dataclass(frozen=True)
class RunReport:
    """What a run did.

    Attributes:
        layout: where everything lies.
        status: whether the run was new, resumed, or found complete.
        reader_layout: which data set layout was recognised; empty for a run found complete.
        elapsed_s: seconds spent on clicks in this call.
        targets_done: targets worked on in this call.
    """

    layout: OutputLayout
    status: RunStatus
    reader_layout: str = ""
    elapsed_s: float = 0.0
    targets_done: int = 0


@dataclass(frozen=True)
class Plan:
    """The run's units, as written to plan files.

    Attributes:
        files: paths of the plan files.
        targets_by_unit: number of targets per unit id, in the run's order.
        targets_sha256: digest over all units.
    """

    files: tuple[str, ...]
    targets_by_unit: Mapping[str, int]
    targets_sha256: str

    @property
    def num_targets(self) -> int:
        """Count the targets of the run."""
        return sum(self.targets_by_unit.values())


def make_trajectories(config: TrajectoriesConfig, *, quiet: bool = False) -> RunReport:
    """Run the job, or what is left of it.

    Raises:
        ConfigError: something that was asked for is missing.
        DataError: the data set cannot be listed, or has no targets.
        OutputError: the output folder cannot be written or holds another run.
        IncompleteError: units died; the same call takes them up again.
    """
    layout = OutputLayout(config.out)
    folder = RunFolder(layout, storage_for(config.out))
    _refuse_local_paths(config)
    reader = open_reader(config.dataset, config.reader)
    # Built here once although the workers build their own: what is wrong with it shows at once.
    segmenter_options = (
        config.segmenter if config.runner.is_local else replace(config.segmenter, device="cpu")
    )
    identity = describe_segmenter(load_segmenter(segmenter_options), config.segmenter)
    settings = {**config.fingerprinted(identity), "split": reader.split}
    fingerprint = fingerprint_of(settings)

    status = folder.begin(settings, overwrite=config.overwrite)
    if status is RunStatus.COMPLETE:
        folder.clear_working_files()
        return RunReport(layout, status)

    with _output_errors(layout.out):
        plan = write_plan(reader, config, fingerprint=fingerprint, folder=folder)
        folder.note_targets(settings, {"count": plan.num_targets, "sha256": plan.targets_sha256})
        folder.forget_failures()
        done_before = _finished_targets(plan, folder)
        shards = ShardPlan(
            num_units=len(plan.targets_by_unit),
            num_shards=_num_shards(config, plan),
        )
        recipe = SimulationRecipe(
            reader=reader,
            segmenter=config.segmenter,
            policy=config.policy,
            initial_points=config.initial_points,
            initial_action=config.initial_action,
            limits=config.limits,
            area_filter=config.area_filter,
            seed=config.seed,
            provenance=Provenance(
                segmenter=config.segmenter.name,
                weights_sha256=str(identity.get("weights_sha256") or ""),
                policy=config.policy,
                seed=config.seed,
                config_fingerprint=fingerprint,
            ),
            single_threaded=config.runner.workers > 1,
        )
        started = time.monotonic()
        with show_progress(
            plan.targets_by_unit, layout=layout, storage=folder.storage, quiet=quiet
        ):
            run_pipeline(config, plan=plan, shards=shards, recipe=recipe, fingerprint=fingerprint)
        elapsed_s = time.monotonic() - started
        _finish(config, folder=folder, shards=shards, settings=settings, plan=plan)
    return RunReport(
        layout,
        status,
        reader_layout=reader.describe_layout(),
        elapsed_s=elapsed_s,
        targets_done=plan.num_targets - done_before,
    )


def build_pipeline(
    pipeline: beam.Pipeline,
    config: TrajectoriesConfig,
    *,
    plan: Plan,
    shards: ShardPlan,
    recipe: SimulationRecipe,
    fingerprint: str,
) -> None:
    """Put the job's steps on a pipeline."""
    layout = OutputLayout(config.out)
    storage = storage_for(config.out)
    units = (
        pipeline
        | "List plan files" >> beam.Create(list(plan.files))
        | "Read work units" >> ReadWorkUnits(layout, storage)
    )
    made = units["todo"] | "Simulate" >> SimulateClicks(
        ClickSimulationHandler(recipe),
        layout=layout,
        storage=storage,
        fingerprint=fingerprint,
        accelerator=config.accelerator,
    )
    _ = (
        (made, units["done"])
        | "Join new and earlier units" >> beam.Flatten()
        | "Final files" >> WriteShards(shards, layout=layout, storage=storage)
    )


def run_pipeline(
    config: TrajectoriesConfig,
    *,
    plan: Plan,
    shards: ShardPlan,
    recipe: SimulationRecipe,
    fingerprint: str,
) -> None:
    """Run the pipeline to its end on the runner that was asked for."""
    options = pipeline_options(config.runner)
    pipeline = beam.Pipeline(runner=make_runner(config.runner, options), options=options)
    build_pipeline(
        pipeline, config, plan=plan, shards=shards, recipe=recipe, fingerprint=fingerprint
    )
    pipeline.run().wait_until_finish()


def write_plan(
    reader: DatasetReader, config: TrajectoriesConfig, *, fingerprint: str, folder: RunFolder
) -> Plan:
    """List the targets, cut them into units and write these down, streaming.

    Raises:
        DataError: there is not a single target.
    """
    items = select_items(reader.read_targets(), shard=config.shard, limit=config.limit)
    units = plan_units(items, unit_size=config.unit_size, fingerprint=fingerprint)
    digest = hashlib.sha256()
    targets_by_unit: dict[str, int] = {}
    files = []
    for number, chunk in enumerate(_chunked(units, UNITS_PER_PLAN_FILE)):
        lines = "".join(unit_to_json(unit) + "\n" for unit in chunk).encode()
        digest.update(lines)
        targets_by_unit.update((unit.unit_id, len(unit.items)) for unit in chunk)
        path = folder.layout.plan_file(number)
        folder.storage.write_bytes(path, lines)
        files.append(path)
    if not files:
        raise DataError(
            f"{config.dataset} has no target to work on ({reader.describe_layout()}); check "
            "--split, --shard and --data-root"
        )
    return Plan(tuple(files), targets_by_unit, digest.hexdigest())


def _chunked(units: Iterable[WorkUnit], size: int) -> Iterator[list[WorkUnit]]:
    chunk: list[WorkUnit] = []
    for unit in units:
        chunk.append(unit)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _num_shards(config: TrajectoriesConfig, plan: Plan) -> int:
    wanted = config.output_shards or -(-plan.num_targets // TARGETS_PER_OUTPUT_SHARD)
    return min(wanted, len(plan.targets_by_unit))


def _finished_targets(plan: Plan, folder: RunFolder) -> int:
    done = (n.removesuffix(".parquet") for n in folder.storage.list_dir(folder.layout.units))
    return sum(plan.targets_by_unit.get(unit_id, 0) for unit_id in done)


def _finish(
    config: TrajectoriesConfig,
    *,
    folder: RunFolder,
    shards: ShardPlan,
    settings: Mapping[str, Any],
    plan: Plan,
) -> None:
    layout, storage = folder.layout, folder.storage
    count = shards.num_shards
    names = [layout.trajectory_name(i, count) for i in range(count)]
    names += [layout.reject_name(i, count) for i in range(count)]
    missing = [name for name in names if not storage.is_file(f"{layout.out}/{name}")]
    if missing:
        failures = folder.failures()
        shown = "\n".join(f"  {text}" for text in failures[:3])
        raise IncompleteError(
            f"{len(failures)} of {shards.num_units} units died, so {len(missing)} of {len(names)} "
            f"final files are not written:\n{shown}\nwhat is done is kept in {layout.units}; run "
            "the same command again to take up the rest"
        )
    files: dict[str, FileEntry] = {}
    licences: dict[str, str] = {}
    for name in names:
        data = storage.read_bytes(f"{layout.out}/{name}")
        columns = pq.read_table(pa.BufferReader(data), columns=["dataset", "licence"])
        files[name] = FileEntry.of(data, rows=columns.num_rows)
        licences.update((row["dataset"], row["licence"]) for row in columns.to_pylist())
    counts = {
        "targets": plan.num_targets,
        "trajectories": sum(files[name].rows for name in names[:count]),
        "rejects": sum(files[name].rows for name in names[count:]),
        "units": shards.num_units,
    }
    card = render_data_card(config=settings, counts=counts, licences=licences).encode()
    storage.write_bytes(layout.data_card, card)
    files[posixpath.basename(layout.data_card)] = FileEntry.of(card, rows=0)
    source = {"data_root": _absolute(config.reader.data_root), "licences": licences}
    manifest = build_manifest(files, settings, counts, source=source)
    folder.finish(manifest)


def _absolute(path: str | None) -> str | None:
    return path if path is None or "://" in path else os.path.abspath(path)


def _refuse_local_paths(config: TrajectoriesConfig) -> None:
    """Refuse what other machines cannot see; portable runners may well run on this host."""
    if config.runner.name != "DataflowRunner":
        return
    problems = [
        f"{flag} {path}: --runner {config.runner.name} runs on other machines, which cannot see "
        "this disk; use a URL such as gs://bucket/folder"
        for flag, path in (
            ("--data-root", config.reader.data_root),
            ("--checkpoint", config.segmenter.checkpoint),
            ("--out", config.out),
        )
        if path is not None and "://" not in path
    ]
    if problems:
        raise ConfigError(problems)


@contextmanager
def _output_errors(out: str) -> Iterator[None]:
    """Turn a full disk or a refused write, however deep inside Beam, into an `OutputError`."""
    try:
        yield
    except HlmatError:
        raise
    # Beam wraps what a step raised in exceptions of its own; only the text keeps the errno.
    except Exception as error:
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            if f"[Errno {number}]" in str(error):
                raise OutputError(
                    f"{out} cannot be written: {os.strerror(number)}; what is done is kept: make "
                    "room or mend the permissions and run the same command again"
                ) from error
        raise
