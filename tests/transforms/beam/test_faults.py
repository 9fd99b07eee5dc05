"""Errors of steps survive as text, whatever a runner wraps around them."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

import pytest

from hlmat.transforms.beam.faults import FAULT_VARIABLE, StepError, carried_error, carried_errors
from hlmat.transforms.core.errors import (
    ConfigError,
    DataError,
    HlmatError,
    LayoutError,
    OutputError,
    SegmenterError,
    TargetError,
)
from hlmat.transforms.core.records import RejectReason


def through_a_runner(error: BaseException) -> BaseException:
    """Return what arrives of an error: another type, its text amid a traceback."""
    with pytest.raises(StepError) as caught, carried_errors():
        raise error
    return RuntimeError("".join(traceback.format_exception(caught.value)) + "\n[while running 'X']")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OutputError("out/units/a.arrow is damaged; remove it"), OutputError),
        (DataError("line 1\nline 2"), DataError),
        (LayoutError("no images/"), DataError),
        (SegmenterError("no image was set"), SegmenterError),
        (MemoryError("cannot allocate"), MemoryError),
        (HlmatError("odd"), HlmatError),
        (TargetError(RejectReason.EMPTY_MASK, "none"), DataError),
    ],
)
def test_an_error_comes_back_with_its_type_and_text(
    error: Exception, kind: type[BaseException]
) -> None:
    found = carried_error(through_a_runner(error))
    assert type(found) is kind
    assert str(found) == str(error)


def test_every_problem_of_a_configuration_comes_back() -> None:
    found = carried_error(through_a_runner(ConfigError(["a: bad", "b: <worse> 'so'"])))
    assert isinstance(found, ConfigError)
    assert found.problems == ("a: bad", "b: <worse> 'so'")


@pytest.mark.parametrize("name", [None, "out/a.parquet"])
def test_a_full_disk_comes_back_with_its_number_and_file(name: str | None) -> None:
    error = OSError(errno.ENOSPC, "No space left on device")
    error.filename = name
    found = carried_error(through_a_runner(error))
    assert isinstance(found, OSError)
    assert (found.errno, found.strerror) == (errno.ENOSPC, "No space left on device")
    assert found.filename == name


def test_a_file_that_cannot_be_written_does_not_hide_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FAULT_VARIABLE, str(tmp_path / "missing" / "1.fault"))
    found = carried_error(through_a_runner(OutputError("full")))
    assert isinstance(found, OutputError)


def test_an_error_that_met_no_step_is_itself_and_a_bug_stays_one() -> None:
    error = OutputError("full")
    assert carried_error(error) is error
    assert carried_error(ValueError("a bug")) is None
    assert carried_error(ValueError("<hlmat fault AAAA>")) is None
    with pytest.raises(ZeroDivisionError), carried_errors():
        raise ZeroDivisionError
