"""The registry of data sets: their splits and terms, and how to open them by name.

Readers are only imported when a data set is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hlmat.transforms.core.errors import ConfigError, LayoutError
from hlmat.transforms.core.storage import MemoryStorage, Storage
from hlmat.transforms.core.suggestions import did_you_mean
from hlmat.transforms.readers.files.confined_storage import ConfinedStorage
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.shapes.options import SPLITS as SHAPES_SPLITS
from hlmat.transforms.readers.sources import (
    explain_layout,
    explain_missing_root,
    explain_source,
)
from hlmat.transforms.readers.terms import LICENSES

if TYPE_CHECKING:
    from hlmat.transforms.core.protocols import DatasetReader


@dataclass(frozen=True)
class DatasetEntry:
    """A data set in the registry.

    Attributes:
        summary: one line for the help.
        splits: the names of its splits; None if the user defines them.
        default_split: used if none is given.
        license: its terms.
        needs_data_root: False for generated data.
        build: opens it; the options carry the resolved split.
    """

    summary: str
    splits: tuple[str, ...] | None
    default_split: str
    license: str
    build: Callable[[str, ReaderOptions], DatasetReader]
    needs_data_root: bool = True


def _open_shapes(name: str, options: ReaderOptions) -> DatasetReader:
    from hlmat.transforms.readers.shapes.reader import ShapesReader

    return ShapesReader(options.shapes, options.split or SHAPES_SPLITS[0])


def _open_refcoco(name: str, options: ReaderOptions) -> DatasetReader:
    from hlmat.transforms.readers.refcoco import open_refcoco

    return open_refcoco(name, options)


def _open_phrasecut(name: str, options: ReaderOptions) -> DatasetReader:
    from hlmat.transforms.readers.phrasecut import open_phrasecut

    return open_phrasecut(name, options)


def _open_hqseg(name: str, options: ReaderOptions) -> DatasetReader:
    from hlmat.transforms.readers.hqseg44k import open_hqseg

    return open_hqseg(name, options)


def _open_reasonseg(name: str, options: ReaderOptions) -> DatasetReader:
    from hlmat.transforms.readers.reasonseg import open_reasonseg

    return open_reasonseg(name, options)


def _open_coco(name: str, options: ReaderOptions) -> DatasetReader:
    from hlmat.transforms.readers.coco import open_coco

    return open_coco(name, options)


def _open_parquet(name: str, options: ReaderOptions) -> DatasetReader:
    from hlmat.transforms.readers.parquet import open_parquet_tables

    return open_parquet_tables(name, options)


def _open_interactive(name: str, options: ReaderOptions) -> DatasetReader:
    from hlmat.transforms.readers.interactive_benchmarks import open_interactive

    return open_interactive(name, options)


def _open_folder(name: str, options: ReaderOptions) -> DatasetReader:
    from hlmat.transforms.readers.folder import open_folder

    return open_folder(name, options)


def _open_coco_panoptic(name: str, options: ReaderOptions) -> DatasetReader:
    from hlmat.transforms.readers.panoptic import open_coco_panoptic

    return open_coco_panoptic(name, options)


def _open_voc(name: str, options: ReaderOptions) -> DatasetReader:
    from hlmat.transforms.readers.voc import open_voc

    return open_voc(name, options)


def _open_sbd(name: str, options: ReaderOptions) -> DatasetReader:
    from hlmat.transforms.readers.sbd import open_sbd

    return open_sbd(name, options)


def _open_trace(name: str, options: ReaderOptions) -> DatasetReader:
    from hlmat.transforms.readers.trace.reader import open_trace

    return open_trace(name, options)


_Splits = tuple[str, ...] | None
_Row = tuple[str, _Splits, Callable[[str, ReaderOptions], "DatasetReader"]]

_ROWS: Mapping[str, _Row] = {
    "shapes": ("generated scenes with exact masks", SHAPES_SPLITS, _open_shapes),
    # The last split is google's.
    "refcoco": ("RefCOCO", ("train", "val", "testA", "testB", "test"), _open_refcoco),
    "refcoco+": (
        "RefCOCO+, no words of place",
        ("train", "val", "testA", "testB", "test"),
        _open_refcoco,
    ),
    "refcocog": ("RefCOCOg, longer sentences", ("train", "val", "test"), _open_refcoco),
    "refclef": ("RefCLEF", ("train", "val", "test", "testA", "testB", "testC"), _open_refcoco),
    "grefcoco": (
        "gRefCOCO: one object, several or none",
        ("train", "val", "testA", "testB"),
        _open_refcoco,
    ),
    "rrsisd": ("RRSIS-D, remote sensing", ("train", "val", "test"), _open_refcoco),
    "phrasecut": ("PhraseCut", ("train", "val", "test", "miniv"), _open_phrasecut),
    "hqseg44k": ("all parts of HQSeg-44K that are there", ("train", "val"), _open_hqseg),
    "hres": ("DIS5K and ThinObject-5K", ("train", "val"), _open_hqseg),
    "dis5k": ("DIS5K", ("train", "val", "te1", "te2", "te3", "te4"), _open_hqseg),
    "thinobject5k": ("ThinObject-5K", ("train", "test"), _open_hqseg),
    "fss1000": ("FSS-1000", ("train",), _open_hqseg),
    "duts": ("DUTS", ("train", "test"), _open_hqseg),
    "ecssd": ("ECSSD", ("train",), _open_hqseg),
    "msra10k": ("MSRA-10K", ("train",), _open_hqseg),
    "coift": ("COIFT", ("val",), _open_hqseg),
    "hrsod": ("HRSOD", ("val",), _open_hqseg),
    "reasonseg": ("ReasonSeg", ("train", "val", "test"), _open_reasonseg),
    "coco": ("any COCO or LVIS instances file", None, _open_coco),
    "coco_panoptic": ("COCO's panoptic segments", None, _open_coco_panoptic),
    "parquet": ("a table of Hugging Face with images inside", None, _open_parquet),
    "grabcut": ("GrabCut", ("test",), _open_interactive),
    "berkeley": ("Berkeley", ("test",), _open_interactive),
    "davis": ("DAVIS frames", ("test",), _open_interactive),
    "coco_mval": ("COCO_MVal", ("test",), _open_interactive),
    "voc": (
        "PASCAL VOC, or data in its layout",
        ("train", "val", "trainval", "test", "default", "all"),
        _open_voc,
    ),
    "sbd": ("Semantic Boundaries Dataset", ("train", "val"), _open_sbd),
    "folder": ("images/ and masks/ of your own", ("all",), _open_folder),
    "trace": ("a click trace JSON of the reference", ("all",), _open_trace),
}


def _default_split(name: str, splits: _Splits) -> str:
    if splits is not None:
        return splits[0]
    return "train" if name == "parquet" else "val2017"


DATASETS: Mapping[str, DatasetEntry] = {
    name: DatasetEntry(
        summary=summary,
        splits=splits,
        default_split=_default_split(name, splits),
        license=LICENSES[name],
        build=build,
        needs_data_root=name != "shapes",
    )
    for name, (summary, splits, build) in _ROWS.items()
}

OF_MASK_IMAGES = tuple(
    name
    for name, (_, _, build) in _ROWS.items()
    if build in (_open_hqseg, _open_interactive, _open_voc, _open_sbd, _open_folder)
)
"""The data sets whose masks are images and which accept `--mask-values`."""


def check_dataset_name(name: str) -> str | None:
    """Return what is wrong with a `--dataset` value, None if it can be opened."""
    if name in DATASETS:
        return None
    hint = did_you_mean(name, DATASETS)
    return f"--dataset {name!r} is unknown; {hint}choose from {', '.join(DATASETS)}"


def check_split(name: str, split: str | None) -> str | None:
    """Return what is wrong with a `--split` of a known data set, None if it may exist."""
    splits = DATASETS[name].splits
    if split is None or splits is None or split in splits:
        return None
    hint = did_you_mean(split, splits)
    return f"--split {split!r}: {name} has no such split; {hint}choose from {', '.join(splits)}"


def open_reader(name: str, options: ReaderOptions) -> DatasetReader:
    """Open a data set.

    Raises:
        ConfigError: unknown name or split, or no data root where one is needed.
        LayoutError: `data_root` does not contain the data set.
    """
    if (problem := check_dataset_name(name)) is not None:
        raise ConfigError([problem])
    if (problem := check_split(name, options.split)) is not None:
        raise ConfigError([problem])
    entry = DATASETS[name]
    # An empty root would search the working directory.
    if entry.needs_data_root and not options.data_root:
        raise ConfigError([missing_root(name)])
    if options.mask_values is not None and name not in OF_MASK_IMAGES:
        raise ConfigError(
            [
                f"--mask-values {options.mask_values}: this does not go with {name}; leave it out, "
                f"or choose one of {', '.join(OF_MASK_IMAGES)}"
            ]
        )
    if options.columns is not None and name != "parquet":
        raise ConfigError(
            [f"--columns {options.columns}: {name} is not a table; leave it out, or choose parquet"]
        )
    options = replace(
        options, split=options.split or entry.default_split, storage=_storage_of(options)
    )
    try:
        return entry.build(name, options)
    except LayoutError as error:
        source = explain_source(name, terms=entry.license)
        raise LayoutError(f"{error}\n{explain_layout(name)}\n{source}") from error


def _storage_of(options: ReaderOptions) -> Storage:
    """Return the storage of a data set; on the local disk, one that follows no links out of it."""
    root = options.data_root
    if root is None or "://" in root or options.follow_links:
        return options.storage
    if isinstance(options.storage, MemoryStorage):
        return options.storage
    return ConfinedStorage(options.storage, root)


def missing_root(name: str) -> str:
    """Return what to do if a data set is named without the data root it needs."""
    return explain_missing_root(name, terms=DATASETS[name].license)
