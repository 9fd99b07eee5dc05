"""`hlmat export --format trl`, `verl` and `ms-swift`: a run's states, as the trainers read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hlmat.export.formats.reward_rows import TrlRows, VerlRows, table_card
from hlmat.export.formats.swift_rows import SwiftRows
from hlmat.export.hub.facts import hub_split
from hlmat.export.image_tables.layout import TableLayout
from hlmat.export.image_tables.merge import TableCounts
from hlmat.export.image_tables.unit_tables import TableForm, TableRecord
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.runs.manifest import Manifest
from hlmat.pipelines.exporting.exclusion import excluded_setting, excluded_targets
from hlmat.pipelines.exporting.execution import paths_by_flag
from hlmat.pipelines.exporting.folder import TableFolder
from hlmat.pipelines.exporting.tables import (
    TableExportRequest,
    TableRun,
    digest_of,
    export_tables,
)
from hlmat.pipelines.settings.export_options import ExportOptions, Running

TRAINER_TABLES_VERSION = 1
"""Of the files: it changes with what the same settings write."""

CARD, ROWS_IN = "README.md", "data"
SWIFT = "ms-swift"
_WRITTEN_HERE = ("codec", "dialogue", "digits", "model-family", "order")
"""Flags on how coordinates are written: with one of them, ms-swift does not write them itself."""


def export_trainer_tables(
    asked: ExportOptions, manifest: Manifest, options: LlamaFactoryOptions, running: Running
) -> dict[str, Any]:
    """Export a run as a table for TRL, verl or ms-swift; errors as `export_run`."""
    out, format = str(asked.out), str(asked.format)
    split = hub_split(manifest.config["split"])
    name = running.fingerprint["name"] if "name" in running.given else format
    run = TableRun(str(asked.run_folder), manifest, split, asked.data_root)
    excluded = excluded_targets(asked, manifest)
    is_grounding = format == SWIFT and running.given.isdisjoint(_WRITTEN_HERE)
    form: TableForm = {
        "trl": TrlRows(options),
        "verl": VerlRows(options),
        SWIFT: SwiftRows(options, is_grounding),
    }[format]

    def finish(records: Sequence[TableRecord]) -> bytes:
        return table_card(name, split=split, format=format)

    counts = export_tables(
        TableExportRequest(
            runs=[run],
            form=form,
            options=options,
            folder=TableFolder.of(TableLayout(out, CARD, (ROWS_IN,)), format=format),
            rows_in=ROWS_IN,
            settings={
                **running.fingerprint,
                "format": format,
                "unit_size": running.unit_size,
                "run": digest_of(manifest),
                "name": name,
                **({"grounding": is_grounding} if format == SWIFT else {}),
                "version": TRAINER_TABLES_VERSION,
                **excluded_setting(excluded),
            },
            why_none="each ended before a click",
            finish=finish,
            excluded=excluded,
        ),
        running,
        paths=paths_by_flag(asked, manifest),
    )
    return {"written": out, "data set": name, "split": split, **TableCounts(**counts).report()}
