"""Tables with images inside; the fixtures follow the data cards that the reader's module cites."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hlmat.transforms.core.errors import ConfigError, DataError, LayoutError, TargetError
from hlmat.transforms.core.image_identity import image_key
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.core.storage import LocalStorage
from hlmat.transforms.readers.files import parquet_rows
from hlmat.transforms.readers.files.parquet_rows import RowCache
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.parquet import ParquetReader
from hlmat.transforms.readers.registry import open_reader
from reader_fixtures import (
    SQUARE,
    assert_all_load,
    image,
    mask_image,
    memory,
    reasons,
    split_items,
    truth_error,
    turned_image,
)

FLOATS = [float(v) for v in SQUARE]
RLE = {"counts": "0`1", "size": [6, 8]}


def hf_image(data: bytes | None, path: str | None = None) -> dict[str, object]:
    return {"bytes": data, "path": path}


def table(rows: list[dict[str, Any]], *, group_rows: int = 2) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer, row_group_size=group_rows)
    return buffer.getvalue()


def lmms_row(**changes: Any) -> dict[str, Any]:
    return {
        "question_id": "1",
        "image": hf_image(image(), "COCO_train2014_000000000042.jpg"),
        "question": "Provide a short description for this region.",
        "answer": ["left cup", "cup"],
        "segmentation": FLOATS,
        "bbox": [1.0, 1.0, 4.0, 3.0],
        "iscrowd": 0,
        "file_name": "COCO_train2014_000000000042_7.jpg",
        **changes,
    }


def open_table(
    rows: list[dict[str, Any]],
    *,
    split: str = "val",
    columns: str | None = None,
    more: Mapping[str, bytes] | None = None,
) -> DatasetReader:
    files = {"data/val-00000-of-00001.parquet": table(rows), **(more or {})}
    return open_reader("parquet", ReaderOptions("data", split, memory(files), columns=columns))


def test_lmms_lab() -> None:
    reader = open_table([lmms_row(), lmms_row(answer=["  "]), lmms_row(segmentation=None)])
    refs, rejects = split_items(reader)
    assert [r.expressions for r in refs] == [("left cup", "cup")]
    assert reasons(rejects) == ["malformed_entry", "malformed_segmentation"]
    assert refs[0].target_id == "parquet/val/val-00000-of-00001.parquet/0"
    assert refs[0].image_path.endswith(".parquet/0/COCO_train2014_000000000042.jpg")
    assert image_key(refs[0], shapes=None) == "coco:42"
    assert_all_load(reader, refs)
    assert reader.load_truth(refs[0]).truth.sum() == 12
    assert "image=image, segmentation=segmentation, text=answer" in reader.describe_layout()


def test_rows_of_every_group_are_found_again() -> None:
    sizes = [(6, 8 + k) for k in range(5)]
    reader = open_table([lmms_row(image=hf_image(image(size))) for size in sizes])
    refs, _ = split_items(reader)
    for ref, size in reversed(list(zip(refs, sizes, strict=True))):
        assert reader.load_truth(ref).truth.shape == size
        assert reader.load_image(ref.image_path, size_hw=size).shape[:2] == size


def test_missing_files_of_a_split_are_remarked_on() -> None:
    more = {f"data/val-{k:05d}-of-00009.parquet": table([lmms_row()]) for k in (1, 3)}
    files = memory(more)
    reader = open_reader("parquet", ReaderOptions("data", "val", files))
    assert isinstance(reader, ParquetReader)
    assert reader.remarks() == [
        "7 of the 9 files of the split val are missing: 00000, 00002, 00004, 00005 and 3 more of "
        "00009; download them, or go on with a part of the data set"
    ]
    whole = open_table([lmms_row()])
    assert isinstance(whole, ParquetReader)
    assert whole.remarks() == []


def test_a_row_group_is_not_read_whole(tmp_path: Path) -> None:
    cell, rows = os.urandom(1 << 18), 400
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [cell])
    path = tmp_path / "a.parquet"
    options: Any = {"use_dictionary": ["image"], "dictionary_pagesize_limit": 1 << 24}
    pq.write_table(pa.table({"image": repeated}), path, store_schema=False, **options)
    assert path.stat().st_size < 2 * len(cell)
    cache, before = RowCache(), pa.total_allocated_bytes()
    for row in (0, 1, 200, 399, 7):
        storage = LocalStorage()
        assert cache.value(storage, str(tmp_path), "a.parquet", row=row, column="image") == cell
        assert pa.total_allocated_bytes() - before < 60 * len(cell)
    with pytest.raises(TargetError, match="row 400: cannot be read: it has 400 rows"):
        cache.value(LocalStorage(), str(tmp_path), "a.parquet", row=400, column="image")


def test_texts_that_are_repeated_without_end_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_rows, "_ALWAYS_READ", 1 << 20)
    text, rows = os.urandom(1 << 12).hex(), 4000
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [text])
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": repeated}), path, store_schema=False)
    file = parquet_rows.open_table(LocalStorage(), str(tmp_path), "a.parquet")
    with pytest.raises(DataError, match="repeats its texts until they are 200 times what it"):
        list(parquet_rows.iterate_rows(file, ["text"], name="a.parquet"))


def test_jxu124() -> None:
    row = {
        "ref_id": 5,
        "image_id": 42,
        "sentences": [{"raw": "Left!", "sent": "left"}],
        "raw_anns": json.dumps({"segmentation": [SQUARE], "area": 12.0}),
        "raw_image_info": json.dumps({"height": 6, "width": 8}),
        "image_path": "coco/train2014/COCO_train2014_000000000042.jpg",
        "captions": ["left", "the left one"],
    }
    broken = {**row, "raw_anns": "{", "ref_id": 6}
    reader = open_table([row, broken], more={"train2017/000000000042.jpg": image()})
    refs, rejects = split_items(reader)
    assert reasons(rejects) == ["malformed_segmentation"]
    assert refs[0].image_path == "train2017/000000000042.jpg"
    assert refs[0].expressions == ("left", "the left one")
    assert_all_load(reader, refs)


def test_moondream() -> None:
    samples = [
        {"id": 1, "sentences": ["left"], "bbox": [0.0] * 4, "mask": RLE},
        {"id": 2, "sentences": ["right", "cup"], "bbox": [0.0] * 4, "mask": RLE},
    ]
    reader = open_table([{"image": hf_image(image()), "image_id": 42, "samples": samples}])
    refs, rejects = split_items(reader)
    assert not rejects
    assert [(r.target_id[-4:], r.object_id, r.expressions) for r in refs] == [
        ("/0/0", 0, ("left",)),
        ("/0/1", 1, ("right", "cup")),
    ]
    assert refs[0].image_path == refs[1].image_path
    assert_all_load(reader, refs)


@pytest.mark.parametrize("as_struct", [False, True])
def test_columns_that_are_named(*, as_struct: bool) -> None:
    files = [image(), mask_image()]
    photo, label = map(hf_image, files) if as_struct else files
    rows = [{"photo": photo, "label": label, "note": "a cup"}]
    with pytest.raises(ConfigError, match=r"unclear which column.*images.*of: photo, label, note"):
        open_table(rows)
    reader = open_table(rows, columns="image=photo,mask=label,text=note")
    refs, rejects = split_items(reader)
    assert not rejects
    assert_all_load(reader, refs)
    assert reader.load_truth(refs[0]).truth.sum() == 12
    assert refs[0].expressions == ("a cup",)


@pytest.mark.parametrize(
    ("value", "area"),
    [(FLOATS, 12), ([FLOATS], 12), (RLE, 48), (json.dumps([SQUARE]), 12), (json.dumps(RLE), 48)],
)
def test_forms_of_segmentations(value: object, area: int) -> None:
    reader = open_table([lmms_row(segmentation=value)])
    refs, rejects = split_items(reader)
    assert not rejects
    assert reader.load_truth(refs[0]).truth.sum() == area


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ("image=foto", r"--columns image=foto: no such column; there are: question_id, image"),
        ("text=bbox,mask=cover", r"--columns mask=cover: no such column"),
    ],
)
def test_columns_that_are_not_there(columns: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        open_table([lmms_row()], columns=columns)


def test_cells_without_a_file() -> None:
    rows = [lmms_row(image=hf_image(None)), lmms_row(image=hf_image(b"no image"))]
    reader = open_table([*rows, lmms_row()])
    refs, _ = split_items(reader)
    assert truth_error(reader, refs[0]).reason is RejectReason.MISSING_IMAGE
    assert truth_error(reader, refs[1]).reason is RejectReason.UNREADABLE_IMAGE
    with pytest.raises(TargetError, match="row 9: cannot be read: it has 3 rows"):
        reader.load_image(refs[2].image_path.replace("/2/", "/9/"), size_hw=(6, 8))


def test_cells_that_name_a_file_beside_the_table() -> None:
    rows = [
        lmms_row(image=hf_image(None, "images/a.png"), mask=hf_image(None, "m.png")),
        lmms_row(image=hf_image(b"", "gone.png"), mask=hf_image(None, "../m.png")),
    ]
    files = {"train.parquet": table(rows), "images/a.png": image(), "m.png": mask_image()}
    columns = "image=image,mask=mask,text=answer"
    reader = open_reader(
        "parquet", ReaderOptions("data", "train", columns=columns, storage=memory(files))
    )
    refs, rejects = split_items(reader)
    assert not rejects
    assert_all_load(reader, refs[:1])
    assert truth_error(reader, refs[1]).reason is RejectReason.PATH_ESCAPES_ROOT
    with pytest.raises(TargetError, match=r"gone\.png does not exist"):
        reader.load_image(refs[1].image_path, size_hw=(6, 8))


def test_an_image_that_its_tag_turns() -> None:
    reader = open_table([lmms_row(image=hf_image(turned_image((6, 8), 3)))])
    assert truth_error(reader, split_items(reader)[0][0]).reason is RejectReason.SIZE_MISMATCH


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("data/train-00000-of-00002-ab12.parquet", "train"),
        ("train.parquet", "train"),
        ("data/validation-00000-of-00001.parquet", "val"),
        ("testA/0000.parquet", "testA"),
        ("default/test/0000.parquet", "test"),
    ],
)
def test_where_the_files_may_lie(file: str, split: str) -> None:
    storage = memory({file: table([lmms_row()]), "data/trainer-0.parquet": b""})
    reader = open_reader("parquet", ReaderOptions("data", split, storage))
    assert_all_load(reader, split_items(reader)[0])
    named = ReaderOptions("data", storage=storage, annotations=file)
    assert len(split_items(open_reader("parquet", named))[0]) == 1


def test_files_that_are_not_there_or_damaged() -> None:
    with pytest.raises(LayoutError, match=r"no Parquet file of the split test;.*data/: val-00000"):
        open_table([lmms_row()], split="test")
    storage = memory({"val.parquet": b"PAR1"})
    with pytest.raises(DataError, match=r"val\.parquet cannot be read as Parquet"):
        open_reader("parquet", ReaderOptions("data", "val", storage))


def test_columns_belong_to_tables() -> None:
    with pytest.raises(ConfigError, match="--columns image=a: folder is not a table"):
        open_reader("folder", ReaderOptions("data", storage=memory({}), columns="image=a"))


def test_files_on_the_disk_and_links_to_them(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(table([lmms_row()]))
    (tmp_path / "root").mkdir()
    os.symlink("../blob", tmp_path / "root" / "val.parquet")
    options = ReaderOptions(str(tmp_path / "root"), "val")
    with pytest.raises(TargetError, match="add --follow-links"):
        open_reader("parquet", options)
    options = ReaderOptions(str(tmp_path / "root"), "val", follow_links=True)
    reader = open_reader("parquet", options)
    assert_all_load(reader, split_items(reader)[0])
