"""The flags of a run as its page shows and changes them."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hlmat.export.runs.flags import (
    KEY_COLUMNS,
    Flag,
    FlagKind,
    Key,
    TargetFlags,
    flags_to_csv,
    load_flags,
)
from hlmat.export.view.index import row_numbers
from hlmat.export.view.run_rows import RunRows
from hlmat.transforms.core.errors import DataError, OutputError
from hlmat.transforms.core.storage import Storage

_LONGEST_TEXT = 10_000


@dataclass(frozen=True)
class PageFlags:
    """The file of flags of a run that is shown; rejects have no flags on the page.

    Attributes:
        storage: reaches the file.
        path: of the file; it need not exist.
        targets: the run's trajectories.
    """

    storage: Storage
    path: str
    targets: RunRows
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def by_number(self) -> dict[str, dict[str, Any]]:
        """Return the flags of each target that has some, by its number as text.

        Returns:
            For each `drop` (whether it is dropped), `note` (a text) and `fixes` (replacements by
            expression; the key of all expressions is empty).

        Raises:
            DataError: the file cannot be read, or names a target twice.
        """
        flags = self._flags()
        if not flags:
            return {}
        found = TargetFlags(
            flags, self._numbers, name=self.path, run="the run", others_ignored=True
        )
        return {str(self._numbers[key]): _shown(found, key) for key in sorted(found.keys)}

    def set(self, data: bytes) -> None:
        """Replace the flags of one target.

        Args:
            data: JSON with the target's number `n`, and `drop`, `note`, `fixes` as above.

        Raises:
            ValueError: it is something else, or there is no such target.
            DataError: the file holds something else.
            OutputError: the file cannot be written.
        """
        asked = json.loads(data)
        if not isinstance(asked, dict) or set(asked) != {"n", "drop", "note", "fixes"}:
            raise ValueError("expected n, drop, note and fixes")
        key, expressions = self._target(asked["n"])
        flags = _read(asked, key, expressions)
        with self._lock:
            kept = [flag for flag in self._flags() if not _is_of(flag, key)]
            try:
                self.storage.write_bytes(self.path, flags_to_csv([*kept, *flags]))
            except OSError as error:
                raise OutputError(
                    f"{self.path} cannot be written: {error}; name another file with --flags"
                ) from error

    @cached_property
    def _numbers(self) -> Mapping[Key, int]:
        return row_numbers(self.targets)

    def _flags(self) -> list[Flag]:
        return load_flags(self.storage, self.path) if self.storage.is_file(self.path) else []

    def _target(self, number: object) -> tuple[Key, list[str]]:
        if type(number) is not int or not 0 <= number < self.targets.count:
            raise ValueError(f"there is no target {number!r:.40}")
        (row,) = self.targets.columns(number, 1, [*KEY_COLUMNS, "expressions"]).to_pylist()
        return (row["dataset"], row["split"], row["target_id"]), row["expressions"]


def _shown(flags: TargetFlags, key: Key) -> dict[str, Any]:
    shown: dict[str, Any] = {"drop": False, "note": "", "fixes": {}}
    for flag in flags.of(key):
        match flag.kind:
            case FlagKind.DROP:
                shown["drop"] = True
                shown["note"] = shown["note"] or flag.note
            case FlagKind.FIX:
                shown["fixes"][flag.expression] = flag.replacement
            case FlagKind.NOTE:
                shown["note"] = flag.note
    return shown


def _is_of(flag: Flag, key: Key) -> bool:
    return flag.target_id == key[2] and flag.dataset in ("", key[0]) and flag.split in ("", key[1])


def _read(asked: Mapping[str, Any], key: Key, expressions: list[str]) -> list[Flag]:
    drop, note, fixes = asked["drop"], asked["note"], asked["fixes"]
    if not isinstance(drop, bool) or not isinstance(note, str) or not isinstance(fixes, dict):
        raise ValueError("expected drop as true or false, note as text and fixes as an object")
    texts = [note, *fixes, *fixes.values()]
    if not all(isinstance(text, str) and len(text) <= _LONGEST_TEXT for text in texts):
        raise ValueError(f"expected texts of at most {_LONGEST_TEXT} characters")
    unknown = [text for text in fixes if text and text not in expressions]
    if unknown:
        raise ValueError(f"the target has no expression {unknown[0]!r:.60}")
    flags = [Flag(*key, FlagKind.DROP, note=note)] if drop else []
    if note and not drop:
        flags.append(Flag(*key, FlagKind.NOTE, note=note))
    flags += [Flag(*key, FlagKind.FIX, old, new) for old, new in fixes.items() if new != old]
    if any(flag.kind is FlagKind.FIX for flag in flags):
        try:
            TargetFlags(flags, [key], name="flags", run="the run").expressions(key, expressions)
        except DataError as error:
            raise ValueError(str(error)) from error
    return flags
