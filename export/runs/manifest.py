"""The manifest of a run: every file with its sha256, the configuration, the counts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.storage import Storage, join_under
from hlmat.transforms.dataset_io.layout import OutputLayout

MANIFEST_VERSION = 1


@dataclass(frozen=True)
class FileEntry:
    """One file as the manifest lists it.

    Attributes:
        sha256: hex digest of the content.
        size_bytes: of the content.
        rows: rows of a table; 0 for other files.
    """

    sha256: str
    size_bytes: int
    rows: int

    @classmethod
    def of(cls, data: bytes, *, rows: int) -> FileEntry:
        """Describe a file's content."""
        return cls(hashlib.sha256(data).hexdigest(), len(data), rows)


@dataclass(frozen=True)
class Manifest:
    """The files and settings of a finished run.

    Attributes:
        files: by path relative to the output folder.
        config: the configuration that the run was started with.
        counts: targets read, written and rejected.
        source: the data set's location (`data_root`) and the terms by data set (`licenses`).
    """

    files: Mapping[str, FileEntry]
    config: Mapping[str, Any]
    counts: Mapping[str, Any]
    source: Mapping[str, Any] = field(default_factory=dict)


def build_manifest(
    files: Mapping[str, FileEntry],
    config: Mapping[str, Any],
    counts: Mapping[str, Any],
    *,
    source: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the manifest as JSON; the same content gives the same bytes, at any time."""
    content = {
        "manifest_version": MANIFEST_VERSION,
        "files": {
            path: {"sha256": entry.sha256, "bytes": entry.size_bytes, "rows": entry.rows}
            for path, entry in files.items()
        },
        "config": config,
        "counts": counts,
        "source": source or {},
    }
    return (json.dumps(content, sort_keys=True, indent=2) + "\n").encode()


def read_manifest(storage: Storage, out: str) -> Manifest:
    """Read the manifest of a finished run.

    Raises:
        DataError: the manifest is missing (the run is unfinished) or malformed.
    """
    path = OutputLayout(out).manifest
    try:
        data = storage.read_bytes(path)
    except FileNotFoundError as error:
        raise DataError(_why_missing(storage, out)) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    try:
        content = json.loads(data)
        version = content["manifest_version"]
        if version != MANIFEST_VERSION:
            raise DataError(
                f"{path}: manifest version {version!r}, expected {MANIFEST_VERSION}; read it with "
                "the hlmat that wrote it, or run again with --overwrite"
            )
        return Manifest(
            files={
                name: FileEntry(str(entry["sha256"]), int(entry["bytes"]), int(entry["rows"]))
                for name, entry in content["files"].items()
            },
            config=dict(content["config"]),
            counts=dict(content["counts"]),
            source=dict(content["source"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is not a manifest ({type(error).__name__}: {error}); run again with "
            "--overwrite"
        ) from error


def read_listed_file(storage: Storage, out: str, name: str, entry: FileEntry) -> bytes:
    """Read a file of a run and check it against the manifest.

    Raises:
        DataError: the file is missing, unreadable, of another size or sha256, or outside the
            run's folder.
    """
    path = join_under(out, name)
    try:
        data = storage.read_bytes(path)
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is listed in the manifest but missing; run again with --overwrite"
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    seen = FileEntry.of(data, rows=entry.rows)
    if seen != entry:
        raise DataError(
            f"{path} is not the file that the manifest lists: {seen.size_bytes} bytes with sha256 "
            f"{seen.sha256}, expected {entry.size_bytes} with {entry.sha256}; it was changed or "
            "damaged: run again with --overwrite"
        )
    return data


def verify(storage: Storage, out: str, manifest: Manifest) -> None:
    """Read every file of a run and check it against the manifest.

    Raises:
        DataError: with a line for each file that differs from the manifest.
    """
    problems = []
    for name, entry in manifest.files.items():
        try:
            read_listed_file(storage, out, name, entry)
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))


def _why_missing(storage: Storage, out: str) -> str:
    layout = OutputLayout(out)
    if storage.is_file(layout.run):
        return (
            f"{layout.manifest} is missing: the run in {out} is not finished; repeat "
            "the command that started it"
        )
    there = ", ".join(storage.list_dir(out)[:8]) or "nothing"
    return (
        f"{layout.manifest} is missing: {out} is not the output of a finished run (found: "
        f"{there}); give the folder that was the --out of `hlmat trajectories`"
    )
