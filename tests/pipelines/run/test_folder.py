"""The output folder: new, resumed, complete, refused, overwritten."""

from __future__ import annotations

import json

import pytest

from hlmat.pipelines.run.folder import RunFolder, RunStatus
from hlmat.transforms.core.errors import OutputError
from hlmat.transforms.core.storage import MemoryStorage
from hlmat.transforms.dataset_io.layout import OutputLayout

CONFIG = {"dataset": "shapes", "seed": 0}
TARGETS = {"count": 3, "sha256": "a" * 64}


@pytest.fixture
def folder() -> RunFolder:
    return RunFolder(OutputLayout("out"), MemoryStorage())


def test_a_new_run_then_a_resumed_one_then_a_complete_one(folder: RunFolder):
    assert folder.begin(CONFIG, overwrite=False) is RunStatus.NEW
    folder.note_targets(CONFIG, TARGETS)
    assert folder.begin(CONFIG, overwrite=False) is RunStatus.RESUMED
    folder.note_targets(CONFIG, TARGETS)
    folder.storage.write_bytes("out/units/a.arrow", b"")
    folder.storage.write_bytes("out/plan/units-00000.jsonl", b"")
    folder.storage.write_bytes("out/trajectories/x.parquet", b"")
    folder.finish(json.dumps({"config": CONFIG}).encode())
    assert folder.begin(CONFIG, overwrite=False) is RunStatus.COMPLETE
    assert folder.storage.list_dir("out") == ["manifest.json", "trajectories/"]


@pytest.mark.parametrize("finished", [False, True])
def test_another_configuration_is_refused_with_the_difference(folder: RunFolder, finished: bool):
    folder.begin(CONFIG, overwrite=False)
    if finished:
        folder.finish(json.dumps({"config": CONFIG}).encode())
    with pytest.raises(OutputError) as caught:
        folder.begin({**CONFIG, "seed": 1, "limit": 5}, overwrite=False)
    assert str(caught.value) == (
        "out holds a run with another configuration:\n"
        "  limit: it was not set, now 5\n"
        "  seed: it was 0, now 1\n"
        "choose another --out, repeat the run's own flags, or pass --overwrite to remove it"
    )


def test_overwriting_removes_the_runs_files_and_no_others(folder: RunFolder):
    folder.begin(CONFIG, overwrite=False)
    for name in ("trajectories/a.parquet", "rejects/a.parquet", "units/u.arrow", "notes.txt"):
        folder.storage.write_bytes(f"out/{name}", b"")
    assert folder.begin({**CONFIG, "seed": 1}, overwrite=True) is RunStatus.NEW
    assert folder.storage.list_dir("out") == ["notes.txt", "run.json"]


def test_what_a_run_works_on_is_noted_and_a_finished_run_can_be_reopened(folder: RunFolder):
    folder.begin(CONFIG, overwrite=False)
    assert folder.noted_targets() is None
    folder.note_targets(CONFIG, TARGETS)
    assert folder.noted_targets() == TARGETS
    folder.finish(json.dumps({"config": CONFIG}).encode())
    for name in ("trajectories/a.parquet", "rejects/a.parquet", "known/u.arrow", "DATA_CARD.md"):
        folder.storage.write_bytes(f"out/{name}", b"")
    folder.reopen(CONFIG, TARGETS)
    assert folder.begin(CONFIG, overwrite=False) is RunStatus.RESUMED
    assert folder.storage.list_dir("out") == ["known/", "run.json"]


def test_files_of_unknown_origin_are_not_mixed_with(folder: RunFolder):
    folder.storage.write_bytes("out/trajectories/a.parquet", b"")
    with pytest.raises(OutputError, match=r"holds trajectories/ but neither run.json nor"):
        folder.begin(CONFIG, overwrite=False)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]"])
def test_a_damaged_record_is_reported(folder: RunFolder, content: bytes):
    folder.storage.write_bytes("out/run.json", content)
    with pytest.raises(OutputError, match=r"out/run.json .*--overwrite"):
        folder.begin(CONFIG, overwrite=False)


def test_an_unwritable_folder_is_reported(monkeypatch: pytest.MonkeyPatch):
    class ReadOnly(MemoryStorage):
        def write_bytes(self, path: str, data: bytes) -> None:
            raise PermissionError(13, "Permission denied", path)

    folder = RunFolder(OutputLayout("out"), ReadOnly())
    with pytest.raises(OutputError, match=r"out cannot be written: .*Permission denied"):
        folder.begin(CONFIG, overwrite=False)


def test_notes_on_dead_units_are_read(folder: RunFolder):
    note = {"unit_id": "u", "index": 4, "error": ["ValueError", "odd"]}
    folder.storage.write_bytes("out/failures/u.json", json.dumps(note).encode())
    assert folder.failures() == ["unit 4: ValueError odd"]
    folder.storage.write_bytes("out/units/v.arrow", b"")
    folder.storage.write_bytes("out/failures/v.json", json.dumps(note).encode())
    assert folder.failures() == ["unit 4: ValueError odd"]
    folder.forget_failures()
    assert folder.failures() == []
