"""Recognise the folders of exports, and open their rows."""

from __future__ import annotations

import json
from typing import Any

from hlmat.export.llama_factory.layout import EXPORT_RECORD
from hlmat.export.view.exported_rows import ExportedRows
from hlmat.export.view.json_rows import DATASET_INFO, open_training_set
from hlmat.export.view.table_rows import FOLDERS, TableRows
from hlmat.pipelines.exporting.coco_results import INSTANCES, RESULTS
from hlmat.pipelines.exporting.fiftyone import FIFTYONE
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.storage import Storage, join_under
from hlmat.transforms.core.url_storage import storage_for


def open_export(out: str) -> ExportedRows | None:
    """Open the rows of an export; None for a folder that holds none.

    Raises:
        DataError: the export is damaged, or its format has no rows with images.
    """
    storage = storage_for(out)
    if storage.is_file(join_under(out, DATASET_INFO)):
        return open_training_set(out, storage)
    format = _format(out, storage)
    if format is not None and format in FOLDERS:
        return TableRows(out, format, storage)
    if format == FIFTYONE:
        raise DataError(
            f"{out} is an export for FiftyOne, whose own app shows it; or give the run that it was "
            "made from"
        )
    if all(storage.is_file(join_under(out, name)) for name in (INSTANCES, RESULTS)):
        raise DataError(f"{out} has COCO results without images; give the run they were made from")
    return None


def _format(out: str, storage: Storage) -> str | None:
    """Return the format of an export that its record names; None without a record."""
    path = join_under(out, EXPORT_RECORD)
    if not storage.is_file(path):
        return None
    try:
        record: Any = json.loads(storage.read_bytes(path))
        format = record["export"]["settings"].get("format")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path} is not the record of an export ({type(error).__name__}: {error}); make the "
            "export again with --overwrite"
        ) from error
    return format if isinstance(format, str) else None
