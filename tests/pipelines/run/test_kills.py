"""Kills at any moment: nothing half-written in the final folders, the same bytes after all."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

KILLS = 12
_FLAGS = (
    *("--dataset", "shapes", "--shapes-images", "12", "--shapes-size", "64x80", "--split", "val"),
    *("--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter", "--unit-size", "4"),
    *("--output-shards", "3", "-q"),
)
_FINAL = re.compile(r"(trajectories|rejects)/(trajectories|rejects)-\d{5}-of-00003\.parquet")
# Forks a process for each run, so that none has to import anything. One that is to be killed at
# the N-th access to a file of its output folder does so itself; N = 0 is never.
_FORKS = """\
import json, os, signal, sys
from hlmat.pipelines.cli.main import main
import hlmat.pipelines.evaluation.stats, hlmat.pipelines.run.trajectories
import hlmat.transforms.segmenters.disc
for line in sys.stdin:
    kill_at, out, flags = json.loads(line)
    child = os.fork()
    if child:
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    seen = 0
    def count(event, arguments):
        global seen
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"):
            if any(isinstance(a, str) and a.startswith(out) for a in arguments):
                seen += 1
                if seen == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    code = main(["trajectories", *flags, "--out", out])
    with open(out + ".accesses", "w") as f:
        f.write(str(seen))
    os._exit(code)
"""


class Runs:
    """Runs in processes of their own, one at a time."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", _FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, out: Path, *flags: str, kill_at: int = 0, of: Sequence[str] = _FLAGS) -> int:
        """Start a run; return its process id."""
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps([kill_at, str(out), [*of, *flags]]) + "\n")
        self._server.stdin.flush()
        return int(self._line())

    def wait(self) -> int:
        """Return the exit code of the run that was started, or minus the signal."""
        return int(self._line())

    def finish(self, out: Path, *flags: str, of: Sequence[str] = _FLAGS) -> int:
        """Run to the end; return how often files of the folder were accessed."""
        self.start(out, *flags, of=of)
        assert self.wait() == 0
        return int(Path(f"{out}.accesses").read_text(encoding="ascii"))

    def close(self) -> None:
        self._server.communicate()

    def _line(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline()


@pytest.fixture
def runs() -> Iterator[Runs]:
    runs = Runs()
    yield runs
    runs.close()


def files_in(folder: Path) -> Mapping[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def final_names(out: Path) -> list[str]:
    return [name for name in files_in(out) if name.startswith(("trajectories/", "rejects/"))]


def assert_only_whole_files(out: Path, whole: Mapping[str, bytes]) -> None:
    for name in final_names(out):
        assert _FINAL.fullmatch(name)
        assert (out / name).read_bytes() == whole[name]


@pytest.mark.slow
def test_kills_leave_nothing_half_written_and_change_no_byte(runs: Runs, tmp_path: Path):
    rng = random.Random(7)
    runs.finish(tmp_path / "warm-up")
    started = time.monotonic()
    accesses = runs.finish(tmp_path / "whole")
    seconds = time.monotonic() - started
    whole = files_in(tmp_path / "whole")
    assert accesses > 50
    killed = 0
    for number in range(KILLS // 2):
        out = tmp_path / f"killed-{number}"
        for attempt in range(2):
            if (number + attempt) % 2:
                runs.start(out, kill_at=rng.randrange(1, accesses // (attempt + 1)))
            else:
                process = runs.start(out)
                time.sleep(seconds * rng.uniform(0.1, 0.9))
                kill(process)
            killed += runs.wait() == -signal.SIGKILL
            assert_only_whole_files(out, whole)
        runs.finish(out)
        assert files_in(out) == whole
    assert killed >= KILLS // 2


@pytest.mark.slow
def test_worker_processes_end_with_a_killed_job_and_the_next_call_goes_on(
    runs: Runs, tmp_path: Path
):
    started = time.monotonic()
    runs.finish(tmp_path / "whole", "--workers", "2")
    seconds = time.monotonic() - started
    out = tmp_path / "killed"
    for share in (0.5, 0.8):
        process = runs.start(out, "--workers", "2")
        time.sleep(seconds * share)
        workers = descendants_of(process)
        kill(process)
        runs.wait()
        assert ended(workers)
        assert_only_whole_files(out, files_in(tmp_path / "whole"))
    runs.finish(out, "--workers", "2")
    assert files_in(out) == files_in(tmp_path / "whole")


@pytest.mark.slow
def test_a_retry_killed_at_any_moment_ends_like_a_new_run(runs: Runs, tmp_path: Path):
    rng, data = random.Random(7), tmp_path / "data"
    for number, name in enumerate("abcdef"):
        mask = np.zeros((40, 50), np.uint8)
        mask[5:20, 8 : 12 + 4 * number] = 255
        for folder, pixels in (("images", np.full((40, 50, 3), 90, np.uint8)), ("masks", mask)):
            (data / folder).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(data / folder / f"{name}.png"), pixels)
    broken = data / "images" / "c.png"
    whole = broken.read_bytes()
    of = (
        *("--dataset", "folder", "--data-root", str(data), "--unit-size", "2", "-q"),
        *("--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter"),
    )
    broken.write_bytes(b"")
    before = tmp_path / "before"
    runs.finish(before, of=of)
    broken.write_bytes(whole)
    runs.finish(tmp_path / "fresh", of=of)
    fresh = files_in(tmp_path / "fresh")
    shutil.copytree(before, tmp_path / "whole")
    accesses = runs.finish(tmp_path / "whole", "--retry-rejects", of=of)
    assert files_in(tmp_path / "whole") == fresh
    for number in range(KILLS):
        out = tmp_path / f"killed-{number}"
        shutil.copytree(before, out)
        runs.start(out, "--retry-rejects", kill_at=rng.randrange(1, accesses), of=of)
        assert runs.wait() == -signal.SIGKILL
        runs.finish(out, "--retry-rejects", of=of)
        assert files_in(out) == fresh


def kill(process: int) -> None:
    """Kill a process that may have ended."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def descendants_of(process: int) -> list[int]:
    """Return the processes that one and its children started, by Linux's table."""
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    children = [int(pid) for task in tasks for pid in task.read_text(encoding="ascii").split()]
    return [*children, *(pid for child in children for pid in descendants_of(child))]


def ended(processes: Sequence[int]) -> bool:
    """Wait until all have ended, for a minute at most."""
    for _ in range(600):
        if not any(Path(f"/proc/{pid}").exists() for pid in processes):
            return True
        time.sleep(0.1)
    return False
