"""A LLaMA-Factory data set as a folder, from trajectories at hand, in one process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import BinaryIO

from hlmat.export.llama_factory.images import ImageLoader, StateImages
from hlmat.export.llama_factory.layout import DATASET_INFO
from hlmat.export.llama_factory.merge import (
    ExportCounts,
    Merge,
    check_samples,
    dataset_info,
    rows_name,
)
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.samples import Case, cases_of
from hlmat.export.llama_factory.tasks.registry import DEFAULT_TASK, TASKS, TrainingTask
from hlmat.export.llama_factory.unit_samples import UnitSamples, export_unit
from hlmat.transforms.core.atomic_files import atomic_folder
from hlmat.transforms.core.errors import OutputError, TargetError
from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.records import RejectReason, Trajectory

_TARGETS_AT_ONCE = 256


def export_next_click(
    trajectories: Iterable[Trajectory],
    load_image: ImageLoader,
    out_dir: str,
    options: LlamaFactoryOptions | None = None,
    *,
    records: Mapping[str, Callable[[], bytes]] | None = None,
) -> ExportCounts:
    """Write a LLaMA-Factory data set for the next-click task; see `export_task`."""
    task = TASKS[DEFAULT_TASK]
    cases = cases_of(trajectories)
    return export_task(task, cases, load_image, out_dir, options=options, records=records)


def export_task(
    task: TrainingTask,
    cases: Iterable[Case],
    load_image: ImageLoader,
    out_dir: str,
    *,
    options: LlamaFactoryOptions | None = None,
    records: Mapping[str, Callable[[], bytes]] | None = None,
) -> ExportCounts:
    """Write a LLaMA-Factory data set for a task.

    The folder gets `dataset_info.json`, a sharegpt JSON file and `images/`. They are written to a
    temporary folder that is renamed at the end, so an interrupted export leaves nothing that looks
    like a data set.

    Args:
        task: the training task.
        cases: with the targets of one image adjacent; otherwise it is loaded again.
        load_image: as `DatasetReader.load_image`.
        out_dir: a folder on the local disk that does not exist yet, or is empty.
        options: how samples are made; the defaults if None.
        records: further files of the folder by name, made after every sample is written.

    Raises:
        OutputError: the folder is not empty or cannot be written, or there is no sample.
        TargetError: an image cannot be loaded.
    """
    options = options or LlamaFactoryOptions()
    out = os.path.abspath(out_dir)
    if os.path.lexists(out) and not (os.path.isdir(out) and not os.listdir(out)):
        raise not_empty(out_dir)
    merge = Merge()
    try:
        with atomic_folder(out) as folder:
            units = _units(task, cases, load_image, options, folder=folder)
            with open(os.path.join(folder, rows_name(options)), "wb") as f:
                for piece in merge.rows_file(units):
                    f.write(piece.encode("ascii"))
                _sync(f)
            with open(os.path.join(folder, DATASET_INFO), "wb") as f:
                f.write(dataset_info(task, options))
                _sync(f)
            check_samples(task, merge.counts, out=out_dir)
            for name, make in (records or {}).items():
                with open(os.path.join(folder, name), "wb") as f:
                    f.write(make())
    except OSError as error:
        raise OutputError(
            f"cannot write the data set {out_dir}: {error}; give a folder that can be written to, "
            "with enough room"
        ) from error
    return merge.counts


def not_empty(out: str) -> OutputError:
    """Return the error of an output folder that holds something else."""
    return OutputError(
        f"{out} exists already and is not an empty folder; give another --out or remove it"
    )


def write_image(folder: str, name: str, data: bytes) -> None:
    """Write an image below a local folder; a killed process may leave a part of it."""
    path = os.path.join(folder, name)
    try:
        f = open(path, "wb")  # noqa: SIM115
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        f = open(path, "wb")  # noqa: SIM115
    with f:
        f.write(data)


def _units(
    task: TrainingTask,
    cases: Iterable[Case],
    load_image: ImageLoader,
    options: LlamaFactoryOptions,
    *,
    folder: str,
) -> Iterator[UnitSamples]:
    images = StateImages(load_image, options)

    def write(name: str, drawn: Image) -> None:
        write_image(folder, name, images.encoded(drawn))

    left = iter(cases)
    while some := list(islice(left, _TARGETS_AT_ONCE)):
        unit = export_unit(task, some, images, write, options)
        for reject in unit.rejects:
            raise TargetError(RejectReason(reject["reason"]), reject["message"])
        yield unit


def _sync(f: BinaryIO) -> None:
    f.flush()
    os.fsync(f.fileno())
