"""Files behind URLs: a store behaves as the disk does, and its failures are one sentence."""

from __future__ import annotations

import errno
import os
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from hlmat.transforms.core import url_storage
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.storage import LocalStorage
from hlmat.transforms.core.url_storage import UrlStorage, storage_for, url_problem


def test_local_paths_go_straight_to_the_disk() -> None:
    assert storage_for("/a", None, "b", scratch="s") == LocalStorage("s")
    assert storage_for("/a", "gs://b/c") == UrlStorage()
    assert storage_for("s3://b/c", is_data=True) == UrlStorage(keeps=True)


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("where", ["bucket", "disk"])
def test_files_come_and_go(where: str, bucket: str, tmp_path: Path, *, keeps: bool) -> None:
    root = bucket if where == "bucket" else str(tmp_path)
    storage = UrlStorage()
    assert not storage.is_dir(f"{root}/a")
    storage.write_bytes(f"{root}/a/b#1 [x]?%20.bin", b"one")
    storage.write_bytes(f"{root}/a/b#1 [x]?%20.bin", b"two")
    storage.write_bytes(f"{root}/c.gz", b"not compressed")
    reader = UrlStorage(keeps=keeps)
    assert reader.list_dir(root) == ["a/", "c.gz"]
    assert reader.list_dir(f"{root}/c.gz") == []
    assert reader.read_bytes(f"{root}/a/b#1 [x]?%20.bin") == b"two"
    assert reader.read_bytes(f"{root}/c.gz") == b"not compressed"
    assert reader.is_dir(f"{root}/a")
    assert not reader.is_file(f"{root}/a")
    assert reader.is_file(f"{root}/c.gz")
    assert not reader.is_file(f"{root}/d.gz")
    storage.remove(f"{root}/c.gz")
    storage.remove(f"{root}/c.gz")
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(f"{root}/c.gz")
    storage.remove_dir(f"{root}/a")
    storage.remove_dir(f"{root}/a")
    assert storage.list_dir(f"{root}/a") == []


class Disk(LocalFileSystem):
    """A store whose objects are files below the root of the disk."""

    protocol = ("disk",)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(path).removeprefix("disk:/")


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty folder of a store that takes no memory."""
    fsspec.register_implementation("disk", Disk, clobber=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "bucket").mkdir()
    return f"disk:/{tmp_path}/bucket"


def peak_of_writing(path: str, *, count: int) -> int:
    """Return the bytes of memory that writing so many pieces of a megabyte takes."""
    tracemalloc.start()
    UrlStorage().write_pieces(path, (bytes([k]) * (1 << 20) for k in range(count)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_a_file_of_many_pieces_takes_the_memory_of_few(disk: str, tmp_path: Path) -> None:
    few, many = (peak_of_writing(f"{disk}/{n}", count=n) for n in (8, 64))
    assert many < few + (4 << 20)
    assert (tmp_path / "bucket" / "64").stat().st_size == 64 << 20
    assert UrlStorage().read_bytes(f"{disk}/8") == b"".join(
        bytes([k]) * (1 << 20) for k in range(8)
    )
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("where", ["bucket", "disk"])
def test_pieces_are_written_whole_or_not_at_all(where: str, bucket: str, tmp_path: Path) -> None:
    path = f"{bucket if where == 'bucket' else tmp_path}/a/rows.json"

    def pieces() -> Iterator[bytes]:
        yield b"[1,"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        UrlStorage().write_pieces(path, pieces())
    assert not UrlStorage().is_file(path)
    UrlStorage().write_pieces(path, [b"[1,", b"", b" 2]"])
    assert UrlStorage().read_bytes(path) == b"[1, 2]"


def test_a_full_disk_of_this_machine_is_named(disk: str, tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"1"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left on device") as error:
        UrlStorage().write_pieces(f"{disk}/rows.json", pieces())
    assert error.value.filename == str(tmp_path / "temporary")
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_large_files_go_in_parts_where_the_library_has_them(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, int]] = []

    class Store:
        _strip_protocol = staticmethod(str)

        def put_file(self, file: str, place: str, **options: int) -> None:
            seen.append(options)

    monkeypatch.setattr(url_storage, "_file_system", lambda path: Store())
    UrlStorage().write_pieces(f"{scheme}://bucket/rows.json", [b"1"])
    assert seen == [{} if scheme == "az" else {"chunksize": 1 << 23}]


class Counted:
    """fsspec's memory, with its calls counted and some of them failing."""

    def __init__(self, *failures: Exception) -> None:
        self.calls: list[str] = []
        self._failures = list(failures)
        self._inner = fsspec.filesystem("memory")

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name.startswith("_"):
            return found

        def call(*args: Any, **options: Any) -> Any:
            self.calls.append(name)
            if self._failures:
                raise self._failures.pop(0)
            return found(*args, **options)

        return call


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url_storage, "_WAITS_S", (0.0, 0.0))


def served_by(monkeypatch: pytest.MonkeyPatch, *failures: Exception) -> Counted:
    served = Counted(*failures)
    monkeypatch.setattr(url_storage, "_file_system", lambda path: served)
    return served


def test_a_data_set_is_listed_once_and_an_image_read_once(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        UrlStorage().write_bytes(f"{bucket}/images/{name}.jpg", name.encode())
    served = served_by(monkeypatch)
    reader = UrlStorage(keeps=True)
    for name in "abcabcd":
        assert reader.is_file(f"{bucket}/images/{name}.jpg") is (name != "d")
    for name in "aabbcc":
        assert reader.read_bytes(f"{bucket}/images/{name}.jpg") == name.encode()
    assert served.calls == ["ls", "cat_file", "cat_file", "cat_file"]


def test_only_the_latest_files_are_kept(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url_storage._FILES, "_max_bytes", 10)
    for name in "abc":
        UrlStorage().write_bytes(f"{bucket}/{name}", name.encode() * 4)
    served = served_by(monkeypatch)
    for name in "abacaab":
        UrlStorage(keeps=True).read_bytes(f"{bucket}/{name}")
    # Two files fit: "c" takes the place of "b", the one that was not read for longest.
    assert served.calls == ["cat_file"] * 4


@pytest.mark.usefixtures("no_waits")
def test_what_may_pass_is_tried_again(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    UrlStorage().write_bytes(f"{bucket}/a", b"1")
    served = served_by(monkeypatch, ConnectionError("reset"), TimeoutError())
    assert UrlStorage().read_bytes(f"{bucket}/a") == b"1"
    assert served.calls == ["cat_file"] * 3


@pytest.mark.usefixtures("no_waits")
@pytest.mark.parametrize(
    ("failure", "calls", "kind", "message"),
    [
        (ConnectionError("reset\nby peer"), 3, OSError, "ConnectionError: reset by peer"),
        (TimeoutError(), 3, OSError, "TimeoutError"),
        (PermissionError("Forbidden"), 1, PermissionError, "access denied: Forbidden"),
        (NotImplementedError(), 1, OSError, "files there can only be read"),
        (FileNotFoundError("The bucket does not exist"), 1, OSError, "The bucket does not exist"),
    ],
)
def test_what_stays_is_one_line_with_the_path(
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    calls: int,
    kind: type[OSError],
    message: str,
) -> None:
    served = served_by(monkeypatch, *[failure] * 3)
    with pytest.raises(kind) as error:
        UrlStorage().write_bytes(f"{bucket}/a", b"1")
    assert str(error.value).startswith(f"{bucket}/a: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert served.calls == ["pipe_file"] * calls


def test_a_library_that_repeats_requests_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    served = served_by(monkeypatch, ConnectionError("reset"))
    with pytest.raises(OSError, match="s3://bucket/a: ConnectionError: reset"):
        UrlStorage().read_bytes("s3://bucket/a")
    assert served.calls == ["cat_file"]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (None, None),
        ("data/images", None),
        ("memory://bucket", None),
        ("file:///data", "file:///data: give a local path without file://"),
        (
            "gss://b/x",
            "gss://b/x: gss:// is not a supported scheme; did you mean 'gs'? choose s3://, "
            "gs://, az:// or, to read from, hf:// or https://",
        ),
    ],
)
def test_a_scheme_is_known_or_explained(path: str | None, problem: str | None) -> None:
    assert url_problem(path) == problem


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(scheme: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    assert url_problem("s3://b/x") == (
        "s3://b/x: the package for s3:// is missing (Install s3fs to access S3); "
        "pip install 'hlmat[s3]'"
    )
    with pytest.raises(ConfigError, match=r"pip install 'hlmat\[s3\]'"):
        UrlStorage().is_file("s3://b/x")
