from __future__ import annotations

import json
import struct
import tracemalloc
from pathlib import Path

import pytest

from hlmat.transforms.core.safetensors_file import announced_size


def written(folder: Path, header: bytes, *, length: int | None = None) -> Path:
    path = folder / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header)
    return path


def test_the_size_of_header_and_tensors(tmp_path: Path):
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "b": {"dtype": "F16", "shape": [1], "data_offsets": [16, 18]},
    }
    text = json.dumps(header).encode()
    assert announced_size(written(tmp_path, text)) == 8 + len(text) + 18
    assert announced_size(written(tmp_path, b"{}")) == 10


@pytest.mark.parametrize(
    ("header", "length", "problem"),
    [
        (b"{}", 1 << 60, "its header would have 1152921504606846976 bytes"),
        (b'{"a":' * 100_000, None, "lists no tensors, but brackets"),
        (b'{"a":[' + b"[]," * 7_000_000 + b"[]]}", None, "lists no tensors, but brackets"),
        (b'{"a":' * 40 + b" " * 9000, None, "its header cannot be read"),
        (b'{"a": {"data_offsets": [0, 1e999]}}', None, "its header cannot be read"),
        (b'{"a": {"data_offsets": [0, "x"]}}', None, "its header cannot be read"),
        (b'{"a": 1}', None, "its header cannot be read"),
        (b"[1]", None, "its header cannot be read"),
        (b"", 8, "its header cannot be read"),
    ],
)
def test_what_is_no_header(tmp_path: Path, header: bytes, length: int | None, problem: str):
    path = written(tmp_path, header, length=length)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=problem):
            announced_size(path)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def test_a_file_of_less_than_its_first_number(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"\0\0\0")
    with pytest.raises(ValueError, match="less than 8 bytes"):
        announced_size(tmp_path / "a")
