"""The rows of a training set for LLaMA-Factory: a JSON file beside the images that it names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from hlmat.export.view.exported_rows import RowSummary, summary
from hlmat.transforms.core.errors import DataError, TargetError
from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.core.storage import Storage, join_under
from hlmat.transforms.masks.images import decode_image
from hlmat.transforms.readers.files.confined_storage import ConfinedStorage
from hlmat.transforms.readers.files.images import read_below

DATASET_INFO = "dataset_info.json"


@dataclass(frozen=True)
class JsonRows:
    """The rows, as `ExportedRows`.

    Attributes:
        folder: of the training set.
        rows: of its JSON file.
        storage: reads its images, which must be inside the folder.
    """

    folder: str
    rows: list[dict[str, Any]]
    storage: Storage

    @property
    def count(self) -> int:
        return len(self.rows)

    def row(self, number: int) -> Mapping[str, Any]:
        row = self.rows[number]
        return {**row, "images": len(row["images"])}

    def summaries(self, first: int, count: int) -> Sequence[RowSummary]:
        return [_summary(row) for row in self.rows[first : first + count]]

    def image(self, number: int, place: int) -> Image | None:
        names = self.rows[number]["images"]
        if place >= len(names):
            return None
        data = read_below(
            self.storage,
            self.folder,
            names[place],
            missing=RejectReason.MISSING_IMAGE,
            unreadable=RejectReason.UNREADABLE_IMAGE,
        )
        return decode_image(data, name=names[place])


def open_training_set(folder: str, storage: Storage) -> JsonRows:
    """Read the rows of a training set for LLaMA-Factory.

    Raises:
        DataError: the folder has no training set, or it is damaged.
    """
    path = join_under(folder, DATASET_INFO)
    try:
        info = json.loads(storage.read_bytes(path))
        (entry,) = info.values()
        path = join_under(folder, str(entry["file_name"]))
        rows = json.loads(storage.read_bytes(path))
        _check_rows(rows)
    except TargetError as error:
        raise DataError(
            f"{path}: file_name {error.message}; make it again with hlmat export --format "
            "llama-factory"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path} is not a file of a training set ({type(error).__name__}: {error}); make it "
            "again with hlmat export --format llama-factory"
        ) from error
    # Links must not lead out of a local folder.
    confined = storage if "://" in folder else ConfinedStorage(storage, folder)
    return JsonRows(folder, rows, confined)


def _check_rows(rows: Any) -> None:
    """Raise ValueError for anything but a list of rows with texts and image names."""
    if not isinstance(rows, list):
        raise ValueError(f"expected a list of rows, got {rows!r:.60}")
    for number, row in enumerate(rows):
        messages, images = (_list_in(row, key, number) for key in ("messages", "images"))
        if not all(isinstance(name, str) for name in images):
            raise ValueError(f"row {number}: its images must be names, got {images!r:.60}")
        for message in messages:
            texts = [message.get(k) for k in ("role", "content")] if _is_object(message) else [None]
            if not all(isinstance(text, str) for text in texts):
                raise ValueError(
                    f"row {number}: a message must have texts as role and content, got "
                    f"{message!r:.60}"
                )


def _list_in(row: Any, key: str, number: int) -> list[Any]:
    value = row.get(key) if _is_object(row) else None
    if not isinstance(value, list):
        raise ValueError(f"row {number}: expected a list as its {key}, got {value!r:.60}")
    return value


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _summary(row: dict[str, Any]) -> RowSummary:
    chosen = row.get("chosen")
    answer = chosen.get("content") if isinstance(chosen, dict) else None
    return summary(
        str(row.get("target_id", "")),
        row["messages"],
        answer=str(answer or ""),
        images=len(row["images"]),
    )
