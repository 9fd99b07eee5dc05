from __future__ import annotations

import pytest

from hlmat.transforms.core.errors import ConfigError
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


@pytest.mark.parametrize("name", DATASETS)
def test_each_default_split_may_be_asked_for_by_name(name: str) -> None:
    assert check_split(name, DATASETS[name].default_split) is None


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
    with pytest.raises(ConfigError) as caught:
        open_reader(name, ReaderOptions("data"))
    assert str(caught.value) == (
        f"--dataset {name!r} is unknown; did you mean '{nearest}'? choose from "
        f"{', '.join(DATASETS)}"
    )


@pytest.mark.parametrize(
    ("name", "split", "advice"),
    [
        ("refcoco", "testC", "did you mean 'test'? choose from train, val, testA, testB, test"),
        ("refcoco", "TESTB", "did you mean 'testB'? choose from train, val, testA, testB, test"),
        ("dis5k", "test", "choose from train, val, te1, te2, te3, te4"),
        ("thinobject5k", "val", "choose from train, test"),
    ],
)
def test_unknown_split(name: str, split: str, advice: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_reader(name, ReaderOptions("data", split))
    assert str(caught.value) == f"--split {split!r}: {name} has no such split; {advice}"


def test_a_name_like_no_other_gets_the_list_alone() -> None:
    assert check_dataset_name("zzz") == (
        f"--dataset 'zzz' is unknown; choose from {', '.join(DATASETS)}"
    )
    assert check_dataset_name("coco") is None


@pytest.mark.parametrize(
    ("name", "split"), [("dis5k", None), ("dis5k", "te4"), ("coco", "of my own")]
)
def test_splits_that_may_exist(name: str, split: str | None) -> None:
    assert check_split(name, split) is None


def test_the_reader_gets_the_default_split() -> None:
    assert open_reader("shapes", ReaderOptions()).split == DATASETS["shapes"].default_split


@pytest.mark.parametrize("name", [*PARTS, *COLLECTIONS])
def test_the_splits_of_hqseg44k_are_those_of_its_layouts(name: str) -> None:
    assert DATASETS[name].splits == splits_of(name)


def test_a_data_set_opens_as_the_reader_of_its_module() -> None:
    reader = open_reader("shapes", ReaderOptions(shapes=ShapesOptions(count=3)))
    assert isinstance(reader, ShapesReader)
    assert reader.options.count == 3
