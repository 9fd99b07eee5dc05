"""The command as its users meet it: what it writes, prints and returns."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import pyarrow.parquet as pq
import pytest

from hlmat.pipelines.cli.main import main
from hlmat.transforms.core.storage import LocalStorage
from hlmat.transforms.dataset_io.unit_files import unit_from_bytes
from hlmat.transforms.prompting.coordinates import CODECS

DISC = "hlmat.transforms.segmenters.disc:DiscSegmenter"
SMALL = (
    *("--dataset", "shapes", "--shapes-images", "6", "--shapes-size", "64x80"),
    *("--segmenter", DISC, "--unit-size", "4", "--workers", "1"),
)


NO_RUN = "nowhere: no such folder; give the --out of a finished `hlmat trajectories`"


def run(*argv: str | Path) -> int:
    return main([str(a) for a in argv])


def make(out: Path, *more: str) -> int:
    return run("trajectories", *SMALL, "--out", out, "-q", *more)


def contents(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    assert make(out) == 0
    return out


def test_a_run_leaves_trajectories_rejects_manifest_and_card_alone(finished: Path):
    names = sorted(contents(finished))
    assert names == [
        "DATA_CARD.md",
        "manifest.json",
        "rejects/rejects-00000-of-00001.parquet",
        "trajectories/trajectories-00000-of-00001.parquet",
    ]
    manifest = json.loads((finished / "manifest.json").read_bytes())
    assert sorted(manifest["files"]) == [n for n in names if n != "manifest.json"]
    table = pq.read_table(finished / "trajectories")
    assert manifest["counts"]["trajectories"] == table.num_rows > 6
    assert set(table["config_fingerprint"].to_pylist()) == {
        row["config_fingerprint"] for row in table.to_pylist()
    }


def test_the_summary_has_every_figure_and_the_places_of_the_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    assert run("trajectories", *SMALL, "--out", out) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    after = " (no-gain stop, max 5 clicks)"
    assert [re.split(" {2,}", line)[0] for line in lines] == [
        *("data set", "segmenter", "targets in", "kept", "rejected", "ended by"),
        *("clicks/target", "IoU", "gIoU, cIoU", "segmenter calls/target"),
        *(f"{figure}{after}" for figure in ("NoC@80", "NoC@85", "NoC@90")),
        *(f"{figure}{after}" for figure in ("NoF@80", "NoF@85", "NoF@90")),
        *("speed", "read", "trajectories", "rejects", "manifest"),
        *("look at all", "look at one"),
    ]
    assert "100%|" in captured.err

    assert run("trajectories", *SMALL, "--out", out) == 0
    again = capsys.readouterr().out.splitlines()
    speed = next(number for number, line in enumerate(lines) if line.startswith("speed"))
    lines[speed : speed + 2] = ["nothing to do: the run is complete"]
    assert again == lines


def test_json_for_machines_is_all_that_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert make(tmp_path / "out", "--json") == 0
    captured = capsys.readouterr()
    figures = json.loads(captured.out)
    assert captured.err == ""
    assert figures["targets"] == figures["trajectories"] + figures["rejected"]
    assert figures["targets_per_s"] > 0
    assert run("stats", tmp_path / "out", "--json") == 0
    stats = json.loads(capsys.readouterr().out)
    assert stats == {key: figures[key] for key in stats}
    assert len(stats["IoU@k"]) == 5


@pytest.mark.slow
def test_the_same_bytes_with_any_number_of_workers(finished: Path, tmp_path: Path):
    assert make(tmp_path / "out", "--workers", "2") == 0
    assert contents(tmp_path / "out") == contents(finished)


SEGMENTER_THAT_KILLS = """
import glob, os, signal
from hlmat.transforms.segmenters.disc import DiscSegmenter

class Killer(DiscSegmenter):
    def set_image(self, image):
        if len(glob.glob(os.environ.get("KILL_WITH_UNITS", ""))) == 2:
            os.killpg(0, signal.SIGKILL)  # this process and those of its group
        super().set_image(image)
"""


@pytest.mark.slow
def test_killing_it_and_running_it_again_gives_the_same_bytes(tmp_path: Path):
    (tmp_path / "killer_tool.py").write_text(SEGMENTER_THAT_KILLS)
    flags = [flag if flag != DISC else "killer_tool:Killer" for flag in SMALL]

    def call(out: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "hlmat", "trajectories", *flags, "--out", out, "--json"]
        env = os.environ | variables
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=env,
            capture_output=True,
            check=False,
            start_new_session=True,
        )

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert call(whole).returncode == 0
    units = killed / "units" / "*.arrow"
    assert call(killed, KILL_WITH_UNITS=str(units)).returncode == -signal.SIGKILL
    assert not (killed / "manifest.json").exists()
    done = sum(
        unit_from_bytes(path.read_bytes(), name=path.name).num_rows
        for path in killed.glob("units/*.arrow")
    )

    again = call(killed)
    assert again.returncode == 0
    report = json.loads(again.stdout)
    assert report["status"] == "resumed"
    assert report["targets_done_now"] == report["targets"] - done < report["targets"]
    assert contents(killed) == contents(whole)


def test_a_full_disk_half_way_is_reported_and_the_rest_is_done_later(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    out = tmp_path / "out"
    write_bytes = LocalStorage.write_bytes

    def full_after_two_units(self: LocalStorage, path: str, data: bytes) -> None:
        if "/units/" in path and len(list((out / "units").glob("*.arrow"))) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        write_bytes(self, path, data)

    monkeypatch.setattr(LocalStorage, "write_bytes", full_after_two_units)
    assert make(out) == 4
    message = capsys.readouterr().err
    assert "cannot be written: No space left on device (" in message
    assert "); what is done is kept: make room" in message
    assert "Traceback" not in message
    assert len(list((out / "units").iterdir())) == 2
    monkeypatch.undo()
    assert make(out) == 0
    assert contents(out) == contents(finished)


@pytest.mark.slow
def test_another_configuration_in_the_same_folder_is_refused_without_overwrite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    assert make(out) == 0
    before = contents(out)
    assert make(out, "--max-clicks", "2") == 4
    assert capsys.readouterr().err == (
        f"hlmat: error: {out} holds a run with another configuration:\n"
        "  max_clicks: it was 5, now 2\n"
        "choose another --out, repeat the run's own flags, or pass --overwrite to remove it\n"
    )
    assert contents(out) == before
    assert make(out, "--max-clicks", "2", "--output-shards", "2", "--overwrite") == 0
    assert len(list(out.glob("trajectories/*.parquet"))) == 2


def test_too_many_rejects_is_an_exit_code_but_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert make(tmp_path / "out", "--min-area", "100000") == 5
    message = capsys.readouterr().err
    assert run("stats", tmp_path / "out", "--json") == 0
    stats = json.loads(capsys.readouterr().out)
    count = stats["targets"]
    assert stats["rejects"] == {"outside_area_filter": count}
    first, listed, error = message.splitlines()
    assert first.startswith(f"hlmat: {count} rejected as outside_area_filter, first train/")
    assert listed == f"hlmat: `hlmat rejects {tmp_path}/out --all` lists all {count}"
    assert error == (
        f"hlmat: error: {count} of {count} targets were rejected (outside_area_filter {count}), "
        f"more than --max-reject-rate 0.5 allows; see `hlmat rejects {tmp_path}/out`"
    )


@pytest.mark.parametrize(
    ("argv", "code", "problems"),
    [
        (
            ("trajectorys",),
            2,
            ["unknown command 'trajectorys'; did you mean 'trajectories'? see hlmat --help"],
        ),
        (
            ("trajectories", *SMALL, "--out", "o", "--sede", "1"),
            2,
            ["unknown flag --sede; did you mean --seed?"],
        ),
        (("stats", "nowhere"), 3, [NO_RUN]),
        (("stats", "nowhere", "--jsn"), 2, ["unknown flag --jsn; did you mean --json?"]),
        (
            ("stats",),
            2,
            ["the following arguments are required: OUT; see hlmat stats --help"],
        ),
        (("inspect", "nowhere"), 3, [NO_RUN]),
        (
            ("export", "--from", "nowhere"),
            2,
            [
                "--out is missing: name the file or folder to write",
                "--format is missing; choose from trace, llama-factory, hub, coco-results, "
                "fiftyone, trl, verl, ms-swift",
            ],
        ),
    ],
)
def test_wrong_use_is_reported_and_has_its_exit_code(
    argv: tuple[str, ...],
    code: int,
    problems: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert run(*argv) == code
    printed = capsys.readouterr()
    assert printed.err == "".join(f"hlmat: error: {problem}\n" for problem in problems)
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "code", "first_line"),
    [
        (
            ("--dataset", "ecssd", "--data-root", "nowhere"),
            3,
            "nowhere does not contain ecssd, split train. Looked for, there or one level deeper:",
        ),
        (
            ("--dataset", "shapes", "--segmenter", "sam"),
            2,
            "segmenter 'sam': no checkpoint was given; download one of the official files and "
            "pass its path with --checkpoint:",
        ),
    ],
)
def test_what_is_missing_is_explained_in_lines_below(
    flags: tuple[str, ...],
    code: int,
    first_line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert run("trajectories", *flags, "--out", "o") == code
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == f"hlmat: error: {first_line}"
    assert second.startswith("  ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("on_path", "shown"), [(True, "hlmat"), (False, "bin/hlmat")])
def test_printed_commands_can_be_pasted(
    on_path: bool,
    shown: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    program = tmp_path / "bin" / "hlmat"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program)])
    if on_path:
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    assert run("trajectories", *SMALL, "--out", "out", "--limit", "1") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"look at one    {shown} inspect out --strip strip.png"


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"{version('hlmat')}\n"


def test_a_call_without_a_command_prints_the_help(capsys: pytest.CaptureFixture[str]):
    assert run() == 2
    printed = capsys.readouterr()
    assert run("--help") == 0
    assert printed == capsys.readouterr()
    assert printed.out.startswith("usage: hlmat COMMAND [flags]\n")


def test_an_output_folder_that_cannot_be_made_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("in the way")
    assert make(tmp_path / "file" / "out") == 4
    assert capsys.readouterr().err == (
        f"hlmat: error: {tmp_path}/file/out cannot be written: [Errno 20] Not a directory: "
        f"'{tmp_path}/file/out'; check --out, permissions and space\n"
    )


@pytest.mark.parametrize("command", ["trajectories", "export", "stats", "inspect"])
def test_help_has_examples_and_exit_codes(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        run(command, "--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"hlmat {command} " in text
    assert "examples:" in text
    assert "exit codes:" in text


def test_inspecting_prints_a_trajectory_and_writes_its_strip(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    strip = tmp_path / "strips" / "strip.png"
    assert run("inspect", finished, "--strip", strip) == 0
    text = capsys.readouterr().out
    first = pq.read_table(finished / "trajectories").to_pylist()[0]
    assert f"target         {first['target_id']}" in text
    assert first["expressions"][0] in text
    assert f"ended by       {first['stop_reason']}" in text
    image = cv2.imread(str(strip))
    assert image is not None
    assert image.shape[0] > 100

    last = pq.read_table(finished / "trajectories").to_pylist()[-1]["target_id"]
    assert run("inspect", finished, "--target", last, "--json") == 0
    assert json.loads(capsys.readouterr().out)["target_id"] == last


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--target", "train/000000"),
            "--target 'train/000000' is not among the {count} targets of {out}; did you mean "
            "'train/000005#0'?",
        ),
        (
            ("--index", "999"),
            "--index 999: {out} has {count} trajectories, numbered from 0; `hlmat rejects {out}` "
            "lists the targets without one",
        ),
        (("--index", "-1"), "--index -1: must be at least 0"),
        (
            ("--strip", "strip.gif"),
            "--strip 'strip.gif': the name must end in .png or .jpg",
        ),
    ],
)
def test_a_wrong_inspection_is_reported(
    finished: Path, flags: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
):
    assert run("inspect", finished, *flags) == 2
    count = pq.read_table(finished / "trajectories").num_rows
    expected = message.format(count=count, out=finished)
    assert capsys.readouterr().err == f"hlmat: error: {expected}\n"


def test_a_damaged_run_is_reported(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name, data in contents(finished).items():
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data[:-1] if name.startswith("trajectories/") else data)
    assert run("stats", tmp_path / "out") == 3
    assert "is not the file that the manifest lists" in capsys.readouterr().err

    assert run("stats", finished, "--verify") == 0
    (tmp_path / "out" / "DATA_CARD.md").unlink()
    capsys.readouterr()
    assert run("stats", tmp_path / "out", "--verify") == 3
    message = capsys.readouterr().err
    assert "trajectories-00000-of-00001.parquet is not the file" in message
    assert "DATA_CARD.md is listed in the manifest but missing" in message


def test_the_help_names_every_choice(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        run("trajectories", "--help")
    text = capsys.readouterr().out
    assert "hres          DIS5K and ThinObject-5K ([train], val; by part, see the rows)" in text
    assert "oracle        the deepest pixel of the deeper error region" in text
    assert "graphcut      graph cuts on colour and contrast" in text


def test_exporting_a_trace(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "trace.json"
    assert run("export", "--from", finished, "--format", "trace", "--out", path) == 0
    data: dict[str, Any] = json.loads(path.read_bytes())
    assert len(data["data"]) == pq.read_table(finished / "trajectories").num_rows
    assert {"image_name", "height", "width", "gt_ann", "clicks_list"} <= set(data["data"][0])
    assert run("export", "--from", finished, "--format", "trace", "--out", tmp_path) == 4
    assert capsys.readouterr().err == (
        f"hlmat: error: {tmp_path} is a folder; --format trace writes a file: name one\n"
    )


def test_exporting_for_llama_factory(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "sft"
    flags = ("--from", finished, "--format", "llama-factory", "--out", out)
    assert run("export", *flags, "--codec", "thousandths", "--max-side", "64", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    rows = json.loads((out / "next_click.json").read_bytes())
    assert len(rows) == report["samples"]
    assert "next_click" in json.loads((out / "dataset_info.json").read_bytes())
    image = cv2.imread(str(out / rows[0]["images"][0]))
    assert image is not None
    assert max(image.shape[:2]) == 64
    assert run("export", *flags) == 4
    assert capsys.readouterr().err == (
        f"hlmat: error: {out} holds an export with other settings:\n"
        '  codec: it was "thousandths", now "decimal"\n'
        "  max-side: it was 64, now null\n"
        "choose another --out, repeat the export's own flags, or pass --overwrite to remove it\n"
    )


def test_an_export_records_what_it_was_made_from(finished: Path, tmp_path: Path):
    out = tmp_path / "sft"
    assert run("export", "--from", finished, "--format", "llama-factory", "--out", out, "-q") == 0
    record = json.loads((out / "export.json").read_bytes())
    assert record["run"]["dataset"] == "shapes"
    table = pq.read_table(finished / "trajectories", columns=["image_path"])
    paths = set(table.column("image_path").to_pylist())
    assert {key.split(":")[2] for key in record["images"]} == paths


def test_shuffled_expressions_go_to_other_targets(finished: Path, tmp_path: Path):
    texts = {}
    for choice in ("each", "shuffled"):
        out = tmp_path / choice
        flags = ("--format", "llama-factory", "--expressions", choice, "--out", out, "-q")
        assert run("export", "--from", finished, *flags) == 0
        rows = json.loads((out / "next_click.json").read_bytes())
        texts[choice] = {(r["target_id"], r["messages"][0]["content"]) for r in rows}
    assert {text for _, text in texts["each"]} == {text for _, text in texts["shuffled"]}
    both = texts["each"] & texts["shuffled"]
    assert len(both) < len(texts["each"]) / 4


def test_every_problem_of_an_export_is_reported(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    flags = ("--codec", "decimals", "--mask-colour", "mauve", "--opacity", "2", "--max-side", "0")
    out = tmp_path / "sft"
    assert run("export", "--from", finished, "--format", "llamafactory", "--out", out, *flags) == 2
    message = capsys.readouterr().err
    assert message.splitlines() == [
        "hlmat: error: --format 'llamafactory': did you mean 'llama-factory'? choose from trace, "
        "llama-factory, hub, coco-results, fiftyone, trl, verl, ms-swift",
        "hlmat: error: --codec 'decimals': did you mean 'decimal'? choose from "
        + ", ".join(CODECS),
        "hlmat: error: --mask-colour 'mauve': choose from green, red, blue",
        "hlmat: error: --opacity 2: must be from 0 to 1",
        "hlmat: error: --max-side 0: must be at least 1",
    ]
    assert not out.exists()


def test_python_need_not_search_for_cycles_when_a_command_ends():
    program = (
        "import gc; from hlmat.pipelines.cli.main import main; main(); print(gc.get_freeze_count())"
    )
    command = [sys.executable, "-c", program, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout.splitlines()[-1]) > 1000
