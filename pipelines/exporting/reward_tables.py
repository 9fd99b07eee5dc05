"""`hlmat export --format trl` and `verl`: a run's states with the columns that rewards need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hlmat.export.formats.reward_rows import TrlRows, VerlRows, reward_card
from hlmat.export.hub.facts import hub_split
from hlmat.export.image_tables.layout import TableLayout
from hlmat.export.image_tables.merge import TableCounts
from hlmat.export.image_tables.unit_tables import TableRecord
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.runs.manifest import Manifest
from hlmat.pipelines.exporting.folder import TableFolder
from hlmat.pipelines.exporting.tables import (
    TableExportRequest,
    TableRun,
    digest_of,
    export_tables,
)
from hlmat.pipelines.settings.export_options import ExportOptions, Running

REWARD_TABLES_VERSION = 1
"""Of the files: it changes with what the same settings write."""

CARD, ROWS_IN = "README.md", "data"
_FORMS = {"trl": TrlRows, "verl": VerlRows}


def export_reward_tables(
    asked: ExportOptions, manifest: Manifest, options: LlamaFactoryOptions, running: Running
) -> dict[str, Any]:
    """Export a run as a table for TRL or verl; errors as `export_run`."""
    out, format = str(asked.out), str(asked.format)
    split = hub_split(manifest.config["split"])
    name = running.fingerprint["name"] if running.is_named else format
    run = TableRun(str(asked.run_folder), manifest, split, asked.data_root)

    def finish(records: Sequence[TableRecord]) -> bytes:
        return reward_card(name, split=split, format=format)

    counts = export_tables(
        TableExportRequest(
            runs=[run],
            form=_FORMS[format](options),
            options=options,
            folder=TableFolder.of(TableLayout(out, CARD, (ROWS_IN,)), format=format),
            rows_in=ROWS_IN,
            settings={
                **running.fingerprint,
                "format": format,
                "unit_size": running.unit_size,
                "run": digest_of(manifest),
                "name": name,
                "version": REWARD_TABLES_VERSION,
            },
            why_none="each ended before a click",
            finish=finish,
        ),
        running,
        paths={
            "--from": str(asked.run_folder),
            "--data-root": asked.data_root or manifest.source.get("data_root"),
            "--out": out,
        },
    )
    return {"written": out, "data set": name, "split": split, **TableCounts(**counts).report()}
