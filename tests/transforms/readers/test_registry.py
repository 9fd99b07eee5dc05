from __future__ import annotations

import re

import pytest

from hlmat.transforms.core.errors import ConfigError, LayoutError
from hlmat.transforms.readers.hqseg44k import COLLECTIONS, PARTS, splits_of
from hlmat.transforms.readers.registry import (
    DATASETS,
    ReaderOptions,
    check_dataset_name,
    check_split,
    open_reader,
)
from hlmat.transforms.readers.shapes.options import ShapesOptions
from hlmat.transforms.readers.shapes.reader import ShapesReader
from reader_fixtures import memory


def test_every_name_that_is_promised() -> None:
    assert set(DATASETS) == {
        "refcoco",
        "refcoco+",
        "refcocog",
        "refclef",
        "grefcoco",
        "rrsisd",
        "hqseg44k",
        "dis5k",
        "thinobject5k",
        "fss1000",
        "duts",
        "ecssd",
        "msra10k",
        "coift",
        "hrsod",
        "hres",
        "reasonseg",
        "coco",
        "grabcut",
        "berkeley",
        "davis",
        "coco_mval",
        "coco_panoptic",
        "voc",
        "sbd",
        "folder",
        "trace",
        "shapes",
    }


@pytest.mark.parametrize("name", DATASETS)
def test_entries_are_whole(name: str) -> None:
    entry = DATASETS[name]
    assert entry.summary
    assert entry.license
    assert entry.splits is None or entry.default_split in entry.splits
    assert entry.needs_data_root is (name != "shapes")


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "shapes"])
def test_an_empty_root_says_what_was_looked_for(name: str) -> None:
    with pytest.raises(LayoutError, match="data"):
        open_reader(name, ReaderOptions("data", storage=memory({})))


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("refcocoo", "refcoco"),
        ("ECSSD", "ecssd"),
        ("HQSeg44K", "hqseg44k"),
        ("coco-mval", "coco_mval"),
    ],
)
def test_unknown_name(name: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean '{nearest}'.*choose from shapes"):
        open_reader(name, ReaderOptions("data"))


@pytest.mark.parametrize(
    ("name", "split", "match"),
    [
        ("refcoco", "testC", "did you mean 'test"),
        ("refcoco", "TESTB", "did you mean 'testB'"),
        ("dis5k", "test", "choose from train, val, te1, te2, te3, te4"),
        ("thinobject5k", "val", "choose from train, test"),
    ],
)
def test_unknown_split(name: str, split: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        open_reader(name, ReaderOptions("data", split))


def test_a_name_like_no_other_gets_the_list_alone() -> None:
    problem = check_dataset_name("zzz")
    assert problem is not None
    assert problem.startswith("--dataset 'zzz' is unknown; choose from shapes, ")
    assert check_dataset_name("coco") is None


@pytest.mark.parametrize(
    ("name", "split"), [("dis5k", None), ("dis5k", "te4"), ("coco", "of my own")]
)
def test_splits_that_may_exist(name: str, split: str | None) -> None:
    assert check_split(name, split) is None


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "shapes"])
@pytest.mark.parametrize("data_root", [None, ""])
def test_no_data_root(name: str, data_root: str | None) -> None:
    with pytest.raises(ConfigError, match=f"--data-root is missing: {re.escape(name)} "):
        open_reader(name, ReaderOptions(data_root))


def test_the_reader_gets_the_default_split() -> None:
    assert open_reader("shapes", ReaderOptions()).split == DATASETS["shapes"].default_split


@pytest.mark.parametrize("name", [*PARTS, *COLLECTIONS])
def test_the_splits_of_hqseg44k_are_those_of_its_layouts(name: str) -> None:
    assert DATASETS[name].splits == splits_of(name)


def test_a_data_set_opens_as_the_reader_of_its_module() -> None:
    reader = open_reader("shapes", ReaderOptions(shapes=ShapesOptions(count=3)))
    assert isinstance(reader, ShapesReader)
    assert reader.options.count == 3
