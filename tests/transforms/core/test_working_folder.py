from __future__ import annotations

import os
from pathlib import Path

import pytest

from hlmat.transforms.core.working_folder import same_working_folder


@same_working_folder()
def _leave_and_fail() -> None:
    os.chdir("/")
    raise ZeroDivisionError


def test_the_folder_is_the_same_after_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZeroDivisionError):
        _leave_and_fail()
    assert Path.cwd() == tmp_path


def test_a_folder_that_was_removed_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with same_working_folder():
        os.chdir(tmp_path)
    assert Path.cwd() == tmp_path
