"""The counts of an export as tables, from what its units became."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hlmat.export.image_tables.unit_tables import TableRecord


@dataclass(frozen=True)
class TableCounts:
    """The counts of an export.

    Attributes:
        rows: of all files.
        targets: trajectories with a row.
        targets_without_rows: trajectories that give no row.
        files: of the tables.
        size_bytes: of these files.
        rejects: targets that cannot be used, by reason.
    """

    rows: int
    targets: int
    targets_without_rows: int
    files: int
    size_bytes: int
    rejects: Mapping[str, int]

    @classmethod
    def of(cls, records: Iterable[TableRecord]) -> TableCounts:
        """Count what units became."""
        found = list(records)
        reasons: Counter[str] = Counter(r["reason"] for each in found for r in each.rejects)
        return cls(
            rows=sum(each.rows for each in found),
            targets=sum(each.targets for each in found),
            targets_without_rows=sum(each.without for each in found),
            files=len(found),
            size_bytes=sum(each.size_bytes for each in found),
            rejects=dict(sorted(reasons.items())),
        )

    def report(self) -> dict[str, Any]:
        """Return the counts for people."""
        return {
            "rows": self.rows,
            "files": self.files,
            "bytes": self.size_bytes,
            "targets": self.targets,
            "without rows": self.targets_without_rows,
            **({"rejected": dict(self.rejects)} if self.rejects else {}),
        }
