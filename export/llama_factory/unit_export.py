"""A worker's part of an export: from the rows of a unit to its images and its file."""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType

from hlmat.export.llama_factory.export_units import ExportUnit
from hlmat.export.llama_factory.images import ImageLoader, StateImages
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.paired_runs import OtherRunFiles, check_same_truth
from hlmat.export.llama_factory.samples import Case, OtherRun, cases_of
from hlmat.export.llama_factory.tasks.registry import training_task
from hlmat.export.llama_factory.unit_samples import export_unit
from hlmat.export.llama_factory.writer import write_image
from hlmat.export.runs.row_slices import RowReader, TrajectoryFiles
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.records import Reject, RejectReason, Rle, Trajectory
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.core.threads import available_cores
from hlmat.transforms.dataset_io.arrow import Row, row_to_target_ref, row_to_trajectory
from hlmat.transforms.masks.rle import rle_problem

_WRITERS_TO_URLS = 16
"""Threads that write images elsewhere: they wait for the most part."""


@dataclass(frozen=True)
class ExportSettings:
    """A worker's recipe. Small and picklable.

    Attributes:
        run: the trajectories.
        others: other runs over the same targets, in the order in which they were named.
        load_image: as `DatasetReader.load_image`.
        task: names of the training tasks, separated by commas.
        options: how samples are made.
        out: folder of the data set.
        storage: reaches it.
        num_threads: that write images on a disk; None for one per core.
    """

    run: TrajectoryFiles
    others: tuple[OtherRunFiles, ...]
    load_image: ImageLoader
    task: str
    options: LlamaFactoryOptions
    out: str
    storage: Storage
    num_threads: int | None = None

    def build(self) -> UnitExport:
        """Return what exports units, in a worker."""
        return UnitExport(self)


class UnitExport:
    """Exports units, one at a time."""

    def __init__(self, settings: ExportSettings) -> None:
        self._settings = settings
        self._task = training_task(settings.task)
        self._rows = RowReader(settings.run)
        self._others = [RowReader(other.files) for other in settings.others]
        self._images = StateImages(settings.load_image, settings.options)

    def __call__(self, unit: ExportUnit) -> bytes:
        """Write the images of a unit, and return the unit's file.

        Raises:
            DataError: a file of a run is not as its manifest lists it, or the runs are over
                different data.
            OSError: an image cannot be written.
        """
        found = [read_outcome(row) for part in unit.rows for row in self._rows.rows(part)]
        if unit.expressions is not None:
            found = [
                _with_expressions(each, texts)
                for each, texts in zip(found, unit.expressions, strict=True)
            ]
        also = self._also(unit, found)
        cases = cases_in_place(found, also)
        with _Writing(self._write, threads=self._threads) as writing:
            made = export_unit(
                self._task, cases, self._images, writing.begin, self._settings.options
            )
        return made.to_bytes()

    @property
    def _threads(self) -> int:
        if "://" in self._settings.out:
            return _WRITERS_TO_URLS
        return self._settings.num_threads or available_cores()

    def _write(self, name: str, drawn: Image) -> None:
        out, data = self._settings.out, self._images.encoded(drawn)
        if "://" in out:
            self._settings.storage.write_bytes(posixpath.join(out, name), data)
        else:
            write_image(out, name, data)

    def _also(
        self, unit: ExportUnit, found: list[Trajectory | Reject]
    ) -> Sequence[tuple[OtherRun, ...]]:
        """Return the other runs' trajectories of each target; a damaged one rejects the target."""
        also: list[list[OtherRun]] = [[] for _ in found]
        for each in unit.also:
            other = self._settings.others[each.run]
            rows = self._others[each.run].rows(each.rows)
            for place, row in enumerate(rows, start=each.place):
                first, outcome = found[place], read_outcome(row)
                if isinstance(first, Reject):
                    continue
                if isinstance(outcome, Reject):
                    message = f"in {other.files.out}: {outcome.message}"
                    found[place] = Reject(first.target.ref, outcome.reason, message)
                    continue
                check_same_truth(first, outcome, name=other.files.out)
                also[place].append(OtherRun(outcome, each.run + 1, other.model))
        return [tuple(sorted(runs, key=lambda run: run.number)) for runs in also]


class _Writing:
    """Encodes and writes images on threads, some of them ahead of the wait.

    A context manager; on exit every image is written.

    Raises:
        OSError: an image cannot be written.
    """

    def __init__(self, write: Callable[[str, Image], None], *, threads: int) -> None:
        self._write = write
        self._most = 2 * threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._begun: deque[Future[None]] = deque()

    def begin(self, name: str, drawn: Image) -> None:
        """Write an image, or begin to."""
        if self._pool is None:
            self._write(name, drawn)
            return
        while len(self._begun) >= self._most:
            self._begun.popleft().result()
        self._begun.append(self._pool.submit(self._write, name, drawn))

    def __enter__(self) -> _Writing:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is None:
            return
        self._pool.shutdown(cancel_futures=error is not None)
        if error is None:
            for future in self._begun:
                future.result()


def cases_in_place(
    found: Sequence[Trajectory | Reject], also: Sequence[tuple[OtherRun, ...]]
) -> Sequence[Case | Reject]:
    """Return the targets of a unit as cases, with the rejects in their places.

    Args:
        found: in the run's order.
        also: the other runs' trajectories of each.
    """
    places = [k for k, each in enumerate(found) if isinstance(each, Trajectory)]
    good = cases_of(each for each in found if isinstance(each, Trajectory))
    cases: list[Case | Reject | None] = [
        each if isinstance(each, Reject) else None for each in found
    ]
    for place, case in zip(places, good, strict=True):
        cases[place] = replace(case, also=also[place])
    return [case for case in cases if case is not None]


def read_outcome(row: Row) -> Trajectory | Reject:
    """Return the trajectory of a row, or a reject where the row holds none."""
    try:
        trajectory = row_to_trajectory(row)
    except DataError as error:
        return Reject(row_to_target_ref(row), RejectReason.MALFORMED_ENTRY, str(error))
    for where, rle in _masks_of(trajectory):
        if (problem := rle_problem(rle.counts, rle.size_hw)) is not None:
            message = f"{where}: {problem}"
            return Reject(trajectory.target.ref, RejectReason.MALFORMED_SEGMENTATION, message)
    return trajectory


def _masks_of(trajectory: Trajectory) -> list[tuple[str, Rle]]:
    masks = [
        ("the truth", trajectory.target.truth),
        ("the ignored part", trajectory.target.ignore),
        ("the first mask", trajectory.initial_mask),
        *((f"the mask after step {k}", step.mask) for k, step in enumerate(trajectory.steps)),
    ]
    return [(where, rle) for where, rle in masks if rle is not None]


def _with_expressions(each: Trajectory | Reject, texts: tuple[str, ...]) -> Trajectory | Reject:
    if isinstance(each, Reject):
        return each
    ref = replace(each.target.ref, expressions=texts)
    return replace(each, target=replace(each.target, ref=ref))
