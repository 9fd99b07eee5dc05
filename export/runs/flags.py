"""Flags on the targets of a run: drop, fix, note; in a CSV file next to the run."""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.core.suggestions import did_you_mean

Key = tuple[str, str, str]
"""Data set, split and id of a target."""

KEY_COLUMNS = ("dataset", "split", "target_id")
FLAG_COLUMNS = (*KEY_COLUMNS, "flag", "expression", "replacement", "note")
_NEEDED = ("target_id", "flag")
# First characters of formulas; some spreadsheets accept the full-width forms.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_LONGEST_FIELD = 1 << 20
_SHOWN = 5


class FlagKind(StrEnum):
    """What a flag says of its target.

    >>> FlagKind("drop").value
    'drop'
    """

    DROP = "drop"
    FIX = "fix"
    NOTE = "note"


@dataclass(frozen=True, order=True)
class Flag:
    """One line of a file of flags.

    Attributes:
        dataset: of the target; empty where its id alone tells.
        split: of the target; empty likewise.
        kind: `DROP` leaves the target out, `FIX` changes its expressions, `NOTE` changes nothing.
        expression: the expression that a `FIX` replaces; empty for all of them.
        replacement: the expression that takes its place; empty for none.
        note: for people.
    """

    dataset: str
    split: str
    target_id: str
    kind: FlagKind
    expression: str = ""
    replacement: str = ""
    note: str = ""

    @property
    def place(self) -> tuple[str, str, str, FlagKind, str]:
        """What a later flag with the same place replaces."""
        return self.dataset, self.split, self.target_id, self.kind, self.expression


def flags_path(out: str) -> str:
    """Return where the flags of a run are: beside its folder.

    >>> flags_path("out/shapes/")
    'out/shapes-flags.csv'
    """
    return f"{posixpath.normpath(out) if '://' not in out else out.rstrip('/')}-flags.csv"


def flags_to_csv(flags: Iterable[Flag]) -> bytes:
    """Write flags as CSV in UTF-8, sorted; `read_flags` gives the same flags back.

    Texts that a spreadsheet would take for a formula get an apostrophe in front.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(FLAG_COLUMNS)
    for flag in sorted(flags):
        cells = (flag.dataset, flag.split, flag.target_id, flag.kind.value)
        writer.writerow(
            _guarded(cell) for cell in (*cells, flag.expression, flag.replacement, flag.note)
        )
    return text.getvalue().encode()


def read_flags(data: bytes, *, name: str) -> list[Flag]:
    """Read flags from CSV; of several with the same place the last counts.

    Columns `target_id` and `flag` are needed; unknown columns are ignored.

    Args:
        data: the file's content.
        name: of the file, for messages.

    Raises:
        DataError: not such a file; the message names the line.
    """
    rows = _rows(data, name=name)
    header = [cell.strip() for cell in next(rows, (0, []))[1]]
    missing = [column for column in _NEEDED if column not in header]
    if missing:
        raise DataError(
            f"{name}: column(s) {', '.join(missing)} missing in the first line; expected "
            f"{', '.join(FLAG_COLUMNS)}"
        )
    if len(set(header)) < len(header):
        raise DataError(f"{name}: the first line names a column twice: {', '.join(header)}")
    found: dict[Any, Flag] = {}
    for line, cells in rows:
        if not any(cells):
            continue
        if len(cells) != len(header):
            raise DataError(
                f"{name}, line {line}: {len(cells)} cells, expected {len(header)} as in the first "
                "line; put quotes around cells with commas"
            )
        flag = _flag(dict(zip(header, cells, strict=True)), where=f"{name}, line {line}")
        found.pop(flag.place, None)
        found[flag.place] = flag
    return list(found.values())


def load_flags(storage: Storage, path: str) -> list[Flag]:
    """Read a file of flags.

    Raises:
        DataError: there is no such file, or it is not one of flags.
    """
    try:
        data = storage.read_bytes(path)
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such file; write flags with `hlmat edit`, or name a CSV file with the "
            f"columns {', '.join(FLAG_COLUMNS)}"
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return read_flags(data, name=path)


class TargetFlags:
    """The flags of a run's targets.

    Args:
        flags: read from `name`.
        keys: the key of every target of the run, trajectories and rejects.
        name: of the file of flags, for messages.
        run: the run's name, for messages.
        others_ignored: whether flags may name targets that the run does not have.

    Raises:
        DataError: a flag names no target of the run, or several.
    """

    def __init__(
        self,
        flags: Sequence[Flag],
        keys: Iterable[Key],
        *,
        name: str,
        run: str,
        others_ignored: bool = False,
    ) -> None:
        self._name = name
        self._by_key: dict[Key, list[Flag]] = {}
        by_id: dict[str, list[Key]] = {}
        wanted = {flag.target_id for flag in flags}
        for key in keys:
            known = by_id.setdefault(key[2], []) if key[2] in wanted else []
            if key not in known:
                known.append(key)
        unknown = []
        for flag in flags:
            fitting = [
                key
                for key in by_id.get(flag.target_id, ())
                if flag.dataset in ("", key[0]) and flag.split in ("", key[1])
            ]
            if len(fitting) > 1:
                raise DataError(
                    f"{name}: {flag.target_id!r} is the id of {len(fitting)} targets of {run}; "
                    "fill the columns dataset and split"
                )
            if fitting:
                self._by_key.setdefault(fitting[0], []).append(flag)
            else:
                unknown.append(flag.target_id)
        if unknown and not others_ignored:
            shown = ", ".join(map(repr, unknown[:_SHOWN]))
            more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
            raise DataError(
                f"{name}: {run} has no target {shown}{more}; name the run that these flags belong "
                "to, or remove the lines"
            )

    @property
    def keys(self) -> frozenset[Key]:
        """The targets with a flag of any kind."""
        return frozenset(self._by_key)

    @property
    def dropped(self) -> frozenset[Key]:
        """The targets that are to be left out."""
        return frozenset(
            key
            for key, flags in self._by_key.items()
            if any(flag.kind is FlagKind.DROP for flag in flags)
        )

    def of(self, key: Key) -> Sequence[Flag]:
        """Return the flags of a target."""
        return self._by_key.get(key, ())

    def with_keys(self) -> Iterator[Flag]:
        """Yield all flags, with the data set and split of their target filled in."""
        for (dataset, split, _), flags in self._by_key.items():
            for flag in flags:
                yield replace(flag, dataset=dataset, split=split)

    def expressions(self, key: Key, before: Sequence[str]) -> tuple[str, ...]:
        """Return a target's expressions with its fixes, each once, in order.

        Raises:
            DataError: a fix names an expression that the target does not have, or none is left.
        """
        fixes = {f.expression: f.replacement for f in self.of(key) if f.kind is FlagKind.FIX}
        if not fixes:
            return tuple(before)
        for text in fixes:
            if text and text not in before:
                raise DataError(
                    f"{self._name}: target {key[2]!r} has no expression {text!r}; "
                    f"{did_you_mean(text, before)}it has "
                    f"{', '.join(map(repr, before[:_SHOWN]))}"
                )
        whole = fixes.get("")
        texts = [fixes.get(text, text if whole is None else whole) for text in before]
        if whole and not before:
            texts = [whole]
        after = tuple(dict.fromkeys(text for text in texts if text))
        if not after:
            raise DataError(
                f"{self._name}: the fixes of target {key[2]!r} leave it without an expression; "
                "give a replacement, or flag the target with drop"
            )
        return after


def counts_of(flags: Iterable[Flag]) -> dict[str, int]:
    """Return the number of targets with each kind of flag."""
    targets: Mapping[FlagKind, set[Key]] = {kind: set() for kind in FlagKind}
    for flag in flags:
        targets[flag.kind].add((flag.dataset, flag.split, flag.target_id))
    return {kind.value: len(found) for kind, found in targets.items()}


def _rows(data: bytes, *, name: str) -> Iterator[tuple[int, list[str]]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 ({error}); save it as CSV in UTF-8") from error
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise DataError(
            f"{name} is not CSV ({error}); put quotes around cells with commas or line breaks"
        ) from error
    finally:
        csv.field_size_limit(before)
    yield from rows


def _flag(row: Mapping[str, str], *, where: str) -> Flag:
    cells = {column: _unguarded(row.get(column, "")) for column in FLAG_COLUMNS}
    if not cells["target_id"]:
        raise DataError(f"{where}: target_id is empty; name a target")
    try:
        kind = FlagKind(cells["flag"].strip().lower())
    except ValueError as error:
        raise DataError(
            f"{where}: flag {cells['flag']!r}; "
            f"{did_you_mean(cells['flag'], map(str, FlagKind))}expected {', '.join(FlagKind)}"
        ) from error
    changes = cells["expression"] or cells["replacement"]
    if kind is FlagKind.FIX and not changes:
        raise DataError(
            f"{where}: a fix without expression and replacement changes nothing; fill one of them"
        )
    if kind is not FlagKind.FIX and changes:
        raise DataError(
            f"{where}: expression and replacement belong to the flag fix, not to {kind.value}; "
            "empty them"
        )
    return Flag(
        cells["dataset"],
        cells["split"],
        cells["target_id"],
        kind,
        cells["expression"],
        cells["replacement"],
        cells["note"],
    )


def _is_guarded(text: str) -> bool:
    return text.lstrip("'").startswith(_FORMULA_STARTS)


def _guarded(text: str) -> str:
    return f"'{text}" if _is_guarded(text) else text


def _unguarded(text: str) -> str:
    return text[1:] if text.startswith("'") and _is_guarded(text) else text
