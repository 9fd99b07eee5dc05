"""Retry the rejects of a run: everything else is kept, and the bytes are those of a new run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from hlmat.export.runs.manifest import Manifest
from hlmat.export.runs.trajectories import read_rejects, read_trajectories
from hlmat.pipelines.run.folder import RunFolder
from hlmat.transforms.core.errors import DataError, OutputError
from hlmat.transforms.core.records import TargetRef, Trajectory
from hlmat.transforms.dataset_io.arrow import row_to_trajectory
from hlmat.transforms.dataset_io.layout import UNIT_SUFFIX
from hlmat.transforms.dataset_io.unit_files import unit_from_bytes, unit_to_bytes
from hlmat.transforms.dataset_io.work_units import WorkUnit, unit_from_json


def keep_finished(folder: RunFolder, manifest: Manifest, *, fingerprint: str) -> None:
    """Turn a finished run into an unfinished one in which only the rejects remain.

    Args:
        folder: its plan is written.
        manifest: the finished run's manifest.
        fingerprint: the run's fingerprint.
    """
    out, storage = folder.layout.out, folder.storage
    rejected = {r.ref.target_id for r in read_rejects(storage, out, manifest=manifest)}
    trajectories = read_trajectories(storage, out, manifest=manifest)
    _keep(folder, trajectories, lacks=rejected.__contains__, fingerprint=fingerprint)


def keep_unfinished(folder: RunFolder, *, fingerprint: str) -> None:
    """Split the finished units of a run that contain rejects or are now planned differently.

    Args:
        folder: its plan is written.
        fingerprint: the run's fingerprint.
    """
    layout, storage = folder.layout, folder.storage
    planned = {layout.unit_file(unit.unit_id) for unit in _planned_units(folder)}
    loose: dict[str, Trajectory] = {}
    old = []
    for name in storage.list_dir(layout.units):
        # Those of earlier versions count as not done.
        if not name.endswith(UNIT_SUFFIX):
            continue
        path = f"{layout.units}/{name}"
        table = _unit_table(folder, path)
        if path in planned and table["reject"].null_count == table.num_rows:
            continue
        old.append(path)
        rows = (row for row in table["trajectory"].to_pylist() if row is not None)
        loose.update((row["target_id"], row_to_trajectory(row)) for row in rows)
    for path in old:
        storage.remove(path)
    _keep(folder, iter(loose.values()), lacks=lambda i: i not in loose, fingerprint=fingerprint)


def _keep(
    folder: RunFolder,
    trajectories: Iterator[Trajectory],
    *,
    lacks: Callable[[str], bool],
    fingerprint: str,
) -> None:
    """Write the trajectories to files of the planned units.

    A unit is done if all of its targets have one. The trajectories of any other unit are put where
    the workers find them, so that only its other targets are retried.
    """
    layout, storage = folder.layout, folder.storage
    # Trajectories come nearly in the plan's order, so few wait.
    waiting: dict[str, Trajectory] = {}
    done = {f"{layout.units}/{name}" for name in storage.list_dir(layout.units)}
    for unit in _planned_units(folder):
        if layout.unit_file(unit.unit_id) in done:
            continue
        ids = [i.target_id for i in unit.items if isinstance(i, TargetRef)]
        wanted = {target_id for target_id in ids if not lacks(target_id)}
        while not wanted <= waiting.keys():
            trajectory = next(trajectories, None)
            if trajectory is None:
                break
            waiting[trajectory.target.ref.target_id] = trajectory
        found = [waiting.pop(target_id) for target_id in ids if target_id in waiting]
        if found:
            is_done = len(found) == len(unit.items)
            place = layout.unit_file if is_done else layout.known_file
            data = unit_to_bytes(found, fingerprint=fingerprint)
            storage.write_bytes(place(unit.unit_id), data)


def _planned_units(folder: RunFolder) -> Iterator[WorkUnit]:
    for name in folder.storage.list_dir(folder.layout.plan):
        if not name.endswith(".jsonl"):
            continue
        data = folder.storage.read_bytes(f"{folder.layout.plan}/{name}")
        yield from map(unit_from_json, data.decode("utf-8").splitlines())


def _unit_table(folder: RunFolder, path: str) -> pa.Table:
    try:
        return unit_from_bytes(folder.storage.read_bytes(path), name=path)
    except DataError as error:
        raise OutputError(f"{error}; remove it and run the same command again") from error
