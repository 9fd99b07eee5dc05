"""A run on a machine that fails: workers that end, damaged units, full disks, a second run."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from hlmat.pipelines.cli.exit_codes import EXIT_CONFIG, EXIT_INCOMPLETE, EXIT_OK, EXIT_OUTPUT
from hlmat.pipelines.cli.main import main
from hlmat.transforms.core import atomic_files
from hlmat.transforms.core.folder_lock import locked_folder

_SHAPES = ["--dataset", "shapes", "--shapes-images", "4", "--shapes-size", "64x80", "-q"]
_DISC = ["--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter", "--unit-size", "4"]
_TOOLS = """\
import os, sys, time
from hlmat.transforms.segmenters.disc import DiscSegmenter
class Exits(DiscSegmenter):
    def predict(self, **prompts):
        os._exit(3)
class Quits(DiscSegmenter):
    def predict(self, **prompts):
        sys.exit(4)
class GivesUp(DiscSegmenter):
    def predict(self, **prompts):
        raise GeneratorExit
class Wanders(DiscSegmenter):
    def __init__(self):
        super().__init__()
        os.chdir("/")
    def predict(self, **prompts):
        os.chdir("/")
        return super().predict(**prompts)
class Hangs(DiscSegmenter):
    def predict(self, **prompts):
        time.sleep(100)
class BlocksTheFolder(DiscSegmenter):
    # The first of two workers puts a file where units are written; the other is in a long call.
    def predict(self, **prompts):
        here = os.path.dirname(__file__)
        path = lambda name: os.path.join(here, name)
        if not hasattr(self, "is_first"):
            try:
                os.mkdir(path("first"))
                self.is_first = True
            except FileExistsError:
                self.is_first = False
        if not self.is_first:
            os.makedirs(path("second"), exist_ok=True)
            time.sleep(30)
            os.makedirs(path("went on"), exist_ok=True)
        elif not os.path.isfile(path("out/units")):
            for _ in range(600):
                if os.path.exists(path("second")):
                    break
                time.sleep(0.05)
            if os.path.isdir(path("out/units")):
                os.rmdir(path("out/units"))
            open(path("out/units"), "w").close()
        return super().predict(**prompts)
class QuitsAtOnce(DiscSegmenter):
    def __init__(self):
        sys.exit(4)
"""


def run(out: Path, *flags: str) -> int:
    return main(["trajectories", *_SHAPES, *flags, "--out", str(out)])


def own_tool(folder: Path, name: str) -> list[str]:
    (folder / "tools_that_end.py").write_text(_TOOLS, encoding="utf-8")
    return ["--segmenter-path", str(folder), "--segmenter", f"tools_that_end:{name}"]


@pytest.mark.slow
def test_a_tool_that_ends_its_process_does_not_end_the_job(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    assert run(out, *own_tool(tmp_path, "Exits"), "--workers", "1") == EXIT_INCOMPLETE
    assert capfd.readouterr().err == (
        "hlmat: error: a worker process ended with exit code 3; finished units are kept in "
        f"{out}/units: fix the cause and run the same command again\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "raised"), [("Quits", "SystemExit: 4"), ("GivesUp", "GeneratorExit: ")]
)
def test_a_tool_that_quits_python_kills_its_unit(
    name: str, raised: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    code = run(tmp_path / "out", *own_tool(tmp_path, name), "--unit-size", "100")
    assert code == EXIT_INCOMPLETE
    printed = capfd.readouterr().err
    assert "\n  unit 0: RuntimeError: the segmenter or the policy raised " in printed
    assert f" raised {raised}".rstrip() in printed
    assert "Traceback" not in printed


@pytest.mark.slow
def test_a_tool_that_changes_the_working_folder_does_not_move_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    tool = own_tool(tmp_path, "Wanders")
    assert run(Path("moved"), *tool, "--workers", "1") == EXIT_OK
    assert (tmp_path / "moved" / "manifest.json").is_file()
    assert not Path("/moved").exists()


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_tool_that_hangs_ends_the_run(
    workers: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    flags = [*own_tool(tmp_path, "Hangs"), "--segmenter-timeout", "0.5", "--workers", workers]
    assert run(out, *flags) == EXIT_INCOMPLETE
    (printed,) = capfd.readouterr().err.splitlines()
    assert re.fullmatch(
        r"hlmat: error: segmenter Hangs: predict about 'train/[^']+' has not returned for "
        r"0\.5 s \(it is in tools_that_end\.py, line \d+\); repair the segmenter, or give "
        r"--segmenter-timeout more seconds if it is only slow; "
        rf"finished units are kept in {re.escape(str(out))}/units: fix the cause and run the same "
        "command again",
        printed,
    )


def test_a_tool_that_quits_while_it_is_loaded_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    assert run(tmp_path / "out", *own_tool(tmp_path, "QuitsAtOnce")) == EXIT_CONFIG
    assert capfd.readouterr().err == (
        "hlmat: error: --segmenter 'tools_that_end:QuitsAtOnce': loading it ended the program "
        "(SystemExit: 4)\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_damaged_unit_is_one_sentence(
    tmp_path: Path,
    workers: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("hlmat.transforms.beam.shards._WriteShard._write", _fill_the_disk)
        assert run(out, *_DISC) == EXIT_OUTPUT
    unit = sorted((out / "units").iterdir())[0]
    unit.write_bytes(b"ARROW1 not really")
    capfd.readouterr()
    assert run(out, *_DISC, "--workers", workers) == EXIT_OUTPUT
    printed = capfd.readouterr().err
    assert printed.startswith(f"hlmat: error: the unit file {unit} is damaged (")
    assert printed.endswith("; remove it and run the same command again\n")
    assert printed.count("\n") == 1
    unit.unlink()
    assert run(out, *_DISC) == EXIT_OK


@pytest.mark.parametrize("at_write", [1, 2, 4, 6])
def test_a_disk_that_is_full_at_any_write_is_named_and_the_run_goes_on_later(
    tmp_path: Path,
    at_write: int,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    out, writes = tmp_path / "out", iter(range(1, 1000))

    def refuse(descriptor: int) -> None:
        if next(writes) >= at_write:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(atomic_files.os, "fsync", refuse)
        assert run(out, *_DISC) == EXIT_OUTPUT
    printed = capfd.readouterr().err
    assert printed.startswith(f"hlmat: error: {out} cannot be written: ")
    assert "No space left on device" in printed
    assert printed.count("\n") == 1
    assert run(out, *_DISC) == EXIT_OK
    assert sorted(os.listdir(out)) == ["DATA_CARD.md", "manifest.json", "rejects", "trajectories"]


@pytest.mark.slow
def test_a_worker_that_cannot_write_ends_the_job_without_waiting_for_the_other(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    tool = own_tool(tmp_path, "BlocksTheFolder")
    assert run(out, *tool, "--workers", "2", "--unit-size", "4") == EXIT_OUTPUT
    assert capfd.readouterr().err == (
        f"hlmat: error: {out} cannot be written: File exists ({out}/units); what is done is kept: "
        "make room or fix the permissions and run the same command again\n"
    )
    assert (tmp_path / "second").exists()
    assert not (tmp_path / "went on").exists()


def test_a_second_run_in_the_folder_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    with locked_folder(str(tmp_path)):
        assert run(tmp_path, *_DISC) == EXIT_OUTPUT
    assert f"{tmp_path}: another run works in this folder (process {os.getpid()} on " in (
        capfd.readouterr().err
    )
    assert run(tmp_path, *_DISC) == EXIT_OK


def test_a_finished_run_on_a_disk_that_cannot_be_written_is_found_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    assert run(out, *_DISC) == EXIT_OK

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system", str(out))

    monkeypatch.setattr("hlmat.transforms.core.folder_lock._take", refuse)
    assert run(out, *_DISC) == EXIT_OK
    assert run(tmp_path / "new", *_DISC) == EXIT_OUTPUT


def _fill_the_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
