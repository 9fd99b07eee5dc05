"""The output folder of a run: begin, resume, refuse, finish."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from hlmat.transforms.core.errors import OutputError
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.dataset_io.layout import OutputLayout


class RunStatus(Enum):
    """What the output folder holds."""

    NEW = "new"
    RESUMED = "resumed"
    COMPLETE = "complete"


@dataclass(frozen=True)
class RunFolder:
    """One run's folder. A run's configuration is written first, its manifest last."""

    layout: OutputLayout
    storage: Storage

    def begin(self, config: Mapping[str, Any], *, overwrite: bool) -> RunStatus:
        """Claim the folder for a configuration.

        Args:
            config: plain JSON values, everything that can change a result.
            overwrite: first remove what an earlier run left.

        Raises:
            OutputError: the folder is not writable, or holds a run of another configuration.
        """
        if overwrite:
            self._clear()
        manifest = self._read(self.layout.manifest)
        if manifest is not None:
            self._refuse_other(manifest.get("config"), config)
            return RunStatus.COMPLETE
        run = self._read(self.layout.run)
        if run is not None:
            self._refuse_other(run.get("config"), config)
            return RunStatus.RESUMED
        leftovers = [
            name
            for name in self.storage.list_dir(self.layout.out)
            if name in ("trajectories/", "rejects/", "units/", "plan/")
        ]
        if leftovers:
            raise OutputError(
                f"{self.layout.out} holds {', '.join(leftovers)} but neither run.json nor "
                "manifest.json says what made them; choose another --out, or pass --overwrite to "
                "remove them"
            )
        self._write_run({"config": config})
        return RunStatus.NEW

    def note_targets(self, config: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
        """Compare the listed targets with those that the run began with.

        Args:
            config: as given to `begin`.
            targets: their number and digest.

        Raises:
            OutputError: the data set has changed since the run began.
        """
        run = self._read(self.layout.run) or {}
        before = run.get("targets")
        if before is not None and before != targets:
            raise OutputError(
                f"the data set has changed since the run in {self.layout.out} began: it had "
                f"{before.get('count')} targets (digest {str(before.get('sha256'))[:12]}), now "
                f"{targets.get('count')} (digest {str(targets.get('sha256'))[:12]}); restore it, "
                "choose another --out, or pass --overwrite"
            )
        if before is None:
            self._write_run({"config": config, "targets": targets})

    def failures(self) -> list[str]:
        """Return why units died in the last attempt, one text per unit."""
        notes = []
        for name in self.storage.list_dir(self.layout.failures):
            note = self._read(f"{self.layout.failures}/{name}") or {}
            notes.append(f"unit {note.get('index')}: {' '.join(note.get('error', []))}")
        return notes

    def forget_failures(self) -> None:
        """Remove the notes of an earlier attempt."""
        self.storage.remove_dir(self.layout.failures)

    def finish(self, manifest: bytes) -> None:
        """Write the manifest, then remove what only an unfinished run needs."""
        self.storage.write_bytes(self.layout.manifest, manifest)
        self.clear_working_files()

    def clear_working_files(self) -> None:
        """Remove the plan, the unit files and the record of the unfinished run."""
        self.storage.remove(self.layout.run)
        for folder in (self.layout.plan, self.layout.units, self.layout.failures):
            self.storage.remove_dir(folder)

    def _clear(self) -> None:
        for name in (self.layout.manifest, self.layout.data_card):
            self.storage.remove(name)
        for folder in ("trajectories", "rejects"):
            self.storage.remove_dir(f"{self.layout.out}/{folder}")
        self.clear_working_files()

    def _refuse_other(self, before: Any, config: Mapping[str, Any]) -> None:
        if before == config:
            return
        known: dict[str, Any] = before if isinstance(before, dict) else {}
        differing = [
            f"  {key}: it was {json.dumps(known.get(key))}, now {json.dumps(config.get(key))}"
            for key in sorted({*config, *known})
            if known.get(key) != config.get(key)
        ]
        raise OutputError(
            f"{self.layout.out} holds a run with another configuration:\n"
            + "\n".join(differing)
            + "\nchoose another --out, repeat the run's own flags, or pass --overwrite to remove it"
        )

    def _read(self, path: str) -> dict[str, Any] | None:
        if not self.storage.is_file(path):
            return None
        try:
            content = json.loads(self.storage.read_bytes(path))
        except (ValueError, UnicodeDecodeError) as error:
            raise OutputError(
                f"{path} is not JSON ({error}); pass --overwrite to start over"
            ) from error
        if not isinstance(content, dict):
            raise OutputError(f"{path} does not hold a JSON object; pass --overwrite to start over")
        return content

    def _write_run(self, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False)
        try:
            self.storage.write_bytes(self.layout.run, text.encode())
        except OSError as error:
            raise OutputError(
                f"{self.layout.out} cannot be written: {error}; check --out, permissions and space"
            ) from error
