"""Write a page as a folder that works from disk and on any web server."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping

from tqdm import tqdm

from hlmat.export.view.static_files import ViewedPage, page_names
from hlmat.transforms.core.atomic_files import atomic_folder
from hlmat.transforms.core.errors import DataError, OutputError
from hlmat.transforms.core.threads import Threads, available_cores


def save_page(page: ViewedPage, folder: str, *, quiet: bool = False) -> dict[str, int]:
    """Write every file of a page; return the numbers of files and of missing images.

    The folder appears once it is complete.

    Raises:
        OutputError: the folder is not empty or cannot be written.
        DataError: the data shown cannot be read.
    """
    out = os.path.abspath(folder)
    if os.path.lexists(out) and not (os.path.isdir(out) and not os.listdir(out)):
        raise OutputError(
            f"{folder} exists already and is not an empty folder; give another --save or remove it"
        )
    try:
        with atomic_folder(out) as place:
            return _write(page, place, quiet=quiet)
    except OSError as error:
        raise OutputError(
            f"cannot write the page {folder}: {error}; give a folder that can be written to, with "
            "enough room"
        ) from error


def _write(page: ViewedPage, folder: str, *, quiet: bool) -> dict[str, int]:
    counts = Counter({"files": 0, "images": 0, "images missing": 0})

    def write(files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(data)
        counts["files"] += len(files)

    for name in (*page_names(), *page.data_names()):
        data = page.read(name)
        if data is None:
            raise DataError(f"the page has no {name}: the run changed meanwhile; save it again")
        write({name: data})
    threads = Threads(available_cores())
    jobs = [*page.image_jobs()]
    made = threads.map_ahead(lambda job: job(), jobs, ahead=2 * threads.count)
    for files, images, missing in tqdm(made, total=len(jobs), disable=quiet or None):
        write(files)
        counts["images"] += images
        counts["images missing"] += missing
    return dict(counts)
