"""The record of a run's files: what is taken, what is read again, what is never opened."""

from __future__ import annotations

import hashlib
import os
import pickle
import time
from pathlib import Path

import pytest

import builders
from hlmat.pipelines.run import inputs
from hlmat.pipelines.run.inputs import (
    InputChanges,
    InputFile,
    changes_of,
    files_of,
    inputs_from_bytes,
    inputs_to_bytes,
    take_inputs,
)
from hlmat.transforms.core.storage import LocalStorage, MemoryStorage
from hlmat.transforms.core.url_storage import UrlStorage, forget_kept
from hlmat.transforms.readers.files.read_log import ReadLog


def entry(content: bytes) -> InputFile:
    return InputFile(len(content), hashlib.sha256(content).hexdigest())


def silent() -> ReadLog:
    return ReadLog(LocalStorage())


def test_files_are_taken_with_what_was_read_for_the_listing(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"pixels")
    (tmp_path / "list.json").write_bytes(b"[]")
    log = silent()
    log.read_bytes(f"{tmp_path}/list.json")
    taken = take_inputs(["missing.png", "a.png", "a.png"], root=str(tmp_path), log=log)
    assert taken == {"a.png": entry(b"pixels"), "list.json": entry(b"[]")}
    assert inputs_from_bytes(inputs_to_bytes(taken), name="x") == taken


def test_pipes_links_out_of_the_root_and_odd_names_are_not_opened(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "link.png").symlink_to(tmp_path / "secret")
    os.mkfifo(root / "pipe.png")
    names = ["link.png", "pipe.png", "../secret", "a\0b", "odd\udcff.png", ".", "/etc/passwd"]
    assert take_inputs(names, root=str(root), log=silent()) == {}
    followed = take_inputs(names, root=str(root), log=silent(), follow_links=True)
    assert followed == {"link.png": entry(b"secret")}


def test_a_url_s_images_are_not_read_again() -> None:
    log = ReadLog(MemoryStorage({"gs://bucket/data/list.json": b"[]"}))
    log.read = {"gs://bucket/data/list.json": (2, hashlib.sha256(b"[]").hexdigest())}
    taken = take_inputs(["a.png"], root="gs://bucket/data", log=log)
    assert taken == {"list.json": entry(b"[]")}
    changes = changes_of(
        {**taken, "a.png": entry(b"1")}, root="gs://bucket/data", log=log, taken_at=0
    )
    assert changes == InputChanges()


def test_changes_are_found_by_content_and_untouched_files_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("same", "touched", "edited", "longer"):
        (tmp_path / name).write_bytes(b"1234")
    before = {n: entry(b"1234") for n in ("same", "touched", "edited", "longer", "gone")}
    (tmp_path / "edited").write_bytes(b"4321")
    (tmp_path / "longer").write_bytes(b"12345")

    def changes(taken_at: float) -> InputChanges:
        return changes_of(before, root=str(tmp_path), log=silent(), taken_at=taken_at)

    assert changes(time.time()) == InputChanges(("edited", "longer"), ("gone",))
    monkeypatch.setattr(inputs, "_digest", lambda place: pytest.fail(f"{place} is read"))
    assert changes(time.time() + 3600) == InputChanges(("longer",), ("gone",))


def test_a_changed_listing_is_found_in_what_was_read(tmp_path: Path) -> None:
    log = silent()
    (tmp_path / "list.json").write_bytes(b"[1]")
    log.read_bytes(f"{tmp_path}/list.json")
    changes = changes_of(
        {"list.json": entry(b"[]")}, root=str(tmp_path), log=log, taken_at=time.time() + 3600
    )
    assert changes == InputChanges(("list.json",))


def test_a_target_s_files_are_its_image_and_its_mask() -> None:
    ref = builders.target_ref(image_path="images/a.png", truth_ref='{"mask": "masks/a.png"}')
    assert list(files_of(ref)) == ["images/a.png", "masks/a.png"]
    for text in ("{}", "[]", "no JSON", '{"mask": 1}'):
        ref = builders.target_ref(image_path="images/a.png", truth_ref=text)
        assert list(files_of(ref)) == ["images/a.png"]


def test_a_target_of_a_table_has_the_table_as_its_file() -> None:
    text = '{"file":"data/\\"a\\".parquet","row":3,"segmentation":[[1,2]]}'
    ref = builders.target_ref(image_path='data/"a".parquet/3/cup.png', truth_ref=text)
    assert list(files_of(ref)) == ['data/"a".parquet']
    ref = builders.target_ref(
        image_path="images/cup.png", truth_ref='{"file": "a.parquet", "row": 3}'
    )
    assert list(files_of(ref)) == ["a.parquet", "images/cup.png"]


def test_a_log_notes_nothing_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    log = silent()
    copy = pickle.loads(pickle.dumps(log))
    for storage in (log, copy):
        assert storage.read_bytes(str(tmp_path / "a")) == b"1"
    assert (list(log.read), copy.read) == ([str(tmp_path / "a")], {})


def listed(root: str, **files: bytes) -> ReadLog:
    """Return a log over files behind a URL, whose folder was listed."""
    import fsspec

    store = fsspec.filesystem("memory")
    for name, content in files.items():
        store.pipe_file(f"{root}/{name}.png".removeprefix("memory:/"), content)
    log = ReadLog(UrlStorage(keeps=True))
    log.list_dir(root)
    return log


def test_what_a_store_lists_of_images_is_recorded_and_compared(bucket: str) -> None:
    root = bucket
    names = ["a.png", "b.png", "c.png", "other/d.png"]
    log = listed(root, a=b"one", b=b"two", c=b"three")
    before = take_inputs(names, root=root, log=log)
    assert [(path, entry.size) for path, entry in before.items()] == [
        ("a.png", 3),
        ("b.png", 3),
        ("c.png", 5),
    ]
    assert inputs_from_bytes(inputs_to_bytes(before), name="x") == before
    assert log.read == {}
    same = changes_of(before, root=root, log=listed(root), taken_at=0)
    assert same == InputChanges()

    import fsspec

    forget_kept()
    fsspec.filesystem("memory").rm_file(f"{root}/b.png".removeprefix("memory:/"))
    log = listed(root, a=b"eno")
    assert changes_of(before, root=root, log=log, taken_at=0) == InputChanges(
        changed=("a.png",), gone=("b.png",)
    )


def test_a_digest_of_one_store_is_not_compared_with_a_time_of_another(bucket: str) -> None:
    log = listed(bucket, a=b"one")
    before = {"a.png": InputFile(3, "digest ETag 0123")}
    assert changes_of(before, root=bucket, log=log, taken_at=0) == InputChanges()
    longer = {"a.png": InputFile(4, "digest ETag 0123")}
    assert changes_of(longer, root=bucket, log=log, taken_at=0).changed == ("a.png",)
