from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from hlmat.pipelines.training.folder import TrainingFolder, checkpoints, differences
from hlmat.transforms.core.errors import OutputError

SETTINGS: dict[str, Any] = {"trajectories": {"seed": "0"}, "export": {"codec": "decimal"}}
SETTINGS["train"] = {"learning_rate": 1e-5}


def write_checkpoint(folder: Path, step: int, **changes: Any) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    data = struct.pack("<Q", len(header)) + header + b"1234"
    (path / "model.safetensors").write_bytes(data[: changes.get("bytes", len(data))])
    state = {"global_step": changes.get("global_step", step)}
    (path / "trainer_state.json").write_text(changes.get("state", json.dumps(state)))
    return path


def fill(folder: TrainingFolder) -> None:
    folder.begin(SETTINGS, overwrite=False)
    for path in (folder.trajectories, folder.data, folder.model, folder.cache):
        path.mkdir()
        (path / "file").write_text("")


def left(folder: TrainingFolder) -> set[str]:
    return {path.name for path in folder.out.iterdir()}


def test_checkpoints_come_in_the_order_of_their_steps(tmp_path: Path) -> None:
    expected = [write_checkpoint(tmp_path, step) for step in (9, 10, 100)]
    assert checkpoints(tmp_path) == (expected, [])


@pytest.mark.parametrize(
    "changes",
    [
        {"bytes": 3},  # not even a header's length
        {"bytes": 30},  # cut within the header
        {"bytes": 60},  # cut within the weights
        {"state": '{"global_'},  # the state was being written
        {"global_step": 4},  # the state of another checkpoint
    ],
)
def test_a_half_written_checkpoint_is_passed_over_and_removed(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    folder = TrainingFolder(tmp_path)
    whole = write_checkpoint(folder.model, 2)
    broken = write_checkpoint(folder.model, 6, **changes)
    assert checkpoints(folder.model) == ([whole], [broken])
    assert folder.prepare_to_go_on() == whole
    assert not broken.exists()


def test_without_a_whole_checkpoint_the_training_starts_from_scratch(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    write_checkpoint(folder.model, 2, bytes=3)
    (folder.model / "model.safetensors").write_text("")
    assert folder.prepare_to_go_on() is None
    assert not folder.model.exists()


def test_the_log_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    write_checkpoint(folder.model, 2)
    log = folder.model / "trainer_log.jsonl"
    log.write_text('{"current_steps": 1}\n{"current_steps": 2}\n{"current_steps": 3}\n{"curr')
    folder.prepare_to_go_on()
    assert log.read_text() == '{"current_steps": 1}\n{"current_steps": 2}\n'


def test_a_training_is_recognised(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    assert not folder.is_begun(SETTINGS)
    folder.begin(SETTINGS, overwrite=False)
    assert folder.is_begun(SETTINGS)


def test_what_no_record_explains_is_refused(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    fill(folder)
    folder.run.unlink()
    with pytest.raises(OutputError, match=r"holds sft, model but no run.json"):
        folder.is_begun(SETTINGS)


@pytest.mark.parametrize(
    ("part", "kept"),
    [
        ("trajectories", set()),  # everything comes from them
        ("export", {"trajectories"}),
        ("train", {"trajectories", "sft"}),  # hours of clicks are not thrown away
        (None, {"trajectories", "sft"}),  # the same training once more
    ],
)
def test_overwriting_removes_only_what_cannot_stay(
    part: str | None, kept: set[str], tmp_path: Path
) -> None:
    folder = TrainingFolder(tmp_path)
    fill(folder)
    (tmp_path / "mine.txt").write_text("")
    settings = {**SETTINGS, **({part: {"other": 1}} if part else {})}
    folder.begin(settings, overwrite=True)
    assert left(folder) == {"mine.txt", "run.json", *kept}
    assert folder.is_begun(settings)


def test_data_may_change_only_before_the_training_begins(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    folder.begin(SETTINGS, overwrite=False)
    folder.note_data("a" * 64)
    folder.note_data("b" * 64)
    folder.model.mkdir()
    folder.note_data("b" * 64)
    with pytest.raises(OutputError, match=r"its digest was b{12}, now it is c{12}"):
        folder.note_data("c" * 64)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_record_is_reported(text: str, tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    folder.run.write_text(text)
    with pytest.raises(OutputError, match=r"run\.json .*remove it"):
        folder.is_begun(SETTINGS)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = pytest.raises(OutputError, match=r"cannot be written: .*choose another --out")
    with refused, TrainingFolder(tmp_path / "file" / "out").locked():
        pass


def test_differences_name_part_setting_and_both_values() -> None:
    now = {**SETTINGS, "train": {"learning_rate": 2e-5, "bf16": True}, "recipe": "b"}
    assert differences({**SETTINGS, "recipe": "a"}, now) == [
        "train bf16: it was not set, now true",
        "train learning_rate: it was 1e-05, now 2e-05",
        'recipe: it was "a", now "b"',
    ]
    assert differences(SETTINGS, SETTINGS) == []


def test_trajectories_of_other_trainings_are_never_removed(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    folder = TrainingFolder(tmp_path / "out", shared)
    assert folder.trajectories == shared
    fill_parts = (shared, folder.data, folder.model)
    for path in fill_parts:
        path.mkdir(parents=True)
    folder.begin(SETTINGS, overwrite=True)
    assert [path.is_dir() for path in fill_parts] == [True, False, False]


@pytest.mark.parametrize("part", ["rollouts", "added"])
def test_data_of_other_rollouts_is_removed(part: str, tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    fill(folder)
    for path in (folder.added_data(1), folder.joined_data):
        path.mkdir()
    folder.begin({**SETTINGS, part: ["another run"]}, overwrite=True)
    assert left(folder) == {"trajectories", "run.json"}
