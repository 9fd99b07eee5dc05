"""Parquet files with images: what is stored once, where row groups end, equal bytes."""

from __future__ import annotations

import io
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hlmat.export.image_tables import shards
from hlmat.export.image_tables.features import IMAGE_TYPE, features_of, image_schema
from hlmat.export.image_tables.shards import ImageShard

SCHEMA = image_schema(
    [
        pa.field("image", IMAGE_TYPE),
        pa.field("images", pa.list_(IMAGE_TYPE)),
        pa.field("x", pa.int32()),
    ]
)


def stored(data: bytes | None) -> dict[str, bytes | None] | None:
    return None if data is None else {"bytes": data, "path": None}


def file_of(*images: bytes | None) -> bytes:
    shard = ImageShard(SCHEMA)
    for x, image in enumerate(images):
        shard.add({"image": stored(image), "images": [stored(image)] * (image is not None), "x": x})
    return shard.finish().data


def test_an_image_of_many_rows_is_stored_once():
    image = os.urandom(50_000)
    data = file_of(*[image] * 90)
    # Once in each of the two columns.
    assert len(data) < 2 * 50_000 + 5_000
    assert pq.read_table(io.BytesIO(data)).column("image").to_pylist() == [stored(image)] * 90


def test_row_groups_end_by_rows_and_by_bytes(monkeypatch: pytest.MonkeyPatch):
    small, large = b"small", os.urandom(2000)
    monkeypatch.setattr(shards, "GROUP_BYTES", 1500)
    metadata = pq.read_metadata(io.BytesIO(file_of(*[small] * 150, large, small, None)))
    sizes = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
    assert sizes == [100, 51, 2]


def test_a_file_without_rows_has_the_columns():
    table = pq.read_table(io.BytesIO(file_of()))
    assert (table.num_rows, table.column_names) == (0, ["image", "images", "x"])


def test_equal_rows_give_equal_bytes():
    assert file_of(b"a", b"b", None) == file_of(b"a", b"b", None)


def test_features_are_those_of_datasets():
    datasets = pytest.importorskip("datasets", reason="the extra train is not installed")
    structs = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    schema = pa.schema([*SCHEMA, ("prompt", structs), ("iou", pa.float64()), ("y", pa.bool_())])
    read = datasets.Features.from_dict(features_of(schema))
    assert read == datasets.Features(
        {
            "image": datasets.Image(),
            "images": datasets.List(datasets.Image()),
            "x": datasets.Value("int32"),
            "prompt": [{"role": datasets.Value("string"), "content": datasets.Value("string")}],
            "iou": datasets.Value("float64"),
            "y": datasets.Value("bool"),
        }
    )
    assert read.arrow_schema.types == schema.types
