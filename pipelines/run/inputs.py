"""The files that a run is made from: sizes, digests, and later changes.

Digests, not modification times, decide whether a file is the same, so a copy of a data set gives
the same bytes in every output file. Times only save work: a file that was last modified before its
digest was taken, and still has the recorded size, is not read again. So each file is read once more
than the rollouts need.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.records import TargetRef
from hlmat.transforms.core.storage import join_under
from hlmat.transforms.core.threads import Threads, available_cores
from hlmat.transforms.dataset_io.arrow import parquet_bytes_to_table, table_to_parquet_bytes
from hlmat.transforms.dataset_io.schemas import INPUT_SCHEMA
from hlmat.transforms.readers.files.read_log import ReadLog

_CLOCKS_DIFFER_S = 2.0
"""How much a disk's clock, or a coarse time stamp, may differ from the machine's clock."""

_IN_TABLE = re.compile(r'\{"file": ?("(?:[^"\\]|\\.)*"), ?"row"')
"""The beginning of `truth_ref` where a table holds the mask."""


@dataclass(frozen=True)
class InputFile:
    """A file's size in bytes and the sha256 of its content, in hex.

    For a file behind a URL that was not read, the digest or time from the listing of its store.
    """

    size: int
    sha256: str


Inputs = Mapping[str, InputFile]
"""Files by path relative to the data root."""


@dataclass(frozen=True)
class InputChanges:
    """Changes to the files of a run since it was made; paths relative to the data root."""

    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


def files_of(ref: TargetRef) -> Iterator[str]:
    """Yield the files of a target's pixels: its image, and its mask if that is a file.

    What a table holds is in the table's file.
    """
    if (table := _IN_TABLE.match(ref.truth_ref)) is not None:
        file = json.loads(table[1])
        yield file
        if not ref.image_path.startswith(f"{file}/"):
            yield ref.image_path
        return
    yield ref.image_path
    if '"mask"' not in ref.truth_ref:
        return
    try:
        truth = json.loads(ref.truth_ref)
    except ValueError:
        return
    if isinstance(truth, dict) and isinstance(truth.get("mask"), str):
        yield truth["mask"]


def take_inputs(
    paths: Iterable[str],
    *,
    root: str | None,
    log: ReadLog,
    known: Inputs | None = None,
    follow_links: bool = False,
) -> dict[str, InputFile]:
    """Return size and digest of the files that exist, sorted by path.

    Args:
        paths: files of pixels. Local files are read; for files behind a URL, the listing of their
            folder is used, without a request.
        root: the data root.
        log: what was read while the data set was listed.
        known: digests that need not be computed again.
        follow_links: read files outside the root that links point to.
    """
    found = {
        _relative(path, root): InputFile(size, sha256)
        for path, (size, sha256) in log.read.items()
        if _is_text(path)
    }
    if root is not None and "://" in root:
        stamps = {path: _listed(path, root, log) for path in {*paths} if _is_text(path)}
        found |= {p: s for p, s in stamps.items() if p not in found and s is not None}
    elif root is not None:
        known = known or {}
        missing = [path for path in sorted({*paths}) if path not in found and _is_text(path)]
        found |= {path: known[path] for path in missing if path in known}
        unread = [path for path in missing if path not in known]
        below = _Root(root, follow_links=follow_links)
        places = {path: below.place_of(path) for path in unread}
        # A table's images are no files.
        there = {path: place for path, place in places.items() if place is not None}
        taken = Threads(available_cores()).map(_digest, [*there.values()])
        found |= {p: t for p, t in zip(there, taken, strict=True) if t is not None}
    return dict(sorted(found.items()))


def changes_of(
    before: Inputs, *, root: str | None, log: ReadLog, taken_at: float, follow_links: bool = False
) -> InputChanges:
    """Compare files with their record.

    Args:
        before: the record of the files.
        root: the data root now.
        log: what was read while the data set was listed now.
        taken_at: when the record was made, in seconds since the epoch.
        follow_links: as in `take_inputs`.
    """
    read = {_relative(path, root): content for path, content in log.read.items()}
    below = None if root is None else _Root(root, follow_links=follow_links)
    changed, gone = [], []
    for path, recorded in before.items():
        if path in read:
            if InputFile(*read[path]) != recorded:
                changed.append(path)
            continue
        if root is None or below is None:
            continue
        if "://" in root:
            now_listed = _listed(path, root, log)
            if now_listed is None and _is_gone(path, root, log):
                gone.append(path)
            elif now_listed is not None and _differs(recorded, now_listed):
                changed.append(path)
            continue
        place = below.place_of(path)
        state = None if place is None else _state(place)
        if state is None:
            gone.append(path)
        elif state.st_size != recorded.size or (
            max(state.st_mtime, state.st_ctime) > taken_at - _CLOCKS_DIFFER_S
            and _digest(place) != recorded
        ):
            changed.append(path)
    return InputChanges(tuple(changed), tuple(gone))


def inputs_to_bytes(inputs: Inputs) -> bytes:
    """Return a record as Parquet."""
    rows = [
        {"path": path, "bytes": entry.size, "sha256": entry.sha256}
        for path, entry in sorted(inputs.items())
    ]
    return table_to_parquet_bytes(pa.Table.from_pylist(rows, schema=INPUT_SCHEMA))


def inputs_from_bytes(data: bytes, *, name: str) -> dict[str, InputFile]:
    """Read a record back.

    Raises:
        DataError: it is not a record.
    """
    table = parquet_bytes_to_table(data, schema=INPUT_SCHEMA, name=name)
    return {r["path"]: InputFile(r["bytes"], r["sha256"]) for r in table.to_pylist()}


def now() -> float:
    """Return the time for `taken_at`, in seconds since the epoch."""
    return time.time()


def _relative(path: str, root: str | None) -> str:
    start = "" if root is None else root.rstrip("/") + "/"
    return path.removeprefix(start) if start else path


def _is_text(path: str) -> bool:
    """Return whether a table can store a name; files with other names are not tracked."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Root:
    """A local data root; it remembers where its folders are."""

    def __init__(self, root: str, *, follow_links: bool) -> None:
        self._root, self._follows = root, follow_links
        self._top = os.path.join(os.path.realpath(root), "")
        self._folders: dict[str, str] = {}

    def place_of(self, path: str) -> str | None:
        """Return where a file is, None if that is outside the root, or if there is nothing."""
        try:
            place = join_under(self._root, path)
            if not os.path.exists(place):
                return None
            if not self._follows and not self._real(place).startswith(self._top):
                return None
        except (TargetError, ValueError):
            return None
        return place

    def _real(self, place: str) -> str:
        if os.path.islink(place):
            return os.path.realpath(place)
        folder, name = os.path.split(place)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.normpath(os.path.join(self._folders[folder], name))


def _listed(path: str, root: str, log: ReadLog) -> InputFile | None:
    """Return a file's entry in the listing of its folder; None if it was not listed or is gone."""
    try:
        stamp = log.listed_stamp(join_under(root, path))
    except (FileNotFoundError, TargetError):
        return None
    return None if stamp is None else InputFile(stamp.size, stamp.mark)


def _is_gone(path: str, root: str, log: ReadLog) -> bool:
    """Return whether a file's folder was listed without it."""
    try:
        log.listed_stamp(join_under(root, path))
    except FileNotFoundError:
        return True
    except TargetError:
        return False
    return False


def _differs(before: InputFile, now: InputFile) -> bool:
    """Return whether two listings show different content.

    A store may list a digest where another, to which the data set was copied, lists a time: then
    only sizes are compared.
    """
    kinds = [mark.split(" ", 2)[:-1] for mark in (before.sha256, now.sha256)]
    is_same = kinds[0] != kinds[1] or before.sha256 == now.sha256
    return before.size != now.size or not is_same


def _state(place: str) -> os.stat_result | None:
    """Return the state of a regular file, None for anything else: opening a pipe would block."""
    try:
        state = os.stat(place)
    except (OSError, ValueError):
        return None
    return state if stat.S_ISREG(state.st_mode) else None


def _digest(place: str | None) -> InputFile | None:
    if place is None or (state := _state(place)) is None:
        return None
    try:
        with open(place, "rb") as f:
            return InputFile(state.st_size, hashlib.file_digest(f, "sha256").hexdigest())
    except OSError:
        return None
