"""`--exclude` and `--min-iou`: the targets that are left out of an export."""

from __future__ import annotations

from collections.abc import Sequence

from hlmat.export.llama_factory.paired_runs import key_of
from hlmat.export.runs.flags import KEY_COLUMNS, Key, TargetFlags, load_flags
from hlmat.export.runs.manifest import Manifest
from hlmat.export.runs.row_slices import TrajectoryFiles
from hlmat.pipelines.run.finished import read_run_manifest
from hlmat.pipelines.settings.export_options import ExportOptions
from hlmat.pipelines.settings.run_options import fingerprint_of
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import TargetRef
from hlmat.transforms.core.url_storage import storage_for


def excluded_targets(
    asked: ExportOptions, manifest: Manifest, *, others: Sequence[str] = ()
) -> frozenset[Key]:
    """Return the targets that `--exclude` and `--min-iou` leave out; none without these flags.

    Args:
        manifest: of the run that is exported.
        others: folders of further runs whose targets are exported, and may be named too.

    Raises:
        DataError: `--exclude` is not a file of flags or names targets that the runs lack, or
            nothing is left of a run.
    """
    if asked.exclude is None and asked.min_iou is None:
        return frozenset()
    ious: dict[str, dict[Key, float]] = {}
    rejects: list[Key] = []
    runs = [(str(asked.run_folder), manifest), *((out, read_run_manifest(out)) for out in others)]
    for out, each in runs:
        storage = storage_for(out)
        ious[out] = _final_ious(TrajectoryFiles.of(storage, out, each))
        rejects += _keys(TrajectoryFiles.of_rejects(storage, out, each))
    excluded: frozenset[Key] = frozenset()
    if asked.exclude is not None:
        flags = load_flags(storage_for(asked.exclude), asked.exclude)
        every = [key for of_run in ious.values() for key in of_run]
        found = TargetFlags(flags, (*every, *rejects), name=asked.exclude, run=" or ".join(ious))
        excluded = found.dropped
        for out, of_run in ious.items():
            if excluded.issuperset(of_run):
                raise DataError(
                    f"--exclude {asked.exclude} drops every target of {out}; leave some"
                )
    if (least := asked.min_iou) is not None:
        for out, of_run in ious.items():
            excluded |= {key for key, iou in of_run.items() if iou < least}
            if excluded.issuperset(of_run):
                raise DataError(
                    f"--min-iou {least:g} leaves no target of {out}: its highest last IoU is "
                    f"{max(of_run.values()):.3f}; give a lower value"
                )
    return excluded


def excluded_setting(excluded: frozenset[Key]) -> dict[str, str]:
    """Return the setting of an export that leaves targets out; none if all are exported."""
    if not excluded:
        return {}
    return {"excluded": fingerprint_of({"targets": sorted(excluded)})}


def key_of_ref(ref: TargetRef) -> Key:
    """Return the key under which flags know a target."""
    return ref.dataset, ref.split, ref.target_id


def _final_ious(files: TrajectoryFiles) -> dict[Key, float]:
    columns = (*KEY_COLUMNS, "final_iou")
    return {key_of(row): row["final_iou"] for _, _, rows in files.columns(columns) for row in rows}


def _keys(files: TrajectoryFiles) -> list[Key]:
    return [key_of(row) for _, _, rows in files.columns(KEY_COLUMNS) for row in rows]
