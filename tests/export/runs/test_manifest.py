from __future__ import annotations

import json
from pathlib import Path

import pytest

from hlmat.export.runs.manifest import FileEntry, build_manifest, read_manifest, verify
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.storage import LocalStorage, MemoryStorage

CONFIG = {"dataset": "shapes", "seed": 3}
COUNTS = {"targets": 2}


def make_run() -> MemoryStorage:
    storage = MemoryStorage({"out/a.bin": b"aa", "out/b.bin": b"b"})
    files = {"b.bin": FileEntry.of(b"b", rows=1), "a.bin": FileEntry.of(b"aa", rows=2)}
    storage.write_bytes("out/manifest.json", build_manifest(files, CONFIG, COUNTS))
    return storage


def test_manifest_is_read_back_and_holds() -> None:
    storage = make_run()
    manifest = read_manifest(storage, "out")
    assert manifest.config == CONFIG
    assert manifest.counts == COUNTS
    assert manifest.files["a.bin"] == FileEntry.of(b"aa", rows=2)
    verify(storage, "out", manifest)


def test_bytes_do_not_depend_on_the_order_of_keys() -> None:
    entries = {"a": FileEntry.of(b"a", rows=1), "b": FileEntry.of(b"b", rows=1)}
    backwards = dict(reversed(entries.items()))
    one = build_manifest(entries, {"x": 1, "y": 2}, COUNTS)
    assert one == build_manifest(backwards, {"y": 2, "x": 1}, COUNTS)


def test_verify_names_every_file_that_differs() -> None:
    storage = make_run()
    manifest = read_manifest(storage, "out")
    storage.write_bytes("out/a.bin", b"ax")
    storage.remove("out/b.bin")
    with pytest.raises(DataError) as caught:
        verify(storage, "out", manifest)
    assert "out/a.bin is not the file that the manifest lists: 2 bytes" in str(caught.value)
    assert "out/b.bin is listed in the manifest but missing" in str(caught.value)


def test_a_listed_name_must_stay_inside() -> None:
    storage = make_run()
    files = {"../secret": FileEntry.of(b"", rows=0)}
    storage.write_bytes("out/manifest.json", build_manifest(files, {}, {}))
    with pytest.raises(DataError, match=r"leads out of 'out'"):
        verify(storage, "out", read_manifest(storage, "out"))


def test_a_folder_without_a_run_is_reported_with_its_content() -> None:
    with pytest.raises(DataError, match=r"not the output of a finished run \(found: x/\); give"):
        read_manifest(MemoryStorage({"out/x/y": b""}), "out")


def test_a_folder_that_does_not_exist_is_called_so(tmp_path: Path) -> None:
    out = str(tmp_path / "nowhere")
    with pytest.raises(DataError) as caught:
        read_manifest(LocalStorage(), out)
    assert str(caught.value) == (
        f"{out}: no such folder; give the --out of a finished `hlmat trajectories`"
    )


def test_a_listed_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.bin").mkdir()
    files = {"a.bin": FileEntry.of(b"aa", rows=2)}
    (tmp_path / "manifest.json").write_bytes(build_manifest(files, CONFIG, COUNTS))
    manifest = read_manifest(LocalStorage(), str(tmp_path))
    with pytest.raises(DataError, match=r"a\.bin cannot be read: .*[Ii]s a directory"):
        verify(LocalStorage(), str(tmp_path), manifest)


def test_an_unfinished_run_is_called_so() -> None:
    with pytest.raises(DataError, match="the run in out is not finished; repeat the command"):
        read_manifest(MemoryStorage({"out/run.json": b"{}"}), "out")


def test_a_manifest_that_is_a_folder_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(DataError, match=r"manifest\.json cannot be read"):
        read_manifest(LocalStorage(), str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not a manifest .JSONDecodeError"),
        (b"[]", "is not a manifest .TypeError"),
        (b'{"manifest_version": 1}', "is not a manifest .KeyError: 'files'"),
        (b'{"manifest_version": 1, "files": []}', "is not a manifest .AttributeError"),
        (b'{"manifest_version": 9}', "manifest version 9, expected 1; read it with"),
        (
            json.dumps({"manifest_version": 1, "files": {"a": {"sha256": "0"}}}).encode(),
            "is not a manifest .KeyError: 'bytes'",
        ),
    ],
)
def test_a_malformed_manifest_is_named(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_manifest(MemoryStorage({"out/manifest.json": content}), "out")


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ('"seed": 3', '"seed": 1e999', "ValueError: the number 1e999"),
        ('"seed": 3', '"seed": NaN', "ValueError: the number NaN"),
        ('"seed": 3', '"seed": -1', "ValueError: seed is -1"),
        ('"dataset": "shapes"', '"dataset": ["a"]', r"ValueError: dataset is \['a'\]"),
        ('"seed": 3', '"seed": 3, "segmenter": {}', r"ValueError: segmenter is \{\}"),
        ('"seed": 3', '"seed": 3, "target_iou": 2', "ValueError: target_iou is 2"),
        ('"bytes": 1', '"bytes": 1e999', "ValueError: the number 1e999"),
        ('"bytes": 1', '"bytes": ' + "[" * 50_000, "RecursionError"),
    ],
)
def test_a_manifest_with_odd_values_is_none(before: str, after: str, problem: str) -> None:
    storage = make_run()
    text = storage.read_bytes("out/manifest.json").decode()
    assert before in text
    storage.write_bytes("out/manifest.json", text.replace(before, after).encode())
    with pytest.raises(DataError, match=f"out/manifest.json is not a manifest .{problem}"):
        read_manifest(storage, "out")


def test_a_setting_that_is_missing_is_named() -> None:
    manifest = read_manifest(make_run(), "out")
    with pytest.raises(DataError, match=r"manifest\.json: its configuration has no 'max_clicks'"):
        manifest.config["max_clicks"]
    assert manifest.config.get("max_clicks") is None


@pytest.mark.parametrize("name", ["../other/trajectories/a.parquet", "/etc/passwd", "a\\..\\..\\b"])
def test_a_manifest_lists_nothing_outside_of_its_folder(name: str) -> None:
    storage = MemoryStorage()
    entry = FileEntry.of(b"", rows=0)
    storage.write_bytes("out/manifest.json", build_manifest({name: entry}, {}, {}))
    with pytest.raises(DataError, match="leads out of"):
        read_manifest(storage, "out")
