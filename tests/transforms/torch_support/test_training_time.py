"""What a training says about its time, by a clock that the test sets."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hlmat.transforms.torch_support.torchvision import ensure_importable

pytest.importorskip("transformers")
ensure_importable()
from hlmat.transforms.torch_support.training_time import TrainingTime  # noqa: E402


def said(*, steps: range, of: int, seconds: float, is_first_process: bool = True) -> list[str]:
    """Return what is written while steps of equal length are made, the first one longer."""
    lines: list[str] = []
    now = 0.0
    time = TrainingTime(lines.append, lambda: now)
    for step in steps:
        now += seconds if step > steps[0] else 100 * seconds
        state = SimpleNamespace(
            global_step=step, max_steps=of, is_world_process_zero=is_first_process
        )
        time.on_step_end(None, state, None)
    return lines


def test_the_rest_is_said_once_after_eleven_steps() -> None:
    assert said(steps=range(1, 11), of=400, seconds=2.0) == []
    assert said(steps=range(1, 401), of=400, seconds=2.0) == [
        "\na step takes 2.00 s: about 13 minutes for the other 389 of 400 steps\n"
    ]


def test_a_short_training_says_it_earlier() -> None:
    assert said(steps=range(1, 21), of=20, seconds=1.0) == [
        "\na step takes 1.00 s: about 16 seconds for the other 16 of 20 steps\n"
    ]
    assert said(steps=range(1, 5), of=4, seconds=1.0) == []


def test_a_resumed_training_counts_its_own_steps() -> None:
    assert said(steps=range(301, 401), of=400, seconds=60.0) == [
        "\na step takes 60.00 s: about 89 minutes for the other 89 of 400 steps\n"
    ]


def test_one_of_several_processes_speaks() -> None:
    assert said(steps=range(1, 401), of=400, seconds=2.0, is_first_process=False) == []
