"""The manifest of a run: every file with its sha256, the configuration, the counts."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.storage import Storage, join_under
from hlmat.transforms.dataset_io.layout import OutputLayout

MANIFEST_VERSION = 1
_MOST_CLICKS = 100_000


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
        content = json.loads(data, parse_float=_finite, parse_constant=_finite)
        version = content["manifest_version"]
        if version != MANIFEST_VERSION:
            raise DataError(
                f"{path}: manifest version {version!r}, expected {MANIFEST_VERSION}; read it with "
                "the hlmat that wrote it, or run again with --overwrite"
            )
        for name in content["files"]:
            # Others would be passed over by what reads files of one folder.
            join_under(out, name)
        return Manifest(
            files={
                name: FileEntry(str(entry["sha256"]), int(entry["bytes"]), int(entry["rows"]))
                for name, entry in content["files"].items()
            },
            config=_Config(_checked(content["config"]), path=path),
            counts=dict(content["counts"]),
            source=dict(content["source"]),
        )
    except DataError:
        raise
    # A file that is something else can end this in any way.
    except Exception as error:
        raise DataError(
            f"{path} is not a manifest ({type(error).__name__}: {error}); run again with "
            "--overwrite"
        ) from error


class _Config(dict[str, Any]):
    """A configuration that raises DataError for a setting that it lacks."""

    def __init__(self, settings: Mapping[str, Any], *, path: str) -> None:
        super().__init__(settings)
        self._path = path

    def __missing__(self, name: str) -> Any:
        raise DataError(
            f"{self._path}: its configuration has no {name!r}; read it with the hlmat that wrote "
            "it, or run again with --overwrite"
        )

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


def _checked(config: Any) -> dict[str, Any]:
    """Return a configuration whose known settings are of their types. Raises ValueError."""
    for name, is_right in _SETTINGS.items():
        if name in config and not is_right(config[name]):
            raise ValueError(f"{name} is {config[name]!r:.60}")
    return dict(config)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]}")
    return value


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_fraction(value: object) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value <= 1)  # type: ignore[operator]


def _is_segmenter(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str)


def _is_first_mask(value: object) -> bool:
    return value is None or (isinstance(value, dict) and "corrupted_to" in value)


_SETTINGS: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("dataset", "split", "policy", "initial_action"), _is_text),
    **dict.fromkeys(
        ("expressions", "split_by", "annotations", "mask_values", "columns"),
        lambda value: value is None or isinstance(value, str),
    ),
    **dict.fromkeys(("target_iou", "stop_at_score"), _is_fraction),
    "max_clicks": lambda value: type(value) is int and 0 <= value <= _MOST_CLICKS,
    "stop_on_no_gain": lambda value: isinstance(value, bool),
    "seed": lambda value: type(value) is int and value >= 0,
    "segmenter": _is_segmenter,
    "first_mask": _is_first_mask,
    "shapes": lambda value: value is None or isinstance(value, dict),
    "derived": lambda value: isinstance(value, list) and all(isinstance(v, dict) for v in value),
}


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
    if not storage.is_dir(out):
        return f"{out}: no such folder; give the --out of a finished `hlmat trajectories`"
    there = ", ".join(storage.list_dir(out)[:8]) or "nothing"
    return (
        f"{layout.manifest} is missing: {out} is not the output of a finished run (found: "
        f"{there}); give the folder that was the --out of `hlmat trajectories`"
    )
