"""Several calls that share a run: the bytes of a single one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from hlmat.pipelines.cli.exit_codes import EXIT_CONFIG, EXIT_INCOMPLETE, EXIT_OUTPUT
from hlmat.pipelines.cli.main import main
from hlmat.transforms.core.folder_lock import locked_folder
from repository import REPOSITORY

RUN = (
    *("trajectories", "--dataset", "shapes", "--shapes-images", "12", "--unit-size", "4"),
    *("--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter", "--workers", "1"),
)


def files_in(folder: Path) -> Mapping[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in one call."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert main([*RUN, "--quiet", "--out", str(out)]) == 0
    return out


@pytest.mark.slow
def test_each_shard_does_its_units_and_the_last_call_the_rest(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    done = []
    for shard in ("1/3", "3/3"):
        assert main([*RUN, "--out", str(out), "--shard", shard]) == 0
        shown = capsys.readouterr().out
        found = re.fullmatch(
            rf"shard {shard}: (\d+) targets in this call\nwhen every shard is done, the same "
            rf"command without --shard ends the run in {re.escape(str(out))}\n",
            shown,
        )
        assert found is not None, shown
        done.append(int(found[1]))
        assert not (out / "manifest.json").exists()
        assert not (out / "trajectories").exists()
    assert min(done) > 0
    assert main([*RUN, "--quiet", "--out", str(out), "--shard", "1/3"]) == 0
    assert main([*RUN, "--quiet", "--out", str(out)]) == 0
    assert files_in(out) == files_in(whole)
    before = files_in(out)
    assert main([*RUN, "--quiet", "--out", str(out), "--shard", "2/3"]) == 0
    assert files_in(out) == before


def test_units_that_die_are_counted_for_their_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hlmat.transforms.beam.simulate import ClickWorker

    def die(*_: object) -> None:
        raise ValueError("no luck")

    monkeypatch.setattr(ClickWorker, "simulate", die)
    out = tmp_path / "out"
    code = main([*RUN, "--quiet", "--out", str(out), "--shard", "2/4"])
    assert code == EXIT_INCOMPLETE
    error = capsys.readouterr().err
    assert re.match(r"hlmat: error: (\d+) of \1 units of shard 2/4 died:\n  unit 1: ", error)
    assert error.endswith("run the same command again to do them\n")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--shard", "3/2"), "--shard 3/2: I 3 is above N 2; parts are numbered from 1"),
        (("--shard", "0/2"), "--shard '0/2': must be at least 1"),
        (("--shard", "2"), "--shard '2': "),
        (
            ("--shard", "1/2", "--overwrite"),
            "--shard and --overwrite exclude each other: several shards share OUT; give "
            "--overwrite to the command without --shard",
        ),
        (("--shard", "1/2", "--retry-rejects"), "--shard and --retry-rejects exclude each other"),
    ],
)
def test_a_wrong_shard_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], message: str
) -> None:
    assert main([*RUN, "--out", str(tmp_path / "out"), *flags]) == EXIT_CONFIG
    assert capsys.readouterr().err.startswith(f"hlmat: error: {message}")
    assert not (tmp_path / "out").exists()


def test_shards_share_the_folder_and_exclude_the_whole_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    with locked_folder(out, is_shared=True):
        assert main([*RUN, "--quiet", "--out", out, "--shard", "1/4"]) == 0
        assert main([*RUN, "--quiet", "--out", out]) == EXIT_OUTPUT
    assert "another run works in this folder" in capsys.readouterr().err
    with locked_folder(out):
        assert main([*RUN, "--quiet", "--out", out, "--shard", "2/4"]) == EXIT_OUTPUT


@pytest.mark.slow
def test_the_documented_array_with_one_task_killed_gives_the_bytes_of_a_single_run(
    tmp_path: Path,
) -> None:
    text = (REPOSITORY / "docs" / "runners.md").read_text(encoding="utf-8")
    section = text.partition("## Several machines without an engine\n")[2].partition("\n## ")[0]
    script, ending = re.findall(r"```sh\n(.*?)```", section, flags=re.S)
    hlmat = f"{sys.executable} -P -m hlmat"
    script, ending = (each.replace(".venv/bin/hlmat", hlmat) for each in (script, ending))
    assert "#SBATCH --array=1-4\n" in script

    def task(number: int) -> subprocess.Popen[bytes]:
        env = {**os.environ, "SLURM_ARRAY_TASK_ID": str(number)}
        return subprocess.Popen(["sh", "-c", script], cwd=tmp_path, env=env)

    tasks = [task(number) for number in range(1, 5)]
    out = tmp_path / "out" / "array"
    ends = time.monotonic() + 120
    while not list(out.glob("units/*.arrow")) and time.monotonic() < ends:
        time.sleep(0.1)
    tasks[2].send_signal(signal.SIGKILL)
    assert [each.wait(300) for each in tasks] == [0, 0, -signal.SIGKILL, 0]
    assert task(3).wait(300) == 0
    single = ending.replace("out/array", "out/single")
    for command in (ending, single):
        subprocess.run(["sh", "-c", f"{command.strip()} --quiet"], cwd=tmp_path, check=True)
    assert files_in(out) == files_in(tmp_path / "out" / "single")
