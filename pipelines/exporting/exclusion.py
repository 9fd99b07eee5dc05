"""`--exclude`: the targets that a file of flags drops from an export."""

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
    """Return the targets that the file of `--exclude` drops; none without the flag.

    Args:
        manifest: of the run that is exported.
        others: folders of further runs whose targets are exported, and may be named too.

    Raises:
        DataError: it is not a file of flags, names targets that the runs lack, or drops all of a
            run.
    """
    if asked.exclude is None:
        return frozenset()
    flags = load_flags(storage_for(asked.exclude), asked.exclude)
    keys: dict[str, list[Key]] = {}
    rejects: list[Key] = []
    runs = [(str(asked.run_folder), manifest), *((out, read_run_manifest(out)) for out in others)]
    for out, each in runs:
        storage = storage_for(out)
        keys[out] = _keys(TrajectoryFiles.of(storage, out, each))
        rejects += _keys(TrajectoryFiles.of_rejects(storage, out, each))
    every = [key for of_run in keys.values() for key in of_run]
    found = TargetFlags(flags, (*every, *rejects), name=asked.exclude, run=" or ".join(keys))
    for out, of_run in keys.items():
        if found.dropped.issuperset(of_run):
            raise DataError(f"--exclude {asked.exclude} drops every target of {out}; leave some")
    return found.dropped


def excluded_setting(excluded: frozenset[Key]) -> dict[str, str]:
    """Return the setting of an export that leaves targets out; none if all are exported."""
    if not excluded:
        return {}
    return {"excluded": fingerprint_of({"targets": sorted(excluded)})}


def key_of_ref(ref: TargetRef) -> Key:
    """Return the key under which flags know a target."""
    return ref.dataset, ref.split, ref.target_id


def _keys(files: TrajectoryFiles) -> list[Key]:
    return [key_of(row) for _, _, rows in files.columns(KEY_COLUMNS) for row in rows]
