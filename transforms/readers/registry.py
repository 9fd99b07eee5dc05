"""Data sets by name: which there are, their splits and terms, and how to open one."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from hlmat.transforms.core.errors import ConfigError, LayoutError
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.readers.coco import LICENCE as COCO_LICENCE
from hlmat.transforms.readers.coco import open_coco
from hlmat.transforms.readers.folder import LICENCE as FOLDER_LICENCE
from hlmat.transforms.readers.folder import open_folder
from hlmat.transforms.readers.hqseg44k import PARTS, open_hqseg, splits_of
from hlmat.transforms.readers.interactive_benchmarks import BENCHMARKS, open_interactive
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.reasonseg import LICENCE as REASONSEG_LICENCE
from hlmat.transforms.readers.reasonseg import open_reasonseg
from hlmat.transforms.readers.refcoco import LICENCE as REFER_LICENCE
from hlmat.transforms.readers.refcoco import open_refer
from hlmat.transforms.readers.shapes.reader import LICENCE as SHAPES_LICENCE
from hlmat.transforms.readers.shapes.reader import SPLITS as SHAPES_SPLITS
from hlmat.transforms.readers.shapes.reader import ShapesReader
from hlmat.transforms.readers.sources import (
    explain_layout,
    explain_missing_root,
    explain_source,
)
from hlmat.transforms.readers.trace.reader import LICENCE as TRACE_LICENCE
from hlmat.transforms.readers.trace.reader import open_trace


@dataclass(frozen=True)
class DatasetEntry:
    """A data set that goes by name.

    Attributes:
        summary: one line for the help.
        splits: the names of its splits; None if they are the user's own.
        default_split: taken where none is given.
        license: its terms.
        needs_data_root: False for generated data.
        build: opens it; the options carry the resolved split.
    """

    summary: str
    splits: tuple[str, ...] | None
    default_split: str
    license: str
    needs_data_root: bool
    build: Callable[[str, ReaderOptions], DatasetReader]


def _open_shapes(name: str, options: ReaderOptions) -> DatasetReader:
    return ShapesReader(options.shapes, options.split or SHAPES_SPLITS[0])


def _refer(summary: str, splits: tuple[str, ...]) -> DatasetEntry:
    return DatasetEntry(summary, splits, "train", REFER_LICENCE, True, open_refer)


def _part(name: str, summary: str) -> DatasetEntry:
    splits = splits_of(name)
    license = PARTS[name].license if name in PARTS else "by part, see the rows"
    return DatasetEntry(summary, splits, splits[0], license, True, open_hqseg)


def _benchmark(name: str, summary: str) -> DatasetEntry:
    return DatasetEntry(
        summary, ("test",), "test", BENCHMARKS[name].license, True, open_interactive
    )


# The last one is google's.
_REFCOCO_SPLITS = ("train", "val", "testA", "testB", "test")

DATASETS: Mapping[str, DatasetEntry] = {
    "shapes": DatasetEntry(
        "generated scenes with exact masks",
        SHAPES_SPLITS,
        SHAPES_SPLITS[0],
        SHAPES_LICENCE,
        False,
        _open_shapes,
    ),
    "refcoco": _refer("RefCOCO", _REFCOCO_SPLITS),
    "refcoco+": _refer("RefCOCO+, no words of place", _REFCOCO_SPLITS),
    "refcocog": _refer("RefCOCOg, longer sentences", ("train", "val", "test")),
    "refclef": _refer("RefCLEF", ("train", "val", "test", "testA", "testB", "testC")),
    "hqseg44k": _part("hqseg44k", "all parts of HQSeg-44K that are there"),
    "hres": _part("hres", "DIS5K and ThinObject-5K"),
    "dis5k": _part("dis5k", "DIS5K"),
    "thinobject5k": _part("thinobject5k", "ThinObject-5K"),
    "fss1000": _part("fss1000", "FSS-1000"),
    "duts": _part("duts", "DUTS"),
    "ecssd": _part("ecssd", "ECSSD"),
    "msra10k": _part("msra10k", "MSRA-10K"),
    "coift": _part("coift", "COIFT"),
    "hrsod": _part("hrsod", "HRSOD"),
    "reasonseg": DatasetEntry(
        "ReasonSeg",
        ("train", "val", "test"),
        "train",
        REASONSEG_LICENCE,
        True,
        open_reasonseg,
    ),
    "coco": DatasetEntry(
        "any COCO or LVIS instances file", None, "val2017", COCO_LICENCE, True, open_coco
    ),
    "grabcut": _benchmark("grabcut", "GrabCut"),
    "berkeley": _benchmark("berkeley", "Berkeley"),
    "davis": _benchmark("davis", "DAVIS frames"),
    "coco_mval": _benchmark("coco_mval", "COCO_MVal"),
    "folder": DatasetEntry(
        "images/ and masks/ of your own", ("all",), "all", FOLDER_LICENCE, True, open_folder
    ),
    "trace": DatasetEntry(
        "a click trace JSON of the reference", ("all",), "all", TRACE_LICENCE, True, open_trace
    ),
}


def check_dataset_name(name: str) -> str | None:
    """Return what is wrong with a `--dataset` value, None if it can be opened."""
    if name in DATASETS:
        return None
    hint = _did_you_mean(name, DATASETS)
    return f"--dataset {name!r} is unknown; {hint}choose from {', '.join(DATASETS)}"


def check_split(name: str, split: str | None) -> str | None:
    """Return what is wrong with a `--split` of a known data set, None if it may exist."""
    splits = DATASETS[name].splits
    if split is None or splits is None or split in splits:
        return None
    hint = _did_you_mean(split, splits)
    return f"--split {split!r}: {name} has no such split; {hint}choose from {', '.join(splits)}"


def _did_you_mean(value: str, names: Iterable[str]) -> str:
    by_folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(value.casefold(), by_folded, n=1)
    return f"did you mean {by_folded[close[0]]!r}? " if close else ""


def open_reader(name: str, options: ReaderOptions) -> DatasetReader:
    """Open a data set.

    Raises:
        ConfigError: unknown name or split, or no data root where one is needed.
        LayoutError: `data_root` does not hold the data set.
    """
    if (problem := check_dataset_name(name)) is not None:
        raise ConfigError([problem])
    if (problem := check_split(name, options.split)) is not None:
        raise ConfigError([problem])
    entry = DATASETS[name]
    # An empty root would search the working directory.
    if entry.needs_data_root and not options.data_root:
        raise ConfigError([missing_root(name)])
    try:
        return entry.build(name, replace(options, split=options.split or entry.default_split))
    except LayoutError as error:
        source = explain_source(name, terms=entry.license)
        raise LayoutError(f"{error}\n{explain_layout(name)}\n{source}") from error


def missing_root(name: str) -> str:
    """Return what to do where a data set that needs a data root is named without one."""
    return explain_missing_root(name, terms=DATASETS[name].license)
