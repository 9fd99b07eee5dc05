"""Processor time of trainings, over several calls."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from hlmat.pipelines.ladder import processor_time
from hlmat.pipelines.ladder.processor_time import ProcessorTime
from hlmat.transforms.core.errors import OutputError


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock of this process and its children, set by the test."""
    now = SimpleNamespace(user=1.0, system=0.5, children_user=0.0, children_system=0.0)
    monkeypatch.setattr(processor_time.os, "times", lambda: now)
    return now


def test_resumed_trainings_add_up_with_their_processes(
    tmp_path: Path, times: SimpleNamespace
) -> None:
    path = tmp_path / "ladder" / "processor_time.json"
    for _ in range(2):
        with ProcessorTime(path).counting("grpo", tmp_path / "model"):
            times.user += 60
            times.children_user += 90
            times.children_system += 30
    assert json.loads(path.read_bytes()) == {"grpo": 360.0}
    assert ProcessorTime(path).minutes() == {"grpo": 6.0}


def test_a_failed_call_counts_too(tmp_path: Path, times: SimpleNamespace) -> None:
    clock = ProcessorTime(tmp_path / "processor_time.json")

    def fail() -> None:
        with clock.counting("first", tmp_path / "model"):
            times.user += 30
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert clock.minutes() == {"first": 0.5}


def test_a_finished_model_adds_nothing(tmp_path: Path, times: SimpleNamespace) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "training.json").write_text("{}")
    clock = ProcessorTime(tmp_path / "processor_time.json")
    with clock.counting("first", tmp_path / "model"):
        times.user += 30
    assert clock.minutes() == {}
    assert not (tmp_path / "processor_time.json").exists()


def test_a_finished_model_that_is_trained_further_adds_its_time(
    tmp_path: Path, times: SimpleNamespace
) -> None:
    (tmp_path / "model").mkdir()
    record = tmp_path / "model" / "training.json"
    record.write_text('{"rounds": 50}')
    clock = ProcessorTime(tmp_path / "processor_time.json")
    with clock.counting("grpo", tmp_path / "model"):
        times.user += 30
        record.write_text('{"rounds": 100}')
    assert clock.minutes() == {"grpo": 0.5}


@pytest.mark.parametrize("content", ["{", "[1]", '{"first": "long"}', '{"first": null}'])
def test_a_damaged_file_is_named_before_the_training(tmp_path: Path, content: str) -> None:
    path = tmp_path / "processor_time.json"
    path.write_text(content)
    with (
        pytest.raises(OutputError, match=r"processor_time\.json does not hold seconds"),
        ProcessorTime(path).counting("first", tmp_path / "model"),
    ):
        pytest.fail("the training began")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    clock = ProcessorTime(tmp_path / "file" / "processor_time.json")
    with (
        pytest.raises(OutputError, match="processor_time"),
        clock.counting("first", tmp_path / "model"),
    ):
        pass
