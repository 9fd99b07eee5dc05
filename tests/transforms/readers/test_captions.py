from __future__ import annotations

import re
from pathlib import Path

import pytest

from hlmat.transforms.readers.captions import (
    SALIENT_OBJECT,
    coco_mval_text,
    coift_text,
    dis5k_text,
    fss1000_text,
    main_object,
    salient_object,
    thinobject5k_text,
)


def real_names(folder: Path, pattern: str) -> list[str]:
    names: list[str] = []
    for path in sorted((folder / "name_lists").glob(pattern)):
        names += path.read_text(encoding="utf-8").splitlines()
    return [name for name in names if name]


@pytest.mark.parametrize(
    ("stem", "text"),
    [
        pytest.param("2#Aircraft#7#UAV#1_o", "UAV", id="an acronym stays"),
        pytest.param("8#Electrical#2#TV#1_o", "TV", id="two letters"),
        pytest.param("1#A#1#StreetLamp#1_o", "street lamp", id="CamelCase"),
        pytest.param("1#A#1#OutdoorFitnessEquipment#1", "outdoor fitness equipment", id="three"),
        pytest.param("17#Non-motor Vehicle#4#Bag#1", "bag", id="a space in the group"),
        pytest.param("1#A#1#Bag#1#2", "bag", id="a further #"),
        pytest.param("no fields", SALIENT_OBJECT, id="another name"),
        pytest.param("1#A#1##1", SALIENT_OBJECT, id="no class"),
    ],
)
def test_dis5k(stem: str, text: str) -> None:
    assert dis5k_text(stem) == text


def test_every_real_dis5k_name(shared_data: Path) -> None:
    names = real_names(shared_data, "dis5k_*.txt")
    assert len(names) == 5470
    texts = {dis5k_text(name) for name in names}
    assert len(texts) == 225
    odd = {text for text in texts if not re.fullmatch(r"[a-z]+( [a-z]+)*", text)}
    assert odd == {"TV", "UAV"}


def test_every_real_thinobject_name(shared_data: Path) -> None:
    names = real_names(shared_data, "thinobject5k_*.txt")
    assert len(names) == 5248
    texts = {thinobject5k_text(name) for name in names}
    assert len(texts) == 388
    assert all(re.fullmatch(r"[a-z]+( [a-z]+)*|ak47", text) for text in texts)


def test_every_real_coift_name(shared_data: Path) -> None:
    names = real_names(shared_data, "coift_*.txt")
    assert len(names) == 255
    assert all(re.fullmatch(r"[a-z]+( [a-z]+)*", coift_text(name)) for name in names)


def test_every_real_fss_class_flat_or_in_folders(shared_data: Path) -> None:
    names = real_names(shared_data, "fss1000_test_classes.txt")
    assert len(names) == 240
    for name in names:
        expected = name.replace("_", " ")
        assert fss1000_text(f"{name}_1") == expected
        assert fss1000_text(f"{name}_10") == expected
        assert fss1000_text(f"{name}/10") == expected


def test_every_real_coco_mval_name(shared_data: Path) -> None:
    texts = {coco_mval_text(p.stem) for p in (shared_data / "iseg/COCO_MVal/gt").glob("*.png")}
    assert len(texts) == 80
    assert {"dining table", "hot dog", "toilet"} <= texts
    assert not any(re.search(r"[0-9_]", text) for text in texts)


def test_names_without_information() -> None:
    assert salient_object("0001") == "the salient object"
    assert main_object("005") == "the main object"
    assert thinobject5k_text("_PNG1") == SALIENT_OBJECT
