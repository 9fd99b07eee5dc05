"""The files of the page for an exported training set: its rows as texts and images."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeGuard

from hlmat.export.view.images import thumbnail, whole_image
from hlmat.export.view.static_files import INDEX_ROWS, Made, data_script, page_file, page_names
from hlmat.transforms.core.errors import DataError, TargetError
from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.core.storage import Storage, join_under
from hlmat.transforms.masks.images import decode_image
from hlmat.transforms.readers.files.confined_storage import ConfinedStorage
from hlmat.transforms.readers.files.images import read_below

DATASET_INFO = "dataset_info.json"
_SHORT = 300


@dataclass(frozen=True)
class ExportFiles:
    """The files of a page of rows by name.

    Attributes:
        name: shown as its title.
        folder: the training set's folder.
        rows: the rows of its JSON file.
        storage: reads its images, which must be inside the folder.
        max_side: longest side of whole images in pixels; None keeps every size.
    """

    name: str
    folder: str
    rows: list[dict[str, Any]]
    storage: Storage
    max_side: int | None = None

    def read(self, name: str) -> bytes | None:
        """Return a file of the page; None if there is no such file. Raises TargetError."""
        if name in page_names():
            return page_file(name)
        if name == "data/page.js":
            return self._page()
        if (match := re.fullmatch(r"data/(rows|row)-(0|[1-9]\d{0,9})\.js", name)) is not None:
            return self._data(match[1], int(match[2]))
        match = re.fullmatch(r"(thumbs|images)/row-(0|[1-9]\d{0,9})-(0|[1-9]\d{0,3})\.jpg", name)
        if match is None or not self._has_image(int(match[2]), int(match[3])):
            return None
        image = self._image(int(match[2]), int(match[3]))
        return thumbnail(image) if match[1] == "thumbs" else self._whole(image)

    def save_flags(self, data: bytes) -> None:
        """Refuse flags: they belong to the targets of a run. Raises ValueError."""
        raise ValueError("a training set has no flags; flag the targets of its run")

    def data_names(self) -> Iterator[str]:
        """Yield the names of all data files, without images."""
        yield "data/page.js"
        for chunk in range(-(-len(self.rows) // INDEX_ROWS)):
            yield f"data/rows-{chunk}.js"
        for number in range(len(self.rows)):
            yield f"data/row-{number}.js"

    def image_jobs(self) -> Iterator[Callable[[], Made]]:
        """Yield functions that make the files of a row's images."""
        for number in range(len(self.rows)):
            yield partial(self._image_files, number)

    def _image_files(self, number: int) -> Made:
        files: dict[str, bytes] = {}
        missing = 0
        count = len(self.rows[number]["images"])
        for place in range(count):
            try:
                image = self._image(number, place)
            except TargetError:
                missing += 1
                continue
            if place == 0:
                files[f"thumbs/row-{number}-0.jpg"] = thumbnail(image)
            files[f"images/row-{number}-{place}.jpg"] = self._whole(image)
        return files, count - missing, missing

    def _has_image(self, number: int, place: int) -> bool:
        return number < len(self.rows) and place < len(self.rows[number]["images"])

    def _image(self, number: int, place: int) -> Image:
        name = self.rows[number]["images"][place]
        data = read_below(
            self.storage,
            self.folder,
            name,
            missing=RejectReason.MISSING_IMAGE,
            unreadable=RejectReason.UNREADABLE_IMAGE,
        )
        return decode_image(data, name=name)

    def _whole(self, image: Image) -> bytes:
        return whole_image(image, max_side=self.max_side)

    def _page(self) -> bytes:
        page = {
            **dict.fromkeys(("targets", "rejects"), 0),
            **dict.fromkeys(("against", "training")),
            "title": self.name,
            "rows": len(self.rows),
            "indexRows": INDEX_ROWS,
            "targetsPerFile": 1,
            "facts": {"training set": self.folder, "rows": str(len(self.rows))},
            "protocol": {},
            "thresholds": [],
        }
        return data_script("page", page)

    def _data(self, kind: str, number: int) -> bytes | None:
        if kind == "row":
            if number >= len(self.rows):
                return None
            row = self.rows[number]
            return data_script(f"row-{number}", {**row, "images": len(row["images"])})
        rows = self.rows[number * INDEX_ROWS : (number + 1) * INDEX_ROWS]
        if not rows:
            return None
        questions, answers = zip(*map(_short_texts, rows), strict=True)
        return data_script(
            f"rows-{number}",
            {
                "id": [str(row.get("target_id", "")) for row in rows],
                "texts": [[question] for question in questions],
                "message": answers,
                "images": [len(row["images"]) for row in rows],
            },
        )


def open_export(folder: str, storage: Storage) -> list[dict[str, Any]]:
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
    return rows


def confined(storage: Storage, folder: str) -> Storage:
    """Return a storage whose links cannot lead out of a local folder."""
    return storage if "://" in folder else ConfinedStorage(storage, folder)


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


def _short_texts(row: dict[str, Any]) -> tuple[str, str]:
    """Return the first question of a row and its last answer, shortened."""
    contents = [message["content"] for message in row["messages"]]
    chosen = row.get("chosen")
    answer = chosen.get("content") if isinstance(chosen, dict) else None
    last = contents[-1] if len(contents) > 1 else ""
    question = " ".join(contents[0].replace("<image>", "").split()) if contents else ""
    return question[:_SHORT], str(answer or last)[:_SHORT]
