"""Faults of the machine end a command with one sentence and their exit code."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from hlmat.pipelines.cli.exit_codes import EXIT_DATA, EXIT_INCOMPLETE, EXIT_OUTPUT
from hlmat.pipelines.cli.machine_faults import MachineFault, machine_fault
from hlmat.pipelines.cli.main import main


def fault_of(number: int, name: str | None = None) -> MachineFault | None:
    return machine_fault(OSError(number, os.strerror(number), name))


def test_no_room_is_a_fault_of_the_output() -> None:
    fault = fault_of(errno.ENOSPC, "out/a.json")
    assert fault == MachineFault(
        "out/a.json cannot be written: No space left on device; free some space and run the same "
        "command again",
        EXIT_OUTPUT,
    )
    assert fault_of(errno.EFBIG) == MachineFault(
        "the output cannot be written: File too large; raise the limit on file sizes, see "
        "`ulimit -f` and run the same command again",
        EXIT_OUTPUT,
    )


def test_a_file_that_must_not_be_read_is_a_fault_of_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    refused = MachineFault(f"{path}: Permission denied; check the permissions", EXIT_OUTPUT)
    assert fault_of(errno.EACCES, str(path)) == refused
    path.touch()
    monkeypatch.setattr(os, "access", lambda name, mode: False)
    assert fault_of(errno.EACCES, str(path)) == MachineFault(refused.sentence, EXIT_DATA)


@pytest.mark.parametrize(
    "error", [MemoryError(), MemoryError("4 GB"), OSError(errno.ENOMEM, "no"), OSError(24, "no")]
)
def test_what_runs_out_can_be_taken_up_again(error: Exception) -> None:
    fault = machine_fault(error)
    assert fault is not None
    assert fault.exit_code == EXIT_INCOMPLETE


@pytest.mark.parametrize(
    "error", [ValueError("x"), OSError("without a number"), OSError(errno.ENOENT, "of no file")]
)
def test_other_errors_are_bugs(error: Exception) -> None:
    assert machine_fault(error) is None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_results_that_cannot_be_printed_are_reported(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", open("/dev/full", "w", encoding="utf-8"))  # noqa: SIM115
        code = main(["--help"])
    assert (code, capfd.readouterr().err) == (
        EXIT_OUTPUT,
        "hlmat: error: the output cannot be written: No space left on device; free some space "
        "and run the same command again\n",
    )
