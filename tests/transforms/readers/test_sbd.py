"""SBD's MATLAB files, made here as the release's README describes them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat
from scipy.sparse import csc_array

from hlmat.transforms.core.errors import ConfigError, LayoutError, TargetError
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from hlmat.transforms.readers.sbd import read_ground_truth
from reader_fixtures import assert_all_load, image, memory, reasons, split_items

LABELS = np.zeros((6, 8), np.uint8)
LABELS[1:3, 1:4] = 1
LABELS[3:5, 5:7] = 2
DATASET = "benchmark_RELEASE/dataset/"


def mat(labels: np.ndarray = LABELS, categories: tuple[int, ...] | None = (15, 8)) -> bytes:
    fields: dict[str, object] = {"Segmentation": labels}
    numbers = [int(n) for n in np.unique(labels) if n]
    boundaries = np.empty((len(numbers), 1), object)
    for row, number in enumerate(numbers):
        boundaries[row, 0] = csc_array((labels == number).astype(np.float64))
    fields["Boundaries"] = boundaries
    if categories is not None:
        fields["Categories"] = np.array(categories, np.float64).reshape(-1, 1)
    buffer = io.BytesIO()
    variable = "GTcls" if categories is None else "GTinst"
    savemat(buffer, {variable: fields}, do_compression=True)
    return buffer.getvalue()


def files(inst: bytes | None = None) -> dict[str, bytes]:
    classes = np.select([LABELS == 1, LABELS == 2], [15, 8], 0).astype(np.uint8)
    return {
        f"{DATASET}img/2008_000001.jpg": image(),
        f"{DATASET}inst/2008_000001.mat": inst or mat(),
        f"{DATASET}cls/2008_000001.mat": mat(classes, None),
        f"{DATASET}train.txt": b"2008_000001\n",
        f"{DATASET}val.txt": b"2008_000002\n../../../../secret\n",
    }


def open_sbd(
    content: dict[str, bytes], mask_values: str | None = None, split: str | None = None
) -> DatasetReader:
    options = ReaderOptions("data", split, memory(content), mask_values=mask_values)
    return open_reader("sbd", options)


@pytest.mark.parametrize(
    ("mask_values", "numbers", "names"),
    [(None, [1, 2], ["person", "cat"]), ("classes", [8, 15], ["cat", "person"])],
)
def test_instances_and_classes(
    mask_values: str | None, numbers: list[int], names: list[str]
) -> None:
    reader = open_sbd(files(), mask_values)
    refs, rejects = split_items(reader)
    assert not rejects
    assert_all_load(reader, refs)
    assert [ref.target_id for ref in refs] == [f"sbd/train/2008_000001:{n}" for n in numbers]
    assert [ref.expressions for ref in refs] == [(name,) for name in names]
    by_name = {ref.expressions[0]: reader.load_truth(ref) for ref in refs}
    np.testing.assert_array_equal(by_name["person"].truth, LABELS == 1)
    np.testing.assert_array_equal(by_name["cat"].truth, LABELS == 2)
    assert by_name["cat"].ignore is None


def test_255_is_void() -> None:
    labels = LABELS.copy()
    labels[0] = 255
    reader = open_sbd(files(mat(labels)))
    refs, _ = split_items(reader)
    assert len(refs) == 2
    ignore = reader.load_truth(refs[0]).ignore
    assert ignore is not None
    np.testing.assert_array_equal(ignore, labels == 255)


def test_files_that_are_not_there_or_elsewhere() -> None:
    _, rejects = split_items(open_sbd(files(), split="val"))
    assert reasons(rejects) == ["missing_mask", "path_escapes_root"]


@pytest.mark.parametrize(
    ("inst", "expected"),
    [
        (b"no mat file", ["unreadable_mask"]),
        (mat()[:300], ["unreadable_mask"]),
        (mat(categories=None), ["unreadable_mask"]),
        (mat(np.zeros((6, 8), np.uint8), ()), ["empty_mask"]),
        (mat(categories=(15,)), ["malformed_entry"]),
        (mat(categories=(15, 21)), ["malformed_entry"]),
    ],
    ids=["other file", "cut off", "of classes", "empty", "one category", "category 21"],
)
def test_files_that_cannot_be_used(inst: bytes, expected: list[str]) -> None:
    _, rejects = split_items(open_sbd(files(inst)))
    assert reasons(rejects) == expected


def test_a_file_that_swells_is_refused_before_it_is_read() -> None:
    swollen = zlib.compress(bytes(80_000_000), 9)
    data = mat()[:128] + struct.pack("<II", 15, len(swollen)) + swollen
    with pytest.raises(TargetError, match=r"a.mat holds more than 64,000,000 bytes") as error:
        read_ground_truth(data, name="a.mat", variable="GTinst")
    assert error.value.reason == "too_large"


@given(st.data())
def test_flipped_bytes_are_rejected_or_read(data: st.DataObject) -> None:
    whole = bytearray(mat())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    assert len(list(open_sbd(files(bytes(whole))).read_targets())) >= 1


def test_layout() -> None:
    content = {name: data for name, data in files().items() if "train.txt" not in name}
    with pytest.raises(LayoutError, match=r"looked for img/, inst/ and train.txt there"):
        open_sbd(content)


def test_other_levels_are_refused() -> None:
    with pytest.raises(ConfigError, match="sbd takes classes or instances alone"):
        open_sbd(files(), "object=1")
