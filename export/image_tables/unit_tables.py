"""A worker's part of an export as tables: from the rows of a unit to a Parquet file."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import pyarrow as pa

from hlmat.export.image_tables.row_images import RowImages, finished_row
from hlmat.export.image_tables.shards import ImageShard
from hlmat.export.image_tables.table_units import TableUnit
from hlmat.export.llama_factory.images import ImageLoader, StateImages
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.samples import Case
from hlmat.export.llama_factory.unit_export import cases_in_place, read_outcome
from hlmat.export.llama_factory.unit_samples import reject_entry
from hlmat.export.runs.row_slices import RowReader, TrajectoryFiles
from hlmat.transforms.core.errors import DataError, OutputError, TargetError
from hlmat.transforms.core.records import Reject, RejectReason
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.core.threads import available_cores


class TableForm(Protocol):
    """What the rows of a table are. Small and picklable."""

    @property
    def schema(self) -> pa.Schema:
        """The columns, from `image_schema`."""
        ...

    def rows(self, case: Case, images: RowImages) -> Iterator[dict[str, Any]]:
        """Yield the rows of a target; images are what `images` returns, or None.

        Raises:
            TargetError: the target's image cannot be used.
            DataError: its trajectory has no such rows.
        """
        ...


@dataclass(frozen=True)
class TableSettings:
    """A worker's recipe. Small and picklable.

    Attributes:
        runs: the trajectories and the loader of images of each run; the loader is None where no
            image is needed.
        form: the rows.
        options: how states are drawn and stored.
        out: folder of the data set.
        storage: reaches it.
        num_threads: that encode images; None for one per core.
    """

    runs: tuple[tuple[TrajectoryFiles, ImageLoader | None], ...]
    form: TableForm
    options: LlamaFactoryOptions
    out: str
    storage: Storage
    num_threads: int | None = None

    def build(self) -> TableExport:
        """Return what exports units, in a worker."""
        return TableExport(self)


@dataclass(frozen=True)
class TableRecord:
    """What a unit became.

    Attributes:
        name: of its file, below the output folder.
        rows: how many the file has.
        size_bytes: of the file.
        table_bytes: what its columns take when they are not compressed.
        sha256: of the file.
        targets: trajectories with a row.
        without: trajectories that give no row.
        rejects: targets that cannot be used, as `reject_entry` describes them.
    """

    name: str
    rows: int
    size_bytes: int
    table_bytes: int
    sha256: str
    targets: int
    without: int
    rejects: tuple[Mapping[str, str], ...]

    def to_bytes(self) -> bytes:
        """Return the unit's file."""
        return json.dumps(asdict(self), sort_keys=True).encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str) -> TableRecord:
        """Read what `to_bytes` wrote.

        Raises:
            OutputError: the file is something else.
        """
        try:
            content = json.loads(data)
            return cls(**{**content, "rejects": tuple(content["rejects"])})
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"the unit file {name} is damaged ({type(error).__name__}: {error}); remove it and "
                "run the same command again"
            ) from error


class TableExport:
    """Exports units, one at a time."""

    def __init__(self, settings: TableSettings) -> None:
        self._settings = settings
        self._runs = [
            (RowReader(files), StateImages(load or _no_image, settings.options))
            for files, load in settings.runs
        ]

    def __call__(self, unit: TableUnit) -> bytes:
        """Write the table of a unit, and return the unit's file.

        Raises:
            DataError: a file of a run is not as its manifest lists it.
            OSError: the table cannot be written.
        """
        reader, images = self._runs[unit.run]
        found = [read_outcome(row) for part in unit.of_run.rows for row in reader.rows(part)]
        cases = cases_in_place(found, [()] * len(found))
        threads = self._settings.num_threads or available_cores()
        shard = ImageShard(self._settings.form.schema)
        rejects: list[Mapping[str, str]] = []
        targets = without = 0
        with ThreadPoolExecutor(threads) if threads > 1 else nullcontext() as pool:
            rows = _RowsInOrder(shard, ahead=4 * threads)
            row_images = RowImages(images, pool)
            for case in cases:
                made = case if isinstance(case, Reject) else self._rows(case, row_images)
                if isinstance(made, Reject):
                    rejects.append(reject_entry(made))
                    continue
                for row in made:
                    rows.add(row)
                targets += bool(made)
                without += not made
            rows.finish()
        content = shard.finish()
        path = posixpath.join(self._settings.out, unit.name)
        self._settings.storage.write_bytes(path, content.data)
        record = TableRecord(
            name=unit.name,
            rows=content.rows,
            size_bytes=len(content.data),
            table_bytes=content.table_bytes,
            sha256=hashlib.sha256(content.data).hexdigest(),
            targets=targets,
            without=without,
            rejects=tuple(rejects),
        )
        return record.to_bytes()

    def _rows(self, case: Case, images: RowImages) -> list[dict[str, Any]] | Reject:
        ref = case.trajectory.target.ref
        try:
            return list(self._settings.form.rows(case, images))
        except TargetError as error:
            return Reject(ref, error.reason, error.message)
        except DataError as error:
            return Reject(ref, RejectReason.MALFORMED_ENTRY, str(error))


class _RowsInOrder:
    """Adds rows to a file in their order, some of them while later ones are encoded."""

    def __init__(self, shard: ImageShard, *, ahead: int) -> None:
        self._shard = shard
        self._ahead = ahead
        self._waiting: deque[dict[str, Any]] = deque()

    def add(self, row: dict[str, Any]) -> None:
        self._waiting.append(row)
        while len(self._waiting) > self._ahead:
            self._shard.add(finished_row(self._waiting.popleft()))

    def finish(self) -> None:
        while self._waiting:
            self._shard.add(finished_row(self._waiting.popleft()))


def _no_image(image_path: str, *, size_hw: tuple[int, int]) -> Any:
    raise AssertionError(f"{image_path}: no image was to be read")
