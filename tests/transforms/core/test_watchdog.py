from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hlmat.transforms.core.watchdog import EXIT_STALLED, NOTE_VARIABLE, Watchdog, stalls_reported_to


def test_calls_in_time_are_not_reported():
    heard: list[str] = []
    watchdog = Watchdog(30.0, "x")
    with stalls_reported_to(heard.append):
        for _ in range(100):
            with watchdog.watch(lambda: "a call"):
                pass
    assert heard == []


def test_each_item_of_a_call_adds_to_its_time():
    heard: list[str] = []
    is_over = threading.Event()
    watchdog = Watchdog(0.05, "wait")

    def hear(sentence: str) -> None:
        heard.append(sentence)
        is_over.set()

    with (
        stalls_reported_to(hear),
        watchdog.watch(lambda: "long", items=10_000),
        watchdog.watch(lambda: "short", items=2),
    ):
        is_over.wait(30)
    assert len(heard) == 1
    assert heard[0].startswith("short has not returned for 0.1 s (it is in ")
    assert heard[0].endswith("; wait")


_HANGING = """
import os, sys, time
from hlmat.transforms.core.watchdog import Watchdog
with Watchdog(0.2, "repair it").watch(lambda: "tool X about \'t\'"):
    time.sleep(60)
"""


@pytest.mark.parametrize("has_note", [False, True])
def test_a_process_whose_call_does_not_return_ends(has_note: bool, tmp_path: Path):
    note = tmp_path / "note"
    environment = {NOTE_VARIABLE: str(note)} if has_note else {}
    done = subprocess.run(
        [sys.executable, "-c", _HANGING],
        env={"PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    said = "tool X about 't' has not returned for 0.2 s (it is in <string>, line 5); repair it"
    assert done.returncode == EXIT_STALLED
    if has_note:
        assert (note.read_text(), done.stderr) == (said, "")
    else:
        assert done.stderr == f"hlmat: error: {said}\n"
