"""Data sets by name: which there are, their splits and terms, and how to open one."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from transforms.errors import ConfigError
from transforms.protocols import DatasetReader
from transforms.readers.shapes import LICENCE as SHAPES_LICENCE
from transforms.readers.shapes import ShapesOptions, ShapesReader
from transforms.storage import LocalStorage, Storage


@dataclass(frozen=True)
class ReaderOptions:
    """What a reader is opened with.

    Attributes:
        data_root: where the data set lies, a path or URL; None for generated data.
        split: the data set's own name of a split; None takes its default.
        storage: reaches `data_root`.
        split_by: RefCOCO family: who made the split; None takes the default.
        annotations: coco, trace: the JSON file, relative to `data_root`.
        shapes: what to generate.
    """

    data_root: str | None = None
    split: str | None = None
    storage: Storage = field(default_factory=LocalStorage)
    split_by: str | None = None
    annotations: str | None = None
    shapes: ShapesOptions = field(default_factory=ShapesOptions)


@dataclass(frozen=True)
class DatasetEntry:
    """A data set that goes by name.

    Attributes:
        summary: one line for the help.
        splits: the names of its splits; None if they are the user's own.
        default_split: taken where none is given.
        licence: its terms.
        needs_data_root: False for generated data.
        build: opens it; the options carry the resolved split.
    """

    summary: str
    splits: tuple[str, ...] | None
    default_split: str
    licence: str
    needs_data_root: bool
    build: Callable[[str, ReaderOptions], DatasetReader]


def _open_shapes(name: str, options: ReaderOptions) -> DatasetReader:
    return ShapesReader(options.shapes, options.split or "train")


DATASETS: Mapping[str, DatasetEntry] = {
    "shapes": DatasetEntry(
        "generated scenes with exact masks",
        ("train", "val", "test"),
        "train",
        SHAPES_LICENCE,
        False,
        _open_shapes,
    ),
}


def check_dataset_name(name: str) -> str | None:
    """Return what is wrong with a `--dataset` value, None if it can be opened."""
    if name in DATASETS:
        return None
    close = difflib.get_close_matches(name, DATASETS, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"--dataset {name!r} is unknown; {hint}choose from {', '.join(DATASETS)}"


def open_reader(name: str, options: ReaderOptions) -> DatasetReader:
    """Open a data set.

    Raises:
        ConfigError: unknown name or split.
        LayoutError: `data_root` does not hold the data set.
    """
    if (problem := check_dataset_name(name)) is not None:
        raise ConfigError([problem])
    entry = DATASETS[name]
    return entry.build(name, replace(options, split=options.split or entry.default_split))
