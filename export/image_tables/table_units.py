"""The units of an export as tables: rows of a run that become one file."""

from __future__ import annotations

import json
from dataclasses import dataclass

from hlmat.export.llama_factory.export_units import ExportUnit, unit_from_json, unit_to_json
from hlmat.transforms.core.errors import DataError


@dataclass(frozen=True)
class TableUnit:
    """Targets whose rows are one file.

    Attributes:
        of_run: which rows, and the position in the whole export.
        run: number of the run, from 0.
        name: of the file, below the output folder.
    """

    of_run: ExportUnit
    run: int
    name: str

    @property
    def unit_id(self) -> str:
        """An id that is the same for the same work of the same export."""
        return self.of_run.unit_id

    @property
    def index(self) -> int:
        """Position in the export, from 0."""
        return self.of_run.index

    @property
    def targets(self) -> int:
        """How many targets it has."""
        return self.of_run.targets


def table_unit_to_json(unit: TableUnit) -> str:
    """Return a unit as a line of JSON."""
    return json.dumps({"run": unit.run, "name": unit.name, "unit": unit_to_json(unit.of_run)})


def table_unit_from_json(line: str) -> TableUnit:
    """Return the unit that `table_unit_to_json` wrote.

    Raises:
        DataError: the line is something else.
    """
    try:
        data = json.loads(line)
        return TableUnit(unit_from_json(data["unit"]), data["run"], data["name"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"a line of an export's plan is damaged ({type(error).__name__}: {error}); run the "
            "same command again with --overwrite"
        ) from error
