"""Ctrl-C ends a command with one line, at once if pressed again, with its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hlmat.pipelines.cli import interrupts
from hlmat.pipelines.cli.exit_codes import EXIT_INTERRUPTED, EXIT_OK
from hlmat.pipelines.cli.interrupts import Interrupts
from hlmat.pipelines.cli.main import main

_SLEEPY = """\
import time
from hlmat.transforms.segmenters.disc import DiscSegmenter
class Sleepy(DiscSegmenter):
    def predict(self, **prompts):
        open({started!r}, "w").close()
        time.sleep(600)
"""
LINE = "hlmat: error: interrupted; run the same command again to resume\n"


def test_the_second_interrupt_leaves_at_once_with_the_same_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left: list[int] = []
    monkeypatch.setattr(interrupts, "leave", left.append)
    pressed = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        pressed._on_interrupt(signal.SIGINT, None)
    assert (pressed.seen, left) == (True, [])
    with pytest.raises(KeyboardInterrupt):
        pressed._on_interrupt(signal.SIGINT, None)
    assert left == [EXIT_INTERRUPTED]
    assert pressed.report() == EXIT_INTERRUPTED
    assert capsys.readouterr().err == LINE


def test_ignored_interrupts_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        Interrupts().install()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("before", "after"), [(None, "NONE"), ("DEBUG", "DEBUG")], ids=["default", "the user's"]
)
def test_grpc_logs_nothing_unless_the_user_wants_it(
    before: str | None, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {} if before is None else {"GRPC_VERBOSITY": before})
    assert main(["--version"]) == EXIT_OK
    assert os.environ["GRPC_VERBOSITY"] == after


@pytest.mark.slow
def test_a_run_with_workers_ends_with_one_line(tmp_path: Path) -> None:
    started = tmp_path / "started"
    (tmp_path / "sleepy.py").write_text(_SLEEPY.format(started=str(started)), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "hlmat", "trajectories", "--dataset", "shapes"),
        *("--shapes-images", "4", "--shapes-size", "64x80", "--segmenter", "sleepy:Sleepy"),
        *("--segmenter-path", str(tmp_path), "--workers", "2", "--unit-size", "4"),
        *("--out", str(tmp_path / "out"), "--quiet"),
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_accept_interrupts,
    )
    while not started.exists() and process.poll() is None:
        time.sleep(0.1)
    for _ in range(2):
        # As a terminal does: to every process of the group.
        os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=120) == ("", LINE)
    assert process.returncode == EXIT_INTERRUPTED


def _accept_interrupts() -> None:
    """Undo what a shell sets for a background job, whose children would ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
