"""Runs on a folder of one's own: what the levels of masks mean, and what is said at the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from hlmat.api import read_trajectories
from hlmat.pipelines.cli.main import main
from hlmat.transforms.masks.rle import rle_area

SIZE = (60, 80)
LEVELS = np.zeros(SIZE, np.uint8)
LEVELS[8:32, 8:38] = 255
LEVELS[10:30, 10:36] = 1
LEVELS[40:55, 50:70] = 7
OBJECT = np.where(LEVELS == 1, 255, 0).astype(np.uint8)


def make_folder(root: Path, masks: dict[str, np.ndarray]) -> Path:
    for name, values in masks.items():
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        grey = np.where(values[..., None] > 0, (200, 60, 40), (30, 90, 160)).astype(np.uint8)
        PilImage.fromarray(grey).save(root / f"images/{name}.png")
        PilImage.fromarray(values).save(root / f"masks/{name}.png")
    return root


def run(root: Path, out: Path, *more: str) -> int:
    flags = ("--dataset", "folder", "--data-root", str(root), "--out", str(out), "--workers", "1")
    return main(["trajectories", *flags, "--max-clicks", "2", "-q", *more])


def areas(out: Path) -> list[int]:
    return [rle_area(t.target.truth) for t in read_trajectories(str(out))]


def test_levels_that_are_not_explained_end_the_run_whatever_rate_is_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path / "data", {"a": LEVELS})
    assert run(root, tmp_path / "out", "--max-reject-rate", "1") == 5
    message = capsys.readouterr().err
    assert (
        "1 of 1 targets were rejected (ambiguous_mask 1), so the run has no trajectory" in message
    )


def test_masks_of_two_levels_beside_others_are_doubted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path / "data", {"a": LEVELS, "b": OBJECT})
    assert run(root, tmp_path / "out") == 0
    message = capsys.readouterr().err
    assert "1 of 2 masks have more levels than object and background" in message
    assert "for example, masks/a.png has 4 levels, not one object on a background: 0: " in message


def test_an_object_and_void(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_folder(tmp_path / "data", {"a": LEVELS})
    assert run(root, tmp_path / "out", "--mask-values", "object=1,void=255") == 0
    (trajectory,) = read_trajectories(str(tmp_path / "out"))
    assert rle_area(trajectory.target.truth) == 520
    assert trajectory.target.ignore is not None
    assert rle_area(trajectory.target.ignore) == 200
    assert capsys.readouterr().err == ""


def test_instances(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "data", {"a": LEVELS})
    assert run(root, tmp_path / "out", "--mask-values=instances,void=255") == 0
    assert areas(tmp_path / "out") == [520, 300]


def test_inverted_masks_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = np.zeros(SIZE, np.uint8)
    small[20:30, 20:40] = 255
    root = make_folder(tmp_path / "data", {"a": 255 - small, "b": OBJECT})
    assert run(root, tmp_path / "out") == 0
    message = capsys.readouterr().err
    assert "1 of 2 targets cover more than 95% of their image" in message
    assert run(root, tmp_path / "black", "--mask-values", "object=0", "--limit", "1") == 0
    assert areas(tmp_path / "black") == [200]


def test_a_dark_object_on_white_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = np.full(SIZE, 255, np.uint8)
    large[5:40, 5:60] = 0
    root = make_folder(tmp_path / "data", {"a": large, "b": OBJECT})
    warning = (
        "hlmat: 1 of 2 targets cover more than 95% of their image, or all of its border and most "
        "of the rest: their masks may be inverted; if objects are black, give --mask-values "
        "object=0\n"
    )
    assert run(root, tmp_path / "out") == 0
    assert warning in capsys.readouterr().err
    flags = ["--dataset", "folder", "--data-root", str(root), "--workers", "1", "-q"]
    evaluate = ["evaluate", "--policy", "oracle", "--max-clicks", "1", *flags]
    assert main([*evaluate, "--out", str(tmp_path / "evaluated")]) == 0
    assert warning in capsys.readouterr().err


def test_captions_are_counted_and_those_left_over_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path / "data", {"a": OBJECT, "b": OBJECT})
    rows = '{"file_name": "a.png", "text": "red box"}\n{"file_name": "z.png", "text": "cup"}\n'
    (root / "metadata.jsonl").write_text(rows)
    flags = ["--dataset", "folder", "--data-root", str(root), "--out", str(tmp_path / "out")]
    assert main(["trajectories", *flags, "--workers", "1", "--max-clicks", "2"]) == 0
    printed = capsys.readouterr()
    assert "captions: metadata.jsonl; 1 of 2 targets have one" in printed.out
    assert "captions for files that are not there, 1 row: 'z.png' (line 2)" in printed.err
    assert "1 of 2 targets have no caption" in printed.err
    expressions = [t.target.ref.expressions for t in read_trajectories(str(tmp_path / "out"))]
    assert expressions == [("red box",), ("the object",)]


def test_names_that_would_steer_a_terminal_are_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path / "data", {"a": OBJECT, "b\x1b[2J": LEVELS})
    (root / "captions\x1b[2J.txt").write_text("")
    assert run(root, tmp_path / "out") == 0
    message = capsys.readouterr().err
    assert "\x1b" not in message
    assert "masks/b\\x1b[2J.png has 4 levels" in message
    assert "captions\\x1b[2J.txt is not read" in message


def test_a_wrong_value_is_named_with_its_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path / "data", {"a": LEVELS})
    assert run(root, tmp_path / "out", "--mask-values", "person") == 2
    assert "--mask-values 'person': expected object=15" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
