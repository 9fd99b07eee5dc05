"""The output folder of an export of any format: begin, resume, refuse, finish."""

from __future__ import annotations

import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from hlmat.export.fiftyone.layout import FiftyOneLayout
from hlmat.export.image_tables.layout import TableLayout
from hlmat.export.llama_factory.layout import DATASET_INFO, ExportLayout, WorkingLayout
from hlmat.export.llama_factory.writer import not_empty
from hlmat.pipelines.run.folder import RunStatus
from hlmat.transforms.core.errors import OutputError
from hlmat.transforms.core.folder_lock import LOCK_NAME, locked_folder
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.core.url_storage import storage_for

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_IMAGE_FOLDER = re.compile(r"[0-9a-f]{2}/")
_IMAGE = re.compile(r"[0-9a-f]{24}-.*")
"""Names of images, as `image_name` and `stored_name` of `export` make them."""


@dataclass(frozen=True)
class ExportFolder(ABC):
    """One export's folder. Its settings are written first, the file `last` last."""

    layout: WorkingLayout
    storage: Storage

    @property
    @abstractmethod
    def last(self) -> str:
        """The path of the file that is written last."""

    @abstractmethod
    def remove_files(self, settings: Mapping[str, Any]) -> None:
        """Remove the files of an export with these settings, all but `last` and the record."""

    @abstractmethod
    def foreign_entries(self, settings: Mapping[str, Any]) -> list[str]:
        """Return what lies among the files of an export without being one of them."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other exports out of a local folder while the body runs; leave no empty folder.

        Raises:
            OutputError: another export works in the folder, or it cannot be written.
        """
        if "://" in self.layout.out:
            yield
            return
        out = self.layout.out
        if os.path.lexists(out) and not os.path.isdir(out):
            raise not_empty(out)
        try:
            with locked_folder(out):
                self.storage.remove_dir(self.layout.scratch)
                yield
        finally:
            with suppress(OSError):
                os.rmdir(out)

    def begin(self, settings: Mapping[str, Any], *, overwrite: bool) -> RunStatus:
        """Claim the folder.

        Args:
            settings: plain JSON values, everything that can change a byte.
            overwrite: remove an earlier export first.

        Raises:
            OutputError: the folder is not writable, holds another export, or something else.
        """
        if overwrite:
            self.clear()
        begun = self.read(self.layout.run)
        if begun is not None:
            self._refuse_other(begun, settings)
            return RunStatus.RESUMED
        if self.storage.is_file(self.last):
            made = (self.read(self.layout.record) or {}).get("export")
            if isinstance(made, dict):
                self._refuse_other(made.get("settings"), settings)
                return RunStatus.COMPLETE
        if [name for name in self.storage.list_dir(self.layout.out) if name != LOCK_NAME]:
            raise not_empty(self.layout.out)
        self.storage.write_bytes(self.layout.run, _json(settings))
        return RunStatus.NEW

    def counts(self) -> Mapping[str, Any]:
        """Return the counts of a finished export."""
        record = self.read(self.layout.record) or {}
        return record["export"]["counts"]

    def earlier(self, name: str) -> Any:
        """Return a setting of the export that the folder holds, None if it holds none."""
        return (self._earlier_settings() or {}).get(name)

    def failures(self) -> list[str]:
        """Return why units died in this attempt, one text each."""
        notes = [
            self.read(f"{self.layout.failures}/{name}") or {}
            for name in self.storage.list_dir(self.layout.failures)
        ]
        return [f"unit {note.get('index')}: {note.get('cause')}" for note in notes]

    def finish(self, last: bytes) -> None:
        """Write the last file, then remove what only an unfinished export needs."""
        self.storage.write_bytes(self.last, last)
        self._clear_working_files()

    def clear(self) -> None:
        """Remove an earlier export, finished or not, and nothing else.

        What tells that the folder holds an export goes last, so that a call that was killed here
        can be repeated.

        Raises:
            OutputError: other files lie among those of the export.
        """
        layout, settings = self.layout, self._earlier_settings()
        if settings is None:
            return
        if foreign := self.foreign_entries(settings):
            raise OutputError(
                f"{layout.out} also holds {', '.join(foreign[:3])}"
                f"{' and more' if foreign[3:] else ''}, which the export did not write; move "
                "that elsewhere, or choose another --out"
            )
        # First: from here on the folder holds no finished export.
        self.storage.remove(self.last)
        self.remove_files(settings)
        self._clear_working_files()
        self.storage.remove(layout.record)

    def is_own(self, settings: Mapping[str, Any]) -> bool:
        """Return whether settings are those of an export of this format."""
        return {"name", "run", "version"} <= settings.keys() and _is_name(settings["name"])

    def read(self, path: str) -> dict[str, Any] | None:
        """Return the JSON object in a file, None without the file. Raises OutputError."""
        if not self.storage.is_file(path):
            return None
        try:
            content = json.loads(self.storage.read_bytes(path))
        except ValueError as error:
            raise OutputError(
                f"{path} is not JSON ({error}); remove it, or give another --out"
            ) from error
        if not isinstance(content, dict):
            raise OutputError(f"{path} does not hold a JSON object; remove it")
        return content

    def foreign_at_top(self, own: Sequence[str]) -> list[str]:
        """Return what the folder holds besides the paths of an export's own entries."""
        layout = self.layout
        paths = {*own, self.last, layout.record, layout.rejects, layout.engine_log}
        paths.add(f"{layout.working}/")
        names = {path.removeprefix(f"{layout.out.rstrip('/')}/") for path in paths} | {LOCK_NAME}
        return [entry for entry in self.storage.list_dir(layout.out) if entry not in names]

    def foreign_images(self, images: str) -> list[str]:
        """Return what lies in a folder of images under names that no export gives."""
        list_dir, top = self.storage.list_dir, os.path.basename(images)
        foreign = []
        for folder in list_dir(images):
            if not _IMAGE_FOLDER.fullmatch(folder):
                foreign.append(f"{top}/{folder}")
                continue
            names = list_dir(f"{images}/{folder.rstrip('/')}")
            foreign += [f"{top}/{folder}{each}" for each in names if not _IMAGE.fullmatch(each)]
        return foreign

    def _clear_working_files(self) -> None:
        if "://" not in self.layout.out:
            self.storage.remove(self.layout.engine_log)
        self.storage.remove_dir(self.layout.working)

    def _earlier_settings(self) -> dict[str, Any] | None:
        """Return the settings of the export that the folder holds, None if it holds none."""
        made = (self.read(self.layout.record) or {}).get("export")
        finished = made.get("settings") if isinstance(made, dict) else None
        for settings in (self.read(self.layout.run), finished):
            if isinstance(settings, dict) and {"name", "run", "version"} <= settings.keys():
                return settings if self.is_own(settings) else None
        return None

    def _refuse_other(self, before: Any, settings: Mapping[str, Any]) -> None:
        if before == json.loads(_json(settings)):
            return
        known: dict[str, Any] = before if isinstance(before, dict) else {}
        differing = [
            f"  {key}: it was {json.dumps(known.get(key))}, now {json.dumps(settings.get(key))}"
            for key in sorted({*settings, *known})
            if known.get(key) != json.loads(json.dumps(settings.get(key)))
        ]
        raise OutputError(
            f"{self.layout.out} holds an export with other settings:\n"
            + "\n".join(differing)
            + "\nchoose another --out, repeat the export's own flags, or pass --overwrite to "
            "remove it"
        )


@dataclass(frozen=True)
class LlamaFactoryFolder(ExportFolder):
    """The folder of an export for LLaMA-Factory."""

    layout: ExportLayout

    @classmethod
    def of(cls, out: str) -> LlamaFactoryFolder:
        """Return the folder at a local path or URL."""
        layout = ExportLayout(out)
        return cls(layout, storage_for(out, scratch=layout.scratch))

    @property
    def last(self) -> str:
        return self.layout.dataset_info

    def is_own(self, settings: Mapping[str, Any]) -> bool:
        return super().is_own(settings) and "format" not in settings

    def remove_files(self, settings: Mapping[str, Any]) -> None:
        self.storage.remove_dir(self.layout.images)
        for path in (self.layout.rows(settings["name"]), self.layout.rejects):
            self.storage.remove(path)

    def foreign_entries(self, settings: Mapping[str, Any]) -> list[str]:
        layout, name = self.layout, settings["name"]
        foreign = self.foreign_at_top([layout.rows(name), f"{layout.images}/"])
        listed = self.read(layout.dataset_info) or {}
        foreign += [f"{DATASET_INFO}: {key}" for key in listed if key != name]
        return foreign + self.foreign_images(layout.images)


@dataclass(frozen=True)
class FiftyOneFolder(ExportFolder):
    """The folder of an export for FiftyOne."""

    layout: FiftyOneLayout

    @classmethod
    def of(cls, out: str) -> FiftyOneFolder:
        """Return the folder at a local path or URL."""
        layout = FiftyOneLayout(out)
        return cls(layout, storage_for(out, scratch=layout.scratch))

    @property
    def last(self) -> str:
        return self.layout.metadata

    def is_own(self, settings: Mapping[str, Any]) -> bool:
        return super().is_own(settings) and settings.get("format") == "fiftyone"

    def remove_files(self, settings: Mapping[str, Any]) -> None:
        self.storage.remove_dir(self.layout.images)
        for path in (self.layout.samples, self.layout.rejects):
            self.storage.remove(path)

    def foreign_entries(self, settings: Mapping[str, Any]) -> list[str]:
        layout = self.layout
        foreign = self.foreign_at_top([layout.samples, f"{layout.images}/"])
        return foreign + self.foreign_images(layout.images)


@dataclass(frozen=True)
class TableFolder(ExportFolder):
    """The folder of an export as tables.

    Attributes:
        format: name of the format; an export of another one is not removed.
    """

    layout: TableLayout
    format: str

    @classmethod
    def of(cls, layout: TableLayout, *, format: str) -> TableFolder:
        """Return the folder at the layout's local path or URL."""
        return cls(layout, storage_for(layout.out, scratch=layout.scratch), format)

    @property
    def last(self) -> str:
        return self.layout.last

    def is_own(self, settings: Mapping[str, Any]) -> bool:
        return super().is_own(settings) and settings.get("format") == self.format

    def remove_files(self, settings: Mapping[str, Any]) -> None:
        for folder in self.layout.folders:
            self.storage.remove_dir(self.layout.path(folder))
        for name in self.layout.names:
            self.storage.remove(self.layout.path(name))
        self.storage.remove(self.layout.rejects)

    def foreign_entries(self, settings: Mapping[str, Any]) -> list[str]:
        layout = self.layout
        own = [layout.path(name) for name in layout.names]
        foreign = self.foreign_at_top([*own, *(f"{layout.path(f)}/" for f in layout.folders)])
        for folder in layout.folders:
            names = self.storage.list_dir(layout.path(folder))
            foreign += [f"{folder}/{name}" for name in names if not layout.is_shard(name)]
        return foreign


def _is_name(value: Any) -> bool:
    return _NAME.fullmatch(str(value)) is not None


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, sort_keys=True, indent=1) + "\n").encode("ascii")
