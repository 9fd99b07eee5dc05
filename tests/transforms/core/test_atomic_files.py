"""Atomic writes: what is there is whole, and a failed write leaves no trace."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hlmat.transforms.core.atomic_files import (
    atomic_file,
    atomic_folder,
    remove_stale_files,
    temporary_path,
)


def test_a_file_appears_whole_in_a_folder_made_for_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.bin"
    with atomic_file(str(path)) as f:
        f.write(b"12")
        assert not path.exists()
    assert path.read_bytes() == b"12"
    assert os.listdir(path.parent) == ["a.bin"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_write_keeps_the_earlier_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(error):
        _write_half(str(path), error)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_file_does_not_replace_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="a"), atomic_file(str(tmp_path / "a")) as f:
        f.write(b"x")
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_appears_whole(tmp_path: Path, exists: bool) -> None:
    place = tmp_path / "deep" / "out"
    if exists:
        place.mkdir(parents=True)
    with atomic_folder(f"{place}/") as folder:
        (Path(folder) / "a.txt").write_text("1", encoding="ascii")
        assert not place.exists() or not os.listdir(place)
    assert os.listdir(place) == ["a.txt"]
    assert os.listdir(place.parent) == ["out"]


def test_a_failed_folder_is_removed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"):
        _fill_half(str(tmp_path / "out"), ValueError("stop"))
    assert os.listdir(tmp_path) == []


def test_a_folder_with_content_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").touch()
    with pytest.raises(OSError, match="out"), atomic_folder(str(tmp_path / "out")):
        pass
    assert os.listdir(tmp_path / "out") == ["kept"]
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize(
    ("path", "folder", "beside"),
    [
        ("a/b.parquet", None, "a/"),
        ("a/b/", None, "a/"),
        ("b", None, ""),
        ("/b", None, "/"),
        ("gs://bucket/b.parquet", None, "gs://bucket/"),
        ("a/b.parquet", "c", "c/"),
    ],
)
def test_temporary_names_differ_are_hidden_and_share_nothing_with_the_path(
    path: str, folder: str | None, beside: str
) -> None:
    names = {temporary_path(path, folder=folder) for _ in range(10)}
    assert len(names) == 10
    assert all(re.fullmatch(r"\.tmp-[0-9a-f-]+", n.removeprefix(beside)) for n in names)


def test_a_scratch_folder_takes_the_temporary_file(tmp_path: Path) -> None:
    path, scratch = tmp_path / "final" / "a.bin", tmp_path / "scratch"
    with atomic_file(str(path), scratch=str(scratch)) as f:
        f.write(b"1")
        assert (len(os.listdir(path.parent)), len(os.listdir(scratch))) == (0, 1)
    assert (os.listdir(path.parent), os.listdir(scratch)) == (["a.bin"], [])


def test_what_a_killed_process_leaves_is_hidden_and_removed_by_the_next_writer(
    tmp_path: Path,
) -> None:
    _kill_while_writing(tmp_path)
    left = os.listdir(tmp_path)
    assert len(left) == 2
    assert all(name.startswith(".tmp-") for name in left)
    with atomic_file(str(tmp_path / "b.parquet")) as f:
        f.write(b"1")
    assert os.listdir(tmp_path) == ["b.parquet"]


def test_temporary_files_of_the_living_and_of_other_machines_stay(tmp_path: Path) -> None:
    own = Path(temporary_path(str(tmp_path / "a")))
    elsewhere = tmp_path / ".tmp-01234567-1-5-abcdef012345"
    old = tmp_path / ".tmp-01234567-2-5-abcdef012345"
    unknown = tmp_path / ".tmp-of-somebody"
    for path in (own, elsewhere, old, unknown):
        path.touch()
    os.utime(old, (0, 0))
    remove_stale_files(str(tmp_path))
    assert {p.name for p in tmp_path.iterdir()} == {own.name, elsewhere.name, unknown.name}
    remove_stale_files(str(tmp_path / "missing"))


def _kill_while_writing(folder: Path) -> None:
    """Let a process be killed with half a file and half a folder."""
    script = (
        "import os, signal, sys\n"
        "from hlmat.transforms.core.atomic_files import atomic_file, atomic_folder\n"
        "with atomic_file(sys.argv[1] + '/a.parquet') as f, atomic_folder(sys.argv[1] + '/b'):\n"
        "    f.write(b'half')\n"
        "    f.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL


def _write_half(path: str, error: type[BaseException]) -> None:
    with atomic_file(path) as f:
        f.write(b"half")
        raise error


def _fill_half(path: str, error: Exception) -> None:
    with atomic_folder(path) as folder:
        (Path(folder) / "a.txt").write_text("1", encoding="ascii")
        raise error
