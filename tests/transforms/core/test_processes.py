"""Identities of processes: parsed back, alive or not, never another one's."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from hlmat.transforms.core.processes import ProcessIdentity


def test_an_identity_is_read_back_and_alive() -> None:
    own = ProcessIdentity.own()
    assert ProcessIdentity.parse(str(own)) == own
    assert (own.pid, own.is_local, own.is_alive()) == (os.getpid(), True, True)


@pytest.mark.parametrize("text", ["", "1-2", "0123456g-1-2", "01234567-1-2-3", "01234567-1-x"])
def test_other_texts_are_nobodys(text: str) -> None:
    assert ProcessIdentity.parse(text) is None


def test_a_process_is_dead_once_it_ended_and_when_its_id_is_used_again() -> None:
    own = ProcessIdentity.own()
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not replace(own, pid=child.pid).is_alive()
    child.wait()
    assert not replace(own, pid=child.pid).is_alive()
    assert not replace(own, started=own.started + 1).is_alive()
    assert not replace(own, pid=2**70).is_alive()


def test_another_machines_process_is_not_local() -> None:
    assert not replace(ProcessIdentity.own(), machine="01234567").is_local
