from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.errors import DataError, LayoutError
from hlmat.transforms.core.storage import LocalStorage, MemoryStorage
from hlmat.transforms.readers.files import coco_annotations
from hlmat.transforms.readers.files.coco_annotations import read_instances
from hlmat.transforms.readers.files.confined_storage import ConfinedStorage
from hlmat.transforms.readers.files.read_log import ReadLog

TEXTS = st.sampled_from(["", "a", '"annotations": [{', "}, {", "}]", '"}, {"', "ä", "\\", "\u2028"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.floats(-1e3, 1e3) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ENTRIES = st.fixed_dictionaries(
    {"id": st.integers(0, 9) | TEXTS}, optional={"image_id": st.integers(0, 9), "more": VALUES}
)


def read(data: bytes) -> tuple[Any, list[Any]]:
    content, annotations = read_instances(MemoryStorage({"x.json": data}), "x.json")
    return content, list(annotations)


def is_kept_whole(data: bytes) -> bool:
    _, annotations = read_instances(MemoryStorage({"x.json": data}), "x.json")
    return type(annotations) is coco_annotations.CocoAnnotations


@given(
    entries=st.lists(ENTRIES, min_size=1, max_size=5),
    before=st.dictionaries(TEXTS, VALUES, max_size=2),
    after=st.dictionaries(TEXTS, VALUES, max_size=2),
    indent=st.none() | st.integers(0, 2),
    piece=st.integers(1, 200),
)
def test_annotations_are_those_of_the_whole_file(
    entries: list[Any], before: dict[str, Any], after: dict[str, Any], indent: int, piece: int
) -> None:
    content = {"images": [], **before, "annotations": entries, **after}
    data = json.dumps(content, indent=indent).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_annotations, "_READ_BYTES", piece)
        rest, found = read(data)
    expected = json.loads(data)
    assert found == expected.pop("annotations")
    assert {key: rest[key] for key in expected} == expected


def with_annotations(text: str) -> bytes:
    return f'{{"images": [], "annotations": [{text}]}}'.encode()


def test_plain_files_are_not_kept() -> None:
    assert not is_kept_whole(with_annotations('{"id": 1}, {"id": 2}'))


@pytest.mark.parametrize(
    "data",
    [
        with_annotations(""),
        with_annotations("5"),
        with_annotations('{"id": 1}, null'),
        with_annotations('{"id": 1, "area": NaN}'),
        with_annotations('{"id": 12345678901234567890}'),
        with_annotations('{"id": "\\ud800"}'),
        with_annotations('{"id": 1}').decode().encode("utf-16"),
        b'{"images": [12345678901234567890], "annotations": [{"id": 1}]}',
        b'{"images": [], "annotations": [{"id": 1}], "annotations": [{"id": 2}]}',
        b'{"info": {"annotations": [{"id": 1}]}, "images": [], "annotations": [{"id": 2}]}',
        with_annotations('{"id": 1, "more": [' + "{}, " * 300 + "{}]}"),
    ],
)
def test_files_that_one_pass_cannot_read_are_read_whole(data: bytes) -> None:
    assert is_kept_whole(data)
    assert read(data)[1] == json.loads(data)["annotations"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"annotations": [{"id": 1}', "x.json is not JSON"),
        (b'{"annotations": [{"id": 1}]} 5', "x.json is not JSON"),
        (b'{"annotations": [{"id": 1}]}', "expected a list under 'images'"),
        (b'{"images": [], "annotations": {"id": 1}}', "expected a list under 'annotations'"),
    ],
)
def test_problems_of_the_file(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(data)


def test_a_missing_file() -> None:
    with pytest.raises(LayoutError, match=r"x\.json does not exist"):
        read_instances(LocalStorage(), "x.json")


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(with_annotations('{"id": 1}, {"id": 2}'))
    _, annotations = read_instances(LocalStorage(), str(path))
    path.write_bytes(b"[]")
    with pytest.raises(DataError, match="changed while it was read"):
        annotations[1]


def test_what_was_read_is_noted(tmp_path: Path) -> None:
    path = str(tmp_path / "x.json")
    data = with_annotations('{"id": 1}, {"id": 2}')
    Path(path).write_bytes(data)
    log = ReadLog(ConfinedStorage(LocalStorage(), str(tmp_path)))
    _, annotations = read_instances(log, path)
    assert annotations[1] == {"id": 2}
    assert log.read == {path: (len(data), hashlib.sha256(data).hexdigest())}
