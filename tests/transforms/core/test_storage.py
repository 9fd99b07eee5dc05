"""Storage: both kinds behave alike, writes are whole, names stay inside their root."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.core.storage import LocalStorage, MemoryStorage, Storage, join_under


@pytest.fixture(params=["local", "memory"])
def storage_and_root(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Storage, str]:
    if request.param == "local":
        return LocalStorage(), str(tmp_path)
    return MemoryStorage(), "root"


def test_both_storages_behave_alike(storage_and_root: tuple[Storage, str]):
    storage, root = storage_and_root
    path = f"{root}/a b/#ü.bin"
    assert not storage.is_file(path)
    assert storage.list_dir(f"{root}/a b") == []
    storage.write_bytes(path, b"one")
    storage.write_bytes(path, b"two")
    storage.write_bytes(f"{root}/z.txt", b"")
    assert storage.read_bytes(path) == b"two"
    assert storage.list_dir(root) == ["a b/", "z.txt"]
    assert storage.is_dir(f"{root}/a b")
    assert not storage.is_dir(path)
    storage.remove(path)
    storage.remove(path)
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(path)
    storage.write_bytes(path, b"again")
    storage.remove_dir(f"{root}/a b")
    storage.remove_dir(f"{root}/a b")
    assert not storage.is_file(path)
    assert storage.is_file(f"{root}/z.txt")


def test_a_failed_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    storage = LocalStorage()
    path = str(tmp_path / "file")
    storage.write_bytes(path, b"old")

    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        storage.write_bytes(path, b"new")
    assert storage.read_bytes(path) == b"old"
    assert storage.list_dir(str(tmp_path)) == ["file"]


@pytest.mark.parametrize(
    "name",
    [
        *("../x", "a/../../x", "/etc/passwd", "..", "C:/x", "C:x", "c:", "..\\x", "\\\\host\\x"),
        *("gs://b/x", "a\0b", "a\\b/../../x", "a\\..\\../..\\x", "\\x", "v/D:\\x", "a/c:/x"),
    ],
)
def test_names_that_leave_the_root_are_refused(name: str):
    with pytest.raises(TargetError, match="leads out of 'data'") as caught:
        join_under("data", name)
    assert caught.value.reason is RejectReason.PATH_ESCAPES_ROOT


@pytest.mark.parametrize(
    "name", ["a.jpg", "a/b#1 ü.jpg", "..a/b", "a..b", "a\\b.jpg", "1:1.jpg", "%2e%2e/x", "b/a:1"]
)
def test_names_inside_the_root_are_joined(name: str):
    assert join_under("data", name) == f"data/{name}"


def test_a_step_back_is_taken_before_the_disk_sees_it():
    assert join_under("data", "a/../b.jpg") == "data/b.jpg"


@given(st.text(alphabet="./\\ab:", max_size=12))
def test_no_name_gets_out(name: str):
    try:
        joined = join_under("/base/data", name)
    except TargetError:
        return
    assert (os.path.normpath(joined) + "/").startswith("/base/data/")


@pytest.mark.parametrize("kind", ["a pipe", "a socket", "a device", "a folder"])
def test_what_is_no_file_is_not_opened(kind: str, tmp_path: Path):
    path = tmp_path / "a.png"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
            server.bind(str(path))
    elif kind == "a device":
        path.symlink_to(os.devnull)
    else:
        path.mkdir()
    match = "Is a directory" if kind == "a folder" else f"it is {kind}, not a file"
    with pytest.raises(OSError, match=match):
        LocalStorage().read_bytes(str(path))


def test_a_file_larger_than_memory_is_not_read(tmp_path: Path):
    path = tmp_path / "a.png"
    with open(path, "wb") as f:
        f.truncate(1 << 43)
    with pytest.raises(OSError, match="8,796,093,022,208 bytes, more than half of the memory"):
        LocalStorage().read_bytes(str(path))
