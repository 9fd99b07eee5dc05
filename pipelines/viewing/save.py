"""A run's page written as a folder that works from disk and on any web server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from hlmat.export.view.images import thumbnail, whole_image
from hlmat.export.view.index import index_columns
from hlmat.export.view.page_files import PageFiles, page_names, problem_script
from hlmat.transforms.core.atomic_files import atomic_folder
from hlmat.transforms.core.errors import OutputError, TargetError
from hlmat.transforms.core.threads import Threads, available_cores
from hlmat.transforms.dataset_io.arrow import row_to_reject, row_to_trajectory

_INDEX_ROWS = 5000


def save_page(page: PageFiles, folder: str, *, quiet: bool = False) -> dict[str, int]:
    """Write every file of a page; return the numbers of files and of images that are missing.

    The folder appears once it is complete.

    Raises:
        OutputError: the folder is not empty or cannot be written.
        DataError: a file of the run cannot be read.
    """
    out = os.path.abspath(folder)
    if os.path.lexists(out) and not (os.path.isdir(out) and not os.listdir(out)):
        raise OutputError(
            f"{folder} exists already and is not an empty folder; give another --save or remove it"
        )
    try:
        with atomic_folder(out) as place:
            return _Saving(page, place, quiet=quiet).write()
    except OSError as error:
        raise OutputError(
            f"cannot write the page {folder}: {error}; give a folder that can be written to, with "
            "enough room"
        ) from error


class _Saving:
    """Writes one page into a folder."""

    def __init__(self, page: PageFiles, folder: str, *, quiet: bool) -> None:
        self._page = page
        self._folder = folder
        self._quiet = quiet
        self._threads = Threads(available_cores())
        self._counts: dict[str, int] = {"files": 0, "images": 0, "images missing": 0}

    def write(self) -> dict[str, int]:
        for name in (*page_names(), *self._page.data_names()):
            self._write(name, self._page.read(name) or b"")
        numbers = [*self._image_numbers()]
        rejects = range(self._page.run.rejects.count)
        jobs: list[tuple[Any, int]] = [
            *((self._write_image, number) for number in numbers),
            *((self._write_reject, number) for number in rejects),
            *((self._write_rendered, number) for number in self._rendered_numbers()),
        ]
        ahead = 2 * self._threads.count
        done = self._threads.map_ahead(lambda job: job[0](job[1]), jobs, ahead=ahead)
        for written, missing in tqdm(
            done, total=len(jobs), unit="image", disable=self._quiet or None
        ):
            self._counts["images"] += written
            self._counts["images missing"] += missing
        return self._counts

    def _image_numbers(self) -> Iterator[int]:
        """Yield the number of every image that the index names."""
        rows = self._page.run.targets
        for first in range(0, rows.count, _INDEX_ROWS):
            yield from dict.fromkeys(index_columns(rows, first, _INDEX_ROWS)["image"])

    def _rendered_numbers(self) -> range:
        page = self._page
        return range(page.run.targets.count if page.training and page.with_rendered else 0)

    def _write_image(self, number: int) -> tuple[int, int]:
        try:
            image = self._page.image(number)
        except TargetError as error:
            self._write(f"data/problem-{number}.js", problem_script(number, error.message))
            return 0, 1
        self._write(f"thumbs/{number}.jpg", thumbnail(image))
        self._write(f"images/{number}.jpg", whole_image(image, max_side=self._page.max_side))
        return 1, 0

    def _write_reject(self, number: int) -> tuple[int, int]:
        try:
            image = self._page.run.images.of_reject(
                row_to_reject(self._page.run.rejects.row(number))
            )[0]
        except TargetError:
            return 0, 1
        self._write(f"thumbs/reject-{number}.jpg", thumbnail(image))
        self._write(f"images/reject-{number}.jpg", whole_image(image, max_side=self._page.max_side))
        return 1, 0

    def _write_rendered(self, number: int) -> tuple[int, int]:
        training = self._page.training
        assert training is not None
        trajectory = row_to_trajectory(self._page.run.targets.row(number))
        suffix = training.options.image_format
        written = 0
        for row, (_, images) in enumerate(training.rows(trajectory)):
            for place in range(len(images)):
                try:
                    data = self._page.rendered(number, row, place)
                except TargetError:
                    continue
                self._write(f"rendered/{number}-{row}-{place}.{suffix}", data or b"")
                written += 1
        return written, 0

    def _write(self, name: str, data: bytes) -> None:
        path = os.path.join(self._folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)
        self._counts["files"] += 1
