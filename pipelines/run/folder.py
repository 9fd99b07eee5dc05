"""The output folder of a run: begin, resume, refuse, finish."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

from hlmat.transforms.core.errors import OutputError
from hlmat.transforms.core.folder_lock import locked_folder
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.core.suggestions import setting_change
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.dataset_io.layout import OutputLayout


class RunStatus(Enum):
    """State of the output folder."""

    NEW = "new"
    RESUMED = "resumed"
    COMPLETE = "complete"


@dataclass(frozen=True)
class RunFolder:
    """One run's folder. A run's configuration is written first, its manifest last."""

    layout: OutputLayout
    storage: Storage

    @classmethod
    def of(cls, out: str) -> RunFolder:
        """Return the folder at a local path or URL; files are written elsewhere, then moved in."""
        layout = OutputLayout(out)
        return cls(layout, storage_for(out, scratch=layout.scratch))

    @contextmanager
    def locked(self, *, is_shared: bool = False) -> Iterator[None]:
        """Keep other runs out of the folder while the body runs.

        Shards of one run share the folder.

        URLs have no locks: two runs with the same configuration write the same bytes there, and
        each file appears complete; a run with another configuration is refused because of the first
        one's record.

        Raises:
            OutputError: another run is using the folder, or it cannot be written.
        """
        with ExitStack() as stack:
            if "://" not in self.layout.out:
                try:
                    stack.enter_context(locked_folder(self.layout.out, is_shared=is_shared))
                except OSError as error:
                    # A finished run is only read.
                    if not self.storage.is_file(self.layout.manifest):
                        raise _not_writable(self.layout.out, error) from error
                else:
                    if not is_shared:
                        self.storage.remove_dir(self.layout.scratch)
            yield

    def begin(self, config: Mapping[str, Any], *, overwrite: bool) -> RunStatus:
        """Claim the folder for a configuration.

        Args:
            config: plain JSON values: everything that can change a result.
            overwrite: remove an earlier run first.

        Raises:
            OutputError: the folder is not writable, or contains a run with another configuration.
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
        """Record the targets of the run.

        Args:
            config: as for `begin`.
            targets: their number and digest.
        """
        self._write_run({"config": config, "targets": targets})

    def noted_targets(self) -> Mapping[str, Any] | None:
        """Return what `note_targets` recorded; None if the run was killed before."""
        return (self._read(self.layout.run) or {}).get("targets")

    def reopen(self, config: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
        """Turn a finished run into an unfinished one whose units and plan have been written."""
        self.note_targets(config, targets)
        # Now the folder contains an unfinished run.
        self.storage.remove(self.layout.manifest)
        self.remove_final_files()

    def remove_final_files(self) -> None:
        """Remove the files that an unfinished run rebuilds from its units."""
        for path in (self.layout.data_card, self.layout.flags):
            self.storage.remove(path)
        for folder in ("trajectories", "rejects"):
            self.storage.remove_dir(f"{self.layout.out}/{folder}")

    def failures(self) -> list[str]:
        """Return why units died in the last attempt, one text per unit that is still not done."""
        notes = []
        done = {name.partition(".")[0] for name in self.storage.list_dir(self.layout.units)}
        for name in self.storage.list_dir(self.layout.failures):
            if name.partition(".")[0] in done:
                continue
            note = self._read(f"{self.layout.failures}/{name}") or {}
            cause = note.get("cause") or " ".join(note.get("error", []))
            notes.append(f"unit {note.get('index')}: {cause}")
        return notes

    def forget_failures(self) -> None:
        """Remove the notes of an earlier attempt."""
        self.storage.remove_dir(self.layout.failures)

    def finish(self, manifest: bytes) -> None:
        """Write the manifest, then remove the files that only an unfinished run needs."""
        self.storage.write_bytes(self.layout.manifest, manifest)
        self.clear_working_files()

    def clear_working_files(self) -> None:
        """Remove the plan, the unit files and the record of the unfinished run."""
        self.storage.remove(self.layout.run)
        layout = self.layout
        if "://" not in layout.out:
            self.storage.remove(layout.engine_log)
        for folder in (
            *(layout.plan, layout.units, layout.known),
            *(layout.failures, layout.scratch),
        ):
            self.storage.remove_dir(folder)

    def _clear(self) -> None:
        for name in (self.layout.manifest, self.layout.inputs):
            self.storage.remove(name)
        self.remove_final_files()
        self.clear_working_files()

    def _refuse_other(self, before: Any, config: Mapping[str, Any]) -> None:
        if before == config:
            return
        known: dict[str, Any] = before if isinstance(before, dict) else {}
        differing = [
            f"  {setting_change(key, known.get(key), config.get(key))}"
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
            raise OutputError(f"{path} is not a JSON object; pass --overwrite to start over")
        return content

    def _write_run(self, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False)
        try:
            self.storage.write_bytes(self.layout.run, text.encode())
        except OSError as error:
            raise _not_writable(self.layout.out, error) from error


def _not_writable(out: str, error: OSError) -> OutputError:
    return OutputError(f"{out} cannot be written: {error}; check --out, permissions and space")
