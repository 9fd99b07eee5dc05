"""The units of an export: consecutive rows of a run, and what belongs to them in other runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from hlmat.export.runs.row_slices import RowSlice
from hlmat.transforms.core.errors import DataError


@dataclass(frozen=True)
class OtherRows:
    """Rows of another run over the same targets as consecutive ones of the unit.

    Attributes:
        run: number of the other run, from 0.
        place: of the first target in the unit, from 0.
        rows: of the other run.
    """

    run: int
    place: int
    rows: RowSlice


@dataclass(frozen=True)
class ExportUnit:
    """Targets that are exported together; an image's consecutive targets are never in two units.

    Attributes:
        unit_id: hex digest of the export's fingerprint and everything below.
        index: position in the export, from 0.
        rows: of the run.
        also: rows of other runs.
        expressions: instead of the targets' own ones, target by target; None for these.
    """

    unit_id: str
    index: int
    rows: tuple[RowSlice, ...]
    also: tuple[OtherRows, ...] = ()
    expressions: tuple[tuple[str, ...], ...] | None = None

    @property
    def targets(self) -> int:
        """How many targets it has."""
        return sum(part.count for part in self.rows)


def build_unit(
    index: int,
    rows: Sequence[RowSlice],
    *,
    also: Sequence[OtherRows],
    expressions: Sequence[tuple[str, ...]] | None,
    fingerprint: str,
) -> ExportUnit:
    """Return a unit with its id.

    Args:
        fingerprint: of the export, so that units of different exports never share an id.
    """
    texts = None if expressions is None else tuple(expressions)
    unit = ExportUnit("", index, tuple(rows), tuple(also), texts)
    digest = hashlib.sha256(f"{fingerprint}\n{unit_to_json(unit)}".encode()).hexdigest()
    return ExportUnit(digest[:32], index, unit.rows, unit.also, unit.expressions)


def unit_to_json(unit: ExportUnit) -> str:
    """Return a unit as one line of JSON."""
    content = {
        "unit_id": unit.unit_id,
        "index": unit.index,
        "rows": [[part.file, part.first, part.count] for part in unit.rows],
        "also": [
            [each.run, each.place, each.rows.file, each.rows.first, each.rows.count]
            for each in unit.also
        ],
        "expressions": unit.expressions,
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def unit_from_json(line: str) -> ExportUnit:
    """Return the unit that `unit_to_json` wrote.

    Raises:
        DataError: the line is something else.
    """
    try:
        data = json.loads(line)
        texts = data["expressions"]
        return ExportUnit(
            unit_id=data["unit_id"],
            index=data["index"],
            rows=tuple(RowSlice(*part) for part in data["rows"]),
            also=tuple(
                OtherRows(run, place, RowSlice(*rows)) for run, place, *rows in data["also"]
            ),
            expressions=None if texts is None else tuple(tuple(each) for each in texts),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"a line of an export's plan is damaged ({type(error).__name__}: {error}); run the "
            "same command again with --overwrite"
        ) from error
