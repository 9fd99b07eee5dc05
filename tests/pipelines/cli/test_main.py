"""The command as its users meet it: what it writes, prints and returns."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import pyarrow.parquet as pq
import pytest

from hlmat.pipelines.cli.main import main
from hlmat.transforms.core.storage import LocalStorage

DISC = "hlmat.transforms.segmenters.disc:DiscSegmenter"
SMALL = (
    *("--dataset", "shapes", "--shapes-images", "6", "--shapes-size", "64x80"),
    *("--segmenter", DISC, "--unit-size", "4", "--workers", "1"),
)


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


def test_the_summary_says_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    assert run("trajectories", *SMALL, "--out", out) == 0
    captured = capsys.readouterr()
    for part in ("targets in", "kept", "rejected", "clicks/target", "IoU", "NoC@80", "NoC@85"):
        assert part in captured.out
    for part in ("NoC@90 (no-gain stop, max 5 clicks)", "targets/s", f"{out}/manifest.json"):
        assert part in captured.out
    assert "target/s" in captured.err

    assert run("trajectories", *SMALL, "--out", out) == 0
    assert "nothing to do: the run is complete" in capsys.readouterr().out


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


def test_the_same_bytes_with_any_number_of_workers(finished: Path, tmp_path: Path):
    assert make(tmp_path / "out", "--workers", "2") == 0
    assert contents(tmp_path / "out") == contents(finished)


SLOW_SEGMENTER = """
import time
from hlmat.transforms.segmenters.disc import DiscSegmenter

class Slow(DiscSegmenter):
    def set_image(self, image):
        time.sleep(0.4)
        super().set_image(image)
"""


def slow_command(out: Path) -> list[str]:
    flags = [a if a != DISC else "slow_tool:Slow" for a in SMALL]
    return [
        sys.executable,
        "-m",
        "hlmat.pipelines.cli.main",
        "trajectories",
        *flags,
        "--out",
        str(out),
    ]


def test_killing_it_and_running_it_again_gives_the_same_bytes(tmp_path: Path):
    (tmp_path / "slow_tool.py").write_text(SLOW_SEGMENTER)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(slow_command(whole), cwd=tmp_path, check=True, capture_output=True)

    process = subprocess.Popen(
        slow_command(killed), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list(killed.glob("units/*.parquet")):
        assert process.poll() is None, "it ended before a unit was seen"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "manifest.json").exists()
    before = {p.name: p.stat().st_mtime_ns for p in killed.glob("units/*.parquet")}
    assert before

    again = subprocess.run(
        [*slow_command(killed), "--json"], cwd=tmp_path, check=True, capture_output=True
    )
    report = json.loads(again.stdout)
    assert report["status"] == "resumed"
    assert 0 < report["targets_done_now"] < report["targets"]
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
        if "/units/" in path and len(list((out / "units").glob("*.parquet"))) == 2:
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


def test_another_configuration_in_the_same_folder_is_refused_until_told_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    assert make(out) == 0
    before = contents(out)
    assert make(out, "--max-clicks", "2") == 4
    message = capsys.readouterr().err
    assert "max_clicks: it was 5, now 2" in message
    assert contents(out) == before
    assert make(out, "--max-clicks", "2", "--output-shards", "2", "--overwrite") == 0
    assert len(list(out.glob("trajectories/*.parquet"))) == 2


def test_too_many_rejects_is_an_exit_code_but_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert make(tmp_path / "out", "--min-area", "100000") == 5
    assert "more than --max-reject-rate 0.5 allows" in capsys.readouterr().err
    assert run("stats", tmp_path / "out", "--json") == 0
    stats = json.loads(capsys.readouterr().out)
    assert stats["rejects"] == {"outside_area_filter": stats["targets"]}


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        ((), 2, ""),
        (("trajectorys",), 2, "unknown command 'trajectorys'; did you mean 'trajectories'?"),
        (("trajectories", *SMALL, "--out", "o", "--sede", "1"), 2, "did you mean --seed?"),
        (("stats", "nowhere"), 3, "nowhere is not the output of a finished run"),
        (("stats", "nowhere", "--jsn"), 2, "unknown flag --jsn; did you mean --json?"),
        (("stats",), 2, "the following arguments are required: OUT"),
        (("inspect", "nowhere"), 3, "nowhere is not the output of a finished run"),
        (("export", "--from", "nowhere"), 2, "--out is missing"),
        (("export", "--from", "nowhere"), 2, "--format is missing; choose from trace"),
        (
            ("trajectories", "--dataset", "ecssd", "--data-root", "nowhere", "--out", "o"),
            3,
            "nowhere",
        ),
        (
            ("trajectories", "--dataset", "shapes", "--segmenter", "sam", "--out", "o"),
            2,
            "sam_vit_b_01ec64.pth",
        ),
    ],
)
def test_wrong_use_is_reported_and_has_its_exit_code(
    argv: tuple[str, ...],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert run(*argv) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_cannot_be_made_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("in the way")
    assert make(tmp_path / "file" / "out") == 4
    assert "cannot be written" in capsys.readouterr().err


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
        (("--target", "train/000000"), "did you mean 'train/00000"),
        (("--index", "999"), "has fewer trajectories"),
        (("--index", "-1"), "--index"),
        (("--strip", "strip.gif"), "must end in .png or .jpg"),
    ],
)
def test_a_wrong_inspection_is_reported(
    finished: Path, flags: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
):
    assert run("inspect", finished, *flags) == 2
    assert message in capsys.readouterr().err


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
    assert "is a folder; --format trace writes a file" in capsys.readouterr().err


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
    assert "not an empty folder" in capsys.readouterr().err


def test_an_export_says_what_it_was_made_from(finished: Path, tmp_path: Path):
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
    for part in ("'llamafactory'", "'decimals'", "'mauve'", "--opacity 2", "--max-side 0"):
        assert part in message
    assert not out.exists()
