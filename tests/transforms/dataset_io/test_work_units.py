"""Units: images stay whole, ids are stable, JSON is exact, partitions cover everything once."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.dataset_io import work_units
from hlmat.transforms.dataset_io.work_units import (
    DatasetPartition,
    WorkItem,
    plan_units,
    ref_of,
    select_items,
    unit_from_json,
    unit_to_json,
)


def make_ref(image: str, object_id: int, text: str = "a cat") -> TargetRef:
    return builders.target_ref(f"{image}#{object_id}", text, image_path=image, object_id=object_id)


@st.composite
def item_lists(draw: st.DrawFn) -> list[WorkItem]:
    """Items of up to 8 images, the targets of an image together."""
    items: list[WorkItem] = []
    for image in range(draw(st.integers(1, 8))):
        for object_id in range(draw(st.integers(1, 5))):
            ref = make_ref(f"ü{image}.jpg", object_id, draw(st.text(st.characters(), max_size=5)))
            is_reject = draw(st.booleans())
            items.append(Reject(ref, RejectReason.EMPTY_MASK, "why") if is_reject else ref)
    return items


@given(item_lists(), st.integers(1, 7))
def test_units_keep_order_and_images_whole(items: list[WorkItem], unit_size: int):
    units = list(plan_units(items, unit_size=unit_size, fingerprint="f"))
    assert [item for unit in units for item in unit.items] == items
    assert [unit.index for unit in units] == list(range(len(units)))
    images = [{ref_of(item).image_path for item in unit.items} for unit in units]
    assert sum(len(names) for names in images) == len(set().union(*images))
    assert all(len(unit.items) >= unit_size for unit in units[:-1])


@given(item_lists())
def test_json_round_trip(items: list[WorkItem]):
    for unit in plan_units(items, unit_size=3, fingerprint="f"):
        line = unit_to_json(unit)
        assert len(line.splitlines()) == 1
        assert unit_from_json(line) == unit


@given(st.text(st.characters(max_codepoint=127)), st.text(st.characters()))
def test_json_is_that_of_the_standard_library(ascii_text: str, text: str):
    for each in (ascii_text, text):
        (unit,) = plan_units([make_ref("a.jpg", 1, each)], unit_size=1, fingerprint="f")
        line = unit_to_json(unit)
        assert line == json.dumps(json.loads(line), sort_keys=True, separators=(",", ":"))


def test_without_orjson_the_units_are_the_same(monkeypatch: pytest.MonkeyPatch):
    def lines() -> list[str]:
        items = [make_ref("a.jpg", 1, text) for text in ("a cat", "\x7f\n", "ü")]
        return [unit_to_json(u) for u in plan_units(items, unit_size=1, fingerprint="f")]

    fast = lines()
    monkeypatch.setattr(work_units, "orjson", None)
    assert lines() == fast


def test_ids_depend_on_fingerprint_and_content():
    def ids(items: Sequence[WorkItem], fingerprint: str) -> list[str]:
        return [u.unit_id for u in plan_units(items, unit_size=1, fingerprint=fingerprint)]

    items = [make_ref("a", 0), make_ref("b", 0)]
    assert ids(items, "f") == ids(items, "f")
    assert set(ids(items, "f")).isdisjoint(ids(items, "g"))
    changed = [make_ref("a", 0, "a dog"), make_ref("b", 0)]
    assert ids(items, "f")[0] != ids(changed, "f")[0]
    assert ids(items, "f")[1] == ids(changed, "f")[1]


def test_a_name_that_is_no_valid_unicode_has_a_partition():
    ref = make_ref("caf\udce9.jpg", 0)
    assert [DatasetPartition(i, 2).holds(ref) for i in (1, 2)].count(True) == 1
    unit = next(plan_units([ref], unit_size=1, fingerprint="f"))
    assert unit_from_json(unit_to_json(unit)) == unit


@given(item_lists(), st.integers(1, 4))
def test_partitions_cover_everything_once(items: list[WorkItem], count: int):
    parts = [
        list(select_items(items, partition=DatasetPartition(i, count))) for i in range(1, count + 1)
    ]
    assert sorted((item for part in parts for item in part), key=items.index) == items


def test_the_limit_is_taken_within_the_partition():
    items = [make_ref(str(i), 0) for i in range(20)]
    partition = DatasetPartition(1, 2)
    whole = list(select_items(items, partition=partition))
    assert list(select_items(items, partition=partition, limit=3)) == whole[:3]


@pytest.mark.parametrize(
    ("index", "count", "message"),
    [
        (0, 2, "index 0: must be at least 1"),
        (3, 2, "index 3 is above DatasetPartition.count 2"),
        (-1, 1, "index -1: must be at least 1"),
    ],
)
def test_a_partition_outside_its_count_is_refused(index: int, count: int, message: str):
    with pytest.raises(ValueError, match=message):
        DatasetPartition(index, count)


@pytest.mark.parametrize("line", ["", "{}", "[1]", '{"unit_id": "a", "index": 0, "items": [1]}'])
def test_a_line_that_is_no_unit_is_reported(line: str):
    with pytest.raises(DataError, match="not a work unit"):
        unit_from_json(line)
