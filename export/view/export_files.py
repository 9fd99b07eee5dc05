"""The files of the page for an export: its rows as texts and images."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from hlmat.export.view.exported_rows import ExportedRows
from hlmat.export.view.images import thumbnail, whole_image
from hlmat.export.view.static_files import INDEX_ROWS, Made, data_script, page_file, page_names
from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import Image


@dataclass(frozen=True)
class ExportFiles:
    """The files of a page of rows by name.

    Attributes:
        name: shown as its title.
        folder: the export's folder.
        rows: its rows.
        max_side: longest side of whole images in pixels; None keeps every size.
    """

    name: str
    folder: str
    rows: ExportedRows
    max_side: int | None = None

    def read(self, name: str) -> bytes | None:
        """Return a file of the page; None if there is no such file.

        Raises:
            DataError: a row cannot be read.
            TargetError: an image cannot be read.
        """
        if name in page_names():
            return page_file(name)
        if name == "data/page.js":
            return self._page()
        if (match := re.fullmatch(r"data/(rows|row)-(0|[1-9]\d{0,9})\.js", name)) is not None:
            return self._data(match[1], int(match[2]))
        match = re.fullmatch(r"(thumbs|images)/row-(0|[1-9]\d{0,9})-(0|[1-9]\d{0,3})\.jpg", name)
        if match is None or int(match[2]) >= self.rows.count:
            return None
        image = self.rows.image(int(match[2]), int(match[3]))
        if image is None:
            return None
        return thumbnail(image) if match[1] == "thumbs" else self._whole(image)

    def save_flags(self, data: bytes) -> None:
        """Refuse flags: they belong to the targets of a run. Raises ValueError."""
        raise ValueError("an export has no flags; flag the targets of its run")

    def data_names(self) -> Iterator[str]:
        """Yield the names of all data files, without images."""
        yield "data/page.js"
        for chunk in range(-(-self.rows.count // INDEX_ROWS)):
            yield f"data/rows-{chunk}.js"
        for number in range(self.rows.count):
            yield f"data/row-{number}.js"

    def image_jobs(self) -> Iterator[Callable[[], Made]]:
        """Yield functions that make the files of a row's images."""
        for number in range(self.rows.count):
            yield partial(self._image_files, number)

    def _image_files(self, number: int) -> Made:
        files: dict[str, bytes] = {}
        missing = 0
        count = self.rows.row(number)["images"]
        for place in range(count):
            try:
                image = self.rows.image(number, place)
            except TargetError:
                image = None
            if image is None:
                missing += 1
                continue
            if place == 0:
                files[f"thumbs/row-{number}-0.jpg"] = thumbnail(image)
            files[f"images/row-{number}-{place}.jpg"] = self._whole(image)
        return files, count - missing, missing

    def _whole(self, image: Image) -> bytes:
        return whole_image(image, max_side=self.max_side)

    def _page(self) -> bytes:
        page = {
            **dict.fromkeys(("targets", "rejects"), 0),
            **dict.fromkeys(("against", "training")),
            "title": self.name,
            "rows": self.rows.count,
            "indexRows": INDEX_ROWS,
            "targetsPerFile": 1,
            "facts": {"export": self.folder, "rows": str(self.rows.count)},
            "protocol": {},
            "thresholds": [],
        }
        return data_script("page", page)

    def _data(self, kind: str, number: int) -> bytes | None:
        if kind == "row":
            if number >= self.rows.count:
                return None
            return data_script(f"row-{number}", dict(self.rows.row(number)))
        rows = self.rows.summaries(number * INDEX_ROWS, INDEX_ROWS)
        if not rows:
            return None
        return data_script(
            f"rows-{number}",
            {
                "id": [row.target_id for row in rows],
                "texts": [[row.question] for row in rows],
                "message": [row.answer for row in rows],
                "images": [row.images for row in rows],
            },
        )
