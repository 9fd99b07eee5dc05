"""`hlmat export --format fiftyone`: a finished run as a data set that FiftyOne imports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from hlmat.export.fiftyone.schema import metadata_json
from hlmat.export.fiftyone.unit_export import SamplesSettings, UnitDocuments
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.unit_samples import BETWEEN_ROWS
from hlmat.export.runs.manifest import Manifest
from hlmat.export.runs.row_slices import TrajectoryFiles
from hlmat.pipelines.exporting.exclusion import excluded_setting, excluded_targets
from hlmat.pipelines.exporting.execution import check_runner, do_units, paths_by_flag
from hlmat.pipelines.exporting.folder import FiftyOneFolder
from hlmat.pipelines.exporting.job import FiftyOneJob
from hlmat.pipelines.exporting.merging import check_rejects, unit_files, write_rejects
from hlmat.pipelines.exporting.planning import plan_export
from hlmat.pipelines.exporting.tables import digest_of, without_paths
from hlmat.pipelines.run.finished import open_source
from hlmat.pipelines.run.folder import RunStatus
from hlmat.pipelines.run.leak_guard import export_record
from hlmat.pipelines.run.output_errors import output_errors
from hlmat.pipelines.settings.export_options import ExportOptions, Running
from hlmat.pipelines.settings.run_options import fingerprint_of
from hlmat.transforms.core.errors import DataError, HlmatError
from hlmat.transforms.core.url_storage import storage_for

FIFTYONE = "fiftyone"
FIFTYONE_VERSION = 1
"""Of the files of a data set: it changes with what the same settings write."""

_SHOWN_SETTINGS = ("dataset", "split", "segmenter", "policy", "max_clicks", "seed")


def export_fiftyone(
    asked: ExportOptions, manifest: Manifest, options: LlamaFactoryOptions, running: Running
) -> dict[str, Any]:
    """Export a run for FiftyOne; errors as `export_run`."""
    out, name = str(asked.out), str(asked.run_folder)
    check_runner(running.runner, paths_by_flag(asked, manifest))
    excluded = excluded_targets(asked, manifest)
    settings = {
        "format": FIFTYONE,
        "image-format": options.image_format,
        "name": FIFTYONE,
        "run": digest_of(manifest),
        "version": FIFTYONE_VERSION,
        **excluded_setting(excluded),
    }
    folder = FiftyOneFolder.of(out)
    with output_errors(out), folder.locked():
        status = folder.begin(settings, overwrite=running.overwrite)
        if status is RunStatus.COMPLETE:
            return _report(out, folder.counts())
        try:
            reader = open_source(manifest, data_root=asked.data_root)
            run = TrajectoryFiles.of(storage_for(name), name, manifest)
            plan = plan_export(
                run,
                (),
                unit_size=running.unit_size,
                fingerprint=fingerprint_of(settings),
                shapes=manifest.config["shapes"],
                excluded=excluded,
            )
            if not plan.units:
                raise DataError(f"{name} has no trajectory, so {out} was not written")
        except HlmatError:
            # Nothing was written: remove the claim, so that a corrected call can start.
            if status is RunStatus.NEW:
                folder.clear()
            raise
        work = SamplesSettings(run, reader.load_image, options, out, folder.storage)
        job = FiftyOneJob(work, plan, running.runner_for(plan.targets), folder)
        do_units(job, quiet=running.quiet)
        counts = _merge(job, manifest, settings, max_reject_rate=running.max_reject_rate)
    return _report(out, counts)


@dataclass
class _Merged:
    """What the units so far amount to."""

    targets: int
    samples: int
    used: set[str]
    rejects: list[Mapping[str, str]]
    with_rejects: list[str]


def _merge(
    job: FiftyOneJob,
    manifest: Manifest,
    settings: Mapping[str, Any],
    *,
    max_reject_rate: float,
) -> Mapping[str, Any]:
    storage, layout = job.folder.storage, job.folder.layout
    merged = _Merged(0, 0, set(), [], [])
    storage.write_pieces(layout.samples, _samples_file(job, merged))
    try:
        check_rejects(job, merged.rejects, merged.with_rejects, max_reject_rate=max_reject_rate)
    except DataError:
        storage.remove(layout.samples)
        raise
    write_rejects(job, merged.rejects)
    reasons = Counter(reject["reason"] for reject in merged.rejects)
    counts = {
        "samples": merged.samples,
        "targets": merged.targets,
        "rejects": dict(sorted(reasons.items())),
    }
    record = export_record(
        without_paths(manifest),
        images=job.plan.images,
        frame={},
        export={"settings": settings, "counts": counts},
    )
    storage.write_bytes(layout.record, record)
    info = {
        "made_with": f"hlmat {version('hlmat')}",
        **{key: manifest.config.get(key) for key in _SHOWN_SETTINGS},
    }
    name = f"{manifest.config['dataset']} ({manifest.config['split']})"
    job.folder.finish(metadata_json(name, used=merged.used, info=info))
    return counts


def _samples_file(job: FiftyOneJob, merged: _Merged) -> Iterator[bytes]:
    """Yield the pieces of `samples.json`, a sample in each line; add the counts to `merged`."""
    yield b'{"samples": ['
    for unit_id, path, data in unit_files(job):
        unit = UnitDocuments.from_bytes(data, name=path)
        if unit.documents:
            between = BETWEEN_ROWS if merged.samples else BETWEEN_ROWS[1:]
            yield f"{between}{unit.documents}".encode("ascii")
        merged.targets += unit.targets
        merged.samples += unit.samples
        merged.used.update(unit.used)
        merged.rejects += unit.rejects
        if unit.rejects:
            merged.with_rejects.append(unit_id)
    yield b"\n]}\n"


def _report(out: str, counts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "written": out,
        "samples": counts["samples"],
        "targets": counts["targets"],
        **({"rejected": counts["rejects"]} if counts["rejects"] else {}),
    }
