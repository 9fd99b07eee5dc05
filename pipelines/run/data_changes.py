"""Changes in a data set since a run was made from it, target by target and file by file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from hlmat.export.runs.manifest import Manifest
from hlmat.export.runs.trajectories import read_rejects, read_trajectories
from hlmat.pipelines.run.folder import RunFolder
from hlmat.pipelines.run.inputs import InputChanges, Inputs, files_of
from hlmat.transforms.core.errors import DataError, OutputError
from hlmat.transforms.core.records import Reject, RejectReason
from hlmat.transforms.dataset_io.unit_files import unit_from_bytes
from hlmat.transforms.dataset_io.work_units import WorkItem, ref_of, unit_from_json

_SHOWN = 4
_MISSING = (RejectReason.MISSING_IMAGE, RejectReason.MISSING_MASK)


@dataclass(frozen=True)
class ListedTarget:
    """A target as it was listed.

    Attributes:
        key: digest of everything that the data set says about it.
        files: the files of its pixels.
        is_missing: whether it was rejected because one of its files is missing.
    """

    key: str
    files: tuple[str, ...]
    is_missing: bool


@dataclass(frozen=True)
class EarlierRun:
    """The data that a run in the folder was made from.

    Attributes:
        targets: as listed, by id.
        rejected: ids of the targets that were rejected.
    """

    targets: Mapping[str, ListedTarget]
    rejected: frozenset[str]


@dataclass(frozen=True)
class DataChanges:
    """Differences between a run's data set and the current one; targets by id, files by path.

    Attributes:
        lost: targets that no longer exist, or whose files no longer exist.
        files: files whose content differs, or that were read for the listing and are gone.
        of_rejects: whether all changes concern targets that the run rejected.
    """

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    of_rejects: bool = False

    @property
    def blocks(self) -> bool:
        """Whether the current data invalidates the run's results; missing files do not matter."""
        return bool(self.new or self.changed or self.files)

    def error(self, out: str, *, retries: bool) -> OutputError:
        """Return the error for changes that block a run.

        Args:
            out: the run's folder.
            retries: whether its rejects were to be tried again.
        """
        way_out = "restore the data, choose another --out, or pass --overwrite to remove the run"
        if self.of_rejects and not retries:
            way_out = (
                "only rejected targets are concerned: add --retry-rejects to try these again, "
                "choose another --out, or pass --overwrite to remove the run"
            )
        elif retries:
            way_out = f"--retry-rejects keeps what was not rejected: {way_out}"
        return OutputError(f"{out} holds a run over other data: {self.describe()}; {way_out}")

    def describe(self) -> str:
        """Return the changes as one line."""
        kinds = (
            (self.files, "file", "changed"),
            (self.new, "target", "new"),
            (self.changed, "target", "changed"),
            (self.lost, "target", "gone"),
        )
        return ", ".join(
            f"{len(names)} {thing}{'s' if len(names) > 1 else ''} {what} ({_shown(names)})"
            for names, thing, what in kinds
            if names
        )


def compare_data(
    earlier: EarlierRun, items: Iterable[WorkItem], files: InputChanges
) -> DataChanges:
    """Compare a run's targets and files with those of the current listing.

    If each expression is a separate target, a reject still stands for the whole object: it has the
    id of the targets without ``@k``.
    """
    new, changed, lost, seen = [], [], [], set()
    objects = {target_id.rpartition("@")[0] for target_id in earlier.targets}
    for item in items:
        target_id = ref_of(item).target_id
        before, now = earlier.targets.get(target_id), _listed(item)
        seen.add(target_id)
        of_object = target_id.rpartition("@")[0]
        if before is None and now.is_missing and target_id in objects:
            continue
        if before is None and of_object in earlier.rejected:
            changed.append(of_object)
            seen.add(of_object)
        elif before is None:
            new.append(target_id)
        elif now.is_missing and not before.is_missing:
            lost.append(target_id)
        elif now.key != before.key or now.is_missing != before.is_missing:
            changed.append(target_id)
    lost += [target_id for target_id in earlier.targets if target_id not in seen]
    kept = {
        file
        for target_id, target in earlier.targets.items()
        if target_id not in earlier.rejected
        for file in target.files
    }
    of_pixels = {file for target in earlier.targets.values() for file in target.files}
    edited = [*files.changed, *(file for file in files.gone if file not in of_pixels)]
    return DataChanges(
        tuple(new),
        tuple(dict.fromkeys(changed)),
        tuple(lost),
        tuple(edited),
        of_rejects=not new
        and earlier.rejected.issuperset(changed)
        and kept.isdisjoint(edited)
        and of_pixels.issuperset(edited),
    )


def planned_run(folder: RunFolder) -> EarlierRun:
    """Return the data of an unfinished run, from its plan and its finished units."""
    layout, storage = folder.layout, folder.storage
    targets: dict[str, ListedTarget] = {}
    rejected: set[str] = set()
    for name in storage.list_dir(layout.plan):
        if not name.endswith(".jsonl"):
            continue
        lines = storage.read_bytes(f"{layout.plan}/{name}").decode("utf-8").splitlines()
        for unit in map(unit_from_json, lines):
            for item in unit.items:
                targets[ref_of(item).target_id] = _listed(item)
                if isinstance(item, Reject):
                    rejected.add(ref_of(item).target_id)
    for name in storage.list_dir(layout.units):
        try:
            table = unit_from_bytes(storage.read_bytes(f"{layout.units}/{name}"), name=name)
        except DataError:
            # Reported, with advice, when the final files are made.
            continue
        rejected.update(table.filter(table["reject"].is_valid())["target_id"].to_pylist())
    return EarlierRun(targets, frozenset(rejected))


def finished_run(folder: RunFolder, manifest: Manifest) -> EarlierRun:
    """Return the data of a finished run, from its trajectories and rejects."""
    out, storage = folder.layout.out, folder.storage
    targets = {
        t.target.ref.target_id: _listed(t.target.ref)
        for t in read_trajectories(storage, out, manifest=manifest)
    }
    rejects = {r.ref.target_id: _listed(r) for r in read_rejects(storage, out, manifest=manifest)}
    return EarlierRun({**targets, **rejects}, frozenset(rejects))


def changed_inputs(before: Inputs, now: InputChanges) -> Inputs:
    """Return the digests that are still valid."""
    other = {*now.changed, *now.gone}
    return {path: entry for path, entry in before.items() if path not in other}


def _listed(item: WorkItem) -> ListedTarget:
    ref = ref_of(item)
    text = json.dumps(asdict(ref), sort_keys=True, ensure_ascii=False, default=list)
    # The tables store names that are not valid Unicode in the same way.
    data = text.encode("utf-8", "backslashreplace")
    return ListedTarget(
        hashlib.sha256(data).hexdigest()[:24],
        tuple(files_of(ref)),
        isinstance(item, Reject) and item.reason in _MISSING,
    )


def _shown(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
