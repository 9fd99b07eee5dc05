"""Beam's file systems behind `Storage`: a bucket behaves as the disk does."""

from __future__ import annotations

from pathlib import Path

import pytest
from apache_beam.io.filesystems import FileSystems

from hlmat.transforms.beam.storage import BeamStorage, storage_for
from hlmat.transforms.core.storage import LocalStorage


def test_local_paths_go_straight_to_the_disk():
    assert isinstance(storage_for("/a", None, "b"), LocalStorage)
    assert isinstance(storage_for("/a", "gs://b/c"), BeamStorage)


@pytest.mark.parametrize("where", ["bucket", "disk"])
def test_files_come_and_go(where: str, bucket: str, tmp_path: Path):
    root = bucket if where == "bucket" else str(tmp_path)
    storage = BeamStorage()
    assert not storage.is_dir(f"{root}/a")
    storage.write_bytes(f"{root}/a/b#1 [x].bin", b"one")
    storage.write_bytes(f"{root}/a/b#1 [x].bin", b"two")
    storage.write_bytes(f"{root}/c.gz", b"not compressed")
    assert storage.list_dir(root) == ["a/", "c.gz"]
    assert storage.read_bytes(f"{root}/a/b#1 [x].bin") == b"two"
    assert storage.read_bytes(f"{root}/c.gz") == b"not compressed"
    assert storage.is_dir(f"{root}/a")
    assert storage.is_file(f"{root}/c.gz")
    storage.remove(f"{root}/c.gz")
    storage.remove(f"{root}/c.gz")
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(f"{root}/c.gz")
    storage.remove_dir(f"{root}/a")
    storage.remove_dir(f"{root}/a")
    assert storage.list_dir(f"{root}/a") == []


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(
    bucket: str, monkeypatch: pytest.MonkeyPatch
):
    def refuse(patterns: list[str], limits: list[int | None]) -> None:
        from apache_beam.io.filesystem import BeamIOError

        raise BeamIOError("Match failed", {patterns[0]: PermissionError("denied")})

    monkeypatch.setattr(FileSystems, "match", refuse)
    with pytest.raises(OSError, match="cannot be listed"):
        BeamStorage().list_dir(bucket)
