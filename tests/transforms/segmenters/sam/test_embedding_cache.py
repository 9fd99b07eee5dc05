"""Kept embeddings: bounded in size, the least recently used go first, damaged ones are ignored."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.segmenters.sam.embedding_cache import (
    EmbeddingStore,
    StoreLimits,
    embedding_key,
)

torch = pytest.importorskip("torch")

ONE = 4 * 256


def embedding(value: float, *, dtype: Any = None) -> Any:
    return torch.full((4, 8, 8), value, dtype=dtype or torch.float32)


def store(**limits: Any) -> EmbeddingStore:
    return EmbeddingStore(StoreLimits(**limits), device=torch.device("cpu"))


def held(kept: EmbeddingStore, *keys: str) -> list[float | None]:
    return [None if (e := kept.get(key)) is None else float(e[0, 0, 0]) for key in keys]


def test_nothing_is_kept_without_room():
    kept = store()
    kept.put("a", embedding(1))
    assert held(kept, "a") == [None]


def test_the_least_recently_used_leaves_first():
    kept = store(host_bytes=2 * ONE)
    kept.put("a", embedding(1))
    kept.put("b", embedding(2))
    assert held(kept, "a") == [1]
    kept.put("c", embedding(3))
    assert held(kept, "a", "b", "c") == [1, None, 3]


def test_what_leaves_the_device_stays_in_memory():
    kept = store(device_bytes=ONE, host_bytes=ONE)
    kept.put("a", embedding(1))
    kept.put("b", embedding(2))
    kept.put("c", embedding(3))
    assert held(kept, "a", "c", "b") == [None, 3, 2]


def test_a_folder_outlives_the_process(tmp_path: Path):
    store(folder=str(tmp_path)).put("a", embedding(1, dtype=torch.float16))
    found = store(folder=str(tmp_path)).get("a")
    assert found is not None
    assert found.dtype == torch.float16
    assert torch.equal(found, embedding(1, dtype=torch.float16))


def test_a_folder_is_bounded_and_forgets_what_was_used_longest_ago(tmp_path: Path):
    file_bytes = ONE + 128
    kept = store(folder=str(tmp_path), folder_bytes=4 * file_bytes)
    for number in range(12):
        kept.put(f"{number}", embedding(number))
        assert sum(f.stat().st_size for f in tmp_path.iterdir()) <= 4 * file_bytes
    assert held(kept, "0", "11") == [None, 11]


def test_an_embedding_larger_than_the_folder_is_not_written(tmp_path: Path):
    store(folder=str(tmp_path), folder_bytes=10).put("a", embedding(1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not numpy", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_is_as_good_as_none(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "a.npy").write_bytes(content)
    kept = store(folder=str(tmp_path))
    assert held(kept, "a") == [None]
    assert "a.npy cannot be read" in caplog.text
    kept.put("a", embedding(5))
    assert held(kept, "a") == [5]


def test_a_file_with_a_pickle_in_it_is_not_unpickled(tmp_path: Path):
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    np.save(tmp_path / "a.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    assert held(store(folder=str(tmp_path)), "a") == [None]
    assert not (tmp_path / "sprung").exists()


def test_a_folder_that_cannot_be_written_does_not_end_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    kept = store(folder=str(tmp_path / "gone"))
    (tmp_path / "gone").rmdir()
    (tmp_path / "gone").write_text("a file")
    kept.put("a", embedding(1))
    kept.put("b", embedding(1))
    assert caplog.text.count("cannot be written") == 1


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"folder": "gs://bucket/x"}, "local folder; 'gs://bucket/x' is a URL"),
        ({"host_bytes": -1}, "host_bytes must be 0 or more, got -1"),
    ],
)
def test_bad_limits_are_refused(limits: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        StoreLimits(**limits)


def test_a_folder_below_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"folder of embeddings .*file/x cannot be made"):
        store(folder=str(tmp_path / "file" / "x"))


def test_a_key_distinguishes_images_shapes_and_weights():
    image = np.zeros((2, 6, 3), dtype=np.uint8)
    other = image.copy()
    other[1, 1, 1] = 1
    keys = {
        embedding_key(image, identity="w"),
        embedding_key(other, identity="w"),
        embedding_key(image.reshape(4, 3, 3), identity="w"),
        embedding_key(image, identity="v"),
    }
    assert len(keys) == 4
    assert embedding_key(image[:, ::2], identity="w") == embedding_key(
        np.zeros((2, 3, 3), dtype=np.uint8), identity="w"
    )


def test_a_file_that_announces_more_than_it_holds(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117)
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header + b"\n"
    (tmp_path / "a.npy").write_bytes(content)
    assert held(store(folder=str(tmp_path)), "a") == [None]
    assert "a.npy cannot be read" in caplog.text
