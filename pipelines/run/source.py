"""The input data of a run: listed, recorded, and compared when the run is resumed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hlmat.export.runs.manifest import Manifest, read_listed_file, read_manifest
from hlmat.pipelines.run.data_changes import (
    DataChanges,
    EarlierRun,
    changed_inputs,
    compare_data,
    finished_run,
    planned_run,
)
from hlmat.pipelines.run.folder import RunFolder, RunStatus
from hlmat.pipelines.run.inputs import (
    InputChanges,
    Inputs,
    changes_of,
    inputs_from_bytes,
    inputs_to_bytes,
    now,
    take_inputs,
)
from hlmat.pipelines.run.planning import Plan, listed_items, reading_errors, write_plan
from hlmat.pipelines.run.retry import keep_finished, keep_unfinished
from hlmat.pipelines.settings.run_options import RunConfig
from hlmat.transforms.core.garbage import no_cycle_search
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.core.url_storage import forget_kept
from hlmat.transforms.readers.files.read_log import ReadLog
from hlmat.transforms.readers.registry import open_reader


@dataclass(frozen=True)
class RunSource:
    """The data set of a run.

    Attributes:
        log: the files that the reader read while it listed the targets.
        opened_at: when the listing began, in seconds since the epoch.
    """

    config: RunConfig
    reader: DatasetReader
    log: ReadLog
    opened_at: float

    @classmethod
    def open(cls, config: RunConfig) -> RunSource:
        """Open the data set of a configuration.

        Raises:
            ConfigError: something requested is missing.
            DataError: the data set cannot be read.
        """
        opened_at = now()
        # An earlier run in this process may have cached data that has changed since.
        forget_kept()
        log = ReadLog(config.reader.storage)
        with reading_errors(config):
            reader = open_reader(config.dataset, replace(config.reader, storage=log))
        return cls(config, reader, log, opened_at)

    def check_finished(
        self, folder: RunFolder, *, settings: Mapping[str, Any], fingerprint: str
    ) -> tuple[Plan | None, list[str]]:
        """Compare the data with that of a finished run; prepare its rejects if they are retried.

        Returns:
            The plan of the remaining work, None if there is none; remarks.

        Raises:
            OutputError: the data changed, so the run's results are not valid for it.
        """
        out = folder.layout.out
        manifest = read_manifest(folder.storage, out)
        listing = manifest.source.get("listing")
        plan = self._plan(fingerprint, folder=None)
        inputs, taken_at = _finished_inputs(folder, manifest)
        files = self._file_changes(inputs, taken_at)
        is_same = listing in (None, _noted(plan)) and files == InputChanges()
        changes = DataChanges()
        if not is_same:
            changes = self._changes(finished_run(folder, manifest), files)
            self._refuse(changes, out)
        remarks = [_lost(changes)] if changes.lost else []
        if not self.config.retry_rejects:
            return None, remarks
        if not manifest.counts["rejects"]:
            return None, [*remarks, "--retry-rejects: the run has no rejects"]
        folder.clear_working_files()
        plan = self._plan(fingerprint, folder=folder)
        keep_finished(folder, manifest, fingerprint=fingerprint)
        self._record(folder, plan, known=changed_inputs(inputs, files))
        folder.reopen(settings, _noted(plan))
        return plan, remarks

    def plan_run(
        self,
        folder: RunFolder,
        *,
        status: RunStatus,
        settings: Mapping[str, Any],
        fingerprint: str,
    ) -> tuple[Plan, list[str]]:
        """Plan a new run, or the rest of an unfinished one; return remarks too.

        Raises:
            DataError: there are no targets.
            OutputError: the data changed since the run began.
        """
        noted = folder.noted_targets() if status is RunStatus.RESUMED else None
        if noted is None:
            plan = self._plan(fingerprint, folder=folder)
            self._record(folder, plan, known={})
            folder.note_targets(settings, _noted(plan))
            return plan, []
        folder.remove_final_files()
        plan = self._plan(fingerprint, folder=None)
        inputs, taken_at = _planned_inputs(folder)
        files = self._file_changes(inputs, taken_at)
        remarks = []
        if noted != _noted(plan) or files != InputChanges():
            changes = self._changes(planned_run(folder), files)
            self._refuse(changes, folder.layout.out)
            remarks += [_lost(changes)] if changes.lost else []
            folder.storage.remove_dir(folder.layout.plan)
            plan = self._plan(fingerprint, folder=folder)
            self._record(folder, plan, known=changed_inputs(inputs, files))
            folder.note_targets(settings, _noted(plan))
        if self.config.retry_rejects:
            keep_unfinished(folder, fingerprint=fingerprint)
        return plan, remarks

    def _plan(self, fingerprint: str, *, folder: RunFolder | None) -> Plan:
        with no_cycle_search():
            return write_plan(self.reader, self.config, fingerprint=fingerprint, folder=folder)

    def _file_changes(self, inputs: Inputs, taken_at: float) -> InputChanges:
        options = self.config.reader
        return changes_of(
            inputs,
            root=options.data_root,
            log=self.log,
            taken_at=taken_at,
            follow_links=options.follow_links,
        )

    def _changes(self, earlier: EarlierRun, files: InputChanges) -> DataChanges:
        return compare_data(earlier, listed_items(self.reader, self.config), files)

    def _refuse(self, changes: DataChanges, out: str) -> None:
        retries = self.config.retry_rejects
        if changes.blocks and not (retries and changes.of_rejects):
            raise changes.error(out, retries=retries)

    def _record(self, folder: RunFolder, plan: Plan, *, known: Inputs) -> None:
        options = self.config.reader
        inputs = take_inputs(
            plan.inputs,
            root=options.data_root,
            log=self.log,
            known=known,
            follow_links=options.follow_links,
        )
        path = folder.layout.planned_inputs
        folder.storage.write_bytes(path, inputs_to_bytes(inputs))
        _date(path, self.opened_at)


def finish_inputs(folder: RunFolder) -> bytes | None:
    """Move the record of the files to its final path and return it; None if there are no files."""
    inputs, taken_at = _planned_inputs(folder)
    if not inputs:
        return None
    data = inputs_to_bytes(inputs)
    folder.storage.write_bytes(folder.layout.inputs, data)
    _date(folder.layout.inputs, taken_at)
    return data


def _noted(plan: Plan) -> dict[str, Any]:
    return {"count": plan.num_targets, "sha256": plan.targets_sha256}


def _planned_inputs(folder: RunFolder) -> tuple[Inputs, float]:
    path = folder.layout.planned_inputs
    if not folder.storage.is_file(path):
        return {}, 0.0
    return inputs_from_bytes(folder.storage.read_bytes(path), name=path), _dated(path)


def _finished_inputs(folder: RunFolder, manifest: Manifest) -> tuple[Inputs, float]:
    path = folder.layout.inputs
    name = os.path.basename(path)
    if name not in manifest.files:
        return {}, 0.0
    data = read_listed_file(folder.storage, folder.layout.out, name, manifest.files[name])
    return inputs_from_bytes(data, name=path), _dated(path)


def _date(path: str, seconds: float) -> None:
    """Set the modification time of a local file to the time that it records."""
    if "://" not in path and os.path.exists(path):
        os.utime(path, (seconds, seconds))


def _dated(path: str) -> float:
    return os.path.getmtime(path) if "://" not in path and os.path.exists(path) else 0.0


def _lost(changes: DataChanges) -> str:
    return (
        f"since the run began the data set has changed: {DataChanges(lost=changes.lost).describe()}"
    )
