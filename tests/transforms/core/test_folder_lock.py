"""The lock on a folder: one holder at a time, gone with its process."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hlmat.transforms.core.errors import OutputError
from hlmat.transforms.core.folder_lock import LOCK_NAME, locked_folder

_HOLD = (
    "import sys\n"
    "from hlmat.transforms.core.folder_lock import locked_folder\n"
    "with locked_folder(sys.argv[1]):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


def test_the_folder_is_made_and_the_lock_leaves_no_file(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with locked_folder(str(out)):
        assert os.listdir(out) == [LOCK_NAME]
    assert os.listdir(out) == []


def test_a_second_holder_is_refused_with_the_first_ones_process(tmp_path: Path) -> None:
    with (
        locked_folder(str(tmp_path)),
        pytest.raises(OutputError, match=rf"another run works .*\(process {os.getpid()} on "),
        locked_folder(str(tmp_path)),
    ):
        pass
    with locked_folder(str(tmp_path)):
        pass


def test_a_lock_ends_with_a_killed_process(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(OutputError, match=rf"process {holder.pid} on .*choose another --out"),
            locked_folder(str(tmp_path)),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
    assert os.listdir(tmp_path) == [LOCK_NAME]
    with locked_folder(str(tmp_path)):
        assert os.listdir(tmp_path) == [LOCK_NAME]
    assert os.listdir(tmp_path) == []


def test_a_file_system_without_locks_is_used_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked_folder(str(tmp_path)):
        (tmp_path / "a").touch()
    assert os.listdir(tmp_path) == ["a"]


def test_shared_locks_exclude_only_the_other_kind(tmp_path: Path) -> None:
    out = str(tmp_path)
    with locked_folder(out, is_shared=True):
        with locked_folder(out, is_shared=True):
            assert _is_refused(out, is_shared=False)
        assert os.listdir(out) == [LOCK_NAME]
    assert os.listdir(out) == []
    with locked_folder(out):
        assert _is_refused(out, is_shared=True)


def _is_refused(folder: str, *, is_shared: bool) -> bool:
    try:
        with locked_folder(folder, is_shared=is_shared):
            return False
    except OutputError as error:
        return "another run works in this folder" in str(error)
