"""`hlmat rejects`, the end of a run with rejects, and a look at one of them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from hlmat.pipelines.cli.exit_codes import (
    EXIT_CONFIG,
    EXIT_DATA,
    EXIT_INCOMPLETE,
    EXIT_OK,
    EXIT_REJECTS,
)
from hlmat.pipelines.cli.main import main


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two good pairs, an empty mask, two broken images, one broken mask."""
    root = tmp_path / "data"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name in ("broken1", "broken2", "cut", "empty", "good1", "good2"):
        mask = np.zeros((30, 40), np.uint8)
        mask[5:20, 8:30] = 255 * (name != "empty")
        cv2.imwrite(str(root / "images" / f"{name}.png"), np.full((30, 40, 3), 90, np.uint8))
        cv2.imwrite(str(root / "masks" / f"{name}.png"), mask)
    for name in ("broken1", "broken2"):
        (root / "images" / f"{name}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (root / "masks" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return root


def run(data: Path, out: Path, *flags: str) -> int:
    disc = ("--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter")
    return main(
        [
            *("trajectories", "--dataset", "folder", "--data-root", str(data), *disc),
            *("--out", str(out), *flags),
        ]
    )


def test_the_end_of_a_run_shows_the_first_message_of_each_reason(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    assert run(data, out, "--max-reject-rate", "0.9") == EXIT_OK
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hlmat: ")]
    starts = [line.partition(": ")[2].partition(":")[0] for line in lines[-4:]]
    assert starts == [
        "2 rejected as unreadable_image, first folder/all/broken1",
        "1 rejected as empty_mask, first folder/all/empty",
        "1 rejected as unreadable_mask, first folder/all/cut",
        f"`hlmat rejects {out} --all` lists all 4",
    ]
    assert run(data, out, "--max-reject-rate", "0.9", "--quiet") == EXIT_OK
    assert "rejected as" not in capsys.readouterr().err


def test_a_run_that_fails_by_its_rejects_shows_them_even_if_quiet(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    assert run(data, out, "--quiet") == EXIT_INCOMPLETE
    printed = capsys.readouterr().err
    assert "hlmat: 2 rejected as unreadable_image, first folder/all/broken1: " in printed
    assert f"more than --max-reject-rate 0.5 allows; see `hlmat rejects {out}`" in printed


def test_rejects_are_listed_by_reason_and_one_by_one(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = str(tmp_path / "out")
    run(data, tmp_path / "out", "--quiet")
    capsys.readouterr()
    assert main(["rejects", out]) == EXIT_REJECTS
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "4 of 6 targets were rejected"
    assert [line.split()[:2] for line in lines[2:6]] == [
        ["reason", "count"],
        ["unreadable_image", "2"],
        ["empty_mask", "1"],
        ["unreadable_mask", "1"],
    ]
    assert lines[3].split()[2] == "folder/all/broken1:"
    assert lines[-2:] == [
        f"hlmat rejects {out} --all lists every one",
        "after a repair, add --retry-rejects to the command of the run to try them again",
    ]

    assert main(["rejects", out, "--all"]) == EXIT_REJECTS
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("folder/all/")] == [
        f"folder/all/{name}" for name in ("broken1", "broken2", "cut", "empty")
    ]


def test_rejects_as_json_name_target_image_reason_and_message(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run(data, tmp_path / "out", "--quiet")
    capsys.readouterr()
    assert main(["rejects", str(tmp_path / "out"), "--all", "--json"]) == EXIT_REJECTS
    view = json.loads(capsys.readouterr().out)
    assert (view["targets"], view["rejected"]) == (6, 4)
    assert [(e["reason"], e["count"]) for e in view["reasons"]] == [
        ("unreadable_image", 2),
        ("empty_mask", 1),
        ("unreadable_mask", 1),
    ]
    assert view["reasons"][0]["message"] == view["rejects"][0]["message"]
    assert view["rejects"][3] == {
        "target_id": "folder/all/empty",
        "image_path": "images/empty.png",
        "reason": "empty_mask",
        "message": view["reasons"][1]["message"],
    }


def test_a_run_without_rejects_ends_with_0_and_no_run_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = str(tmp_path / "out")
    flags = ["--dataset", "shapes", "--shapes-images", "1", "--shapes-size", "64x80", "-q"]
    assert main(["trajectories", *flags, "--workers", "1", "--out", out]) == EXIT_OK
    assert main(["rejects", out]) == EXIT_OK
    assert capsys.readouterr().out.startswith("none of the ")
    assert main(["rejects", str(tmp_path / "missing")]) == EXIT_DATA


@pytest.mark.parametrize(
    ("name", "reason", "shown"),
    [
        ("empty", "empty_mask", "the image alone"),
        ("cut", "unreadable_mask", "the image alone"),
        ("broken1", "unreadable_image", "the mask alone"),
    ],
)
def test_inspect_shows_why_a_target_was_rejected_and_what_can_be_drawn(
    data: Path,
    tmp_path: Path,
    name: str,
    reason: str,
    shown: str,
    capsys: pytest.CaptureFixture[str],
):
    out, strip = str(tmp_path / "out"), tmp_path / "strip.png"
    run(data, tmp_path / "out", "--quiet")
    capsys.readouterr()
    command = ["inspect", out, "--target", f"folder/all/{name}", "--strip", str(strip)]
    assert main(command) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"target         folder/all/{name}"
    assert lines[3].startswith(f"rejected as    {reason}: ")
    assert lines[4] == f"image strip    {strip} ({shown})"
    drawn = cv2.imread(str(strip))
    assert drawn is not None
    assert drawn.shape == (30, 40, 3)


def test_a_reject_of_which_nothing_can_be_drawn_is_reported(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run(data, tmp_path / "out", "--quiet")
    (data / "images" / "cut.png").unlink()
    strip = tmp_path / "strip.png"
    command = ["inspect", str(tmp_path / "out"), "--target", "folder/all/cut"]
    assert main([*command, "--strip", str(strip)]) == EXIT_CONFIG
    assert "nothing of folder/all/cut can be drawn: mask: " in capsys.readouterr().err
    assert not strip.exists()
    assert main(command) == EXIT_OK


def test_an_index_beyond_the_trajectories_points_at_the_rejects(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    run(data, out, "--quiet")
    assert main(["inspect", str(out), "--index", "2"]) == EXIT_CONFIG
    assert (
        f"{out} has 2 trajectories, numbered from 0; `hlmat rejects {out}` lists"
        in capsys.readouterr().err
    )
