"""Atomic writes: what is there is whole, and a failed write leaves no trace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hlmat.transforms.core.atomic_files import atomic_file, atomic_folder, temporary_path


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


def test_temporary_names_differ_and_stay_beside_the_path() -> None:
    names = {temporary_path("a/b/") for _ in range(10)}
    assert len(names) == 10
    assert all(name.startswith("a/b.tmp-") for name in names)


def _write_half(path: str, error: type[BaseException]) -> None:
    with atomic_file(path) as f:
        f.write(b"half")
        raise error


def _fill_half(path: str, error: Exception) -> None:
    with atomic_folder(path) as folder:
        (Path(folder) / "a.txt").write_text("1", encoding="ascii")
        raise error
