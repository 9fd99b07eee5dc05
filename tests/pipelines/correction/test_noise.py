"""`hlmat noise`: doubtful targets are found, ranked, reported and flagged."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from builders import steps, target, trajectory
from hlmat.export.runs.flags import FlagKind, read_flags
from hlmat.pipelines.cli.exit_codes import EXIT_CONFIG, EXIT_DATA, EXIT_OK, EXIT_OUTPUT
from hlmat.pipelines.cli.main import main
from hlmat.pipelines.correction.noise import find_noise
from hlmat.transforms.core.protocols import Image, Mask
from hlmat.transforms.core.records import Click, Trajectory
from viewed_runs import write_run

CONFIG = {"stop_at_score": None, "split_by": None, "annotations": None, "shapes": None}
SCRIPT = "<script>alert(1)</script>\x1b[2J"


def disc(x: int = 40, *, radius: int = 20) -> Mask:
    mask = np.zeros((80, 120), np.uint8)
    cv2.circle(mask, (x, 40), radius, 1, -1)
    return mask.astype(np.bool_)


def holed(x: int = 40) -> Mask:
    mask = disc(x)
    mask[40:42, x : x + 2] = False
    return mask


def one(number: int, truth: Mask, *texts: str, image: str = "") -> Trajectory:
    """Build a target whose only mask is a disc: what is wrong with the truth stays wrong."""
    path = image or f"{number}.png"
    of = target(truth, f"t{number}", *(texts or (f"object {number}",)), image_path=path)
    of = replace(of, ref=replace(of.ref, object_id=number))
    x = round(float(np.argwhere(truth)[:, 1].mean()))
    clean = disc(x)
    return trajectory(of, *steps(truth, (Click(x - 5, 40, True), clean)))


class Drawn:
    """Images by path; others are missing."""

    def __init__(self, **images: Image) -> None:
        self.images = images

    def of(self, trajectory: Trajectory) -> Image | None:
        return self.images.get(trajectory.target.ref.image_path.removesuffix(".png"))


def kinds(found: Sequence[Any]) -> dict[str, list[str]]:
    return {t.key[2]: [finding.kind for finding in t.findings] for t in found}


def scene(seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 255, (80, 120, 3)).astype(np.uint8)


def test_each_kind_is_found_where_it_is() -> None:
    made = [
        one(0, disc()),
        one(1, holed()),
        one(2, disc(30), "the cup", image="two.png"),
        one(3, disc(90), "The cup.", image="two.png"),
        one(4, disc(30), "right cup", image="three.png"),
        one(5, disc(90), "left cup", image="three.png"),
    ]
    assert kinds(find_noise(made, Drawn())) == {
        "t0": [],
        "t1": ["hole"],
        "t2": ["shared"],
        "t3": ["shared"],
        "t4": ["swapped"],
        "t5": ["swapped"],
    }


def test_all_targets_of_a_copied_image_are_duplicates_but_not_the_first() -> None:
    made = [one(n, disc(30 + 20 * n), image=name) for n, name in enumerate(["a.png", "b.png"])]
    made += [one(2, disc(), image="c.png"), one(3, disc(90), image="c.png")]
    images = Drawn(a=scene(0), b=scene(1), c=scene(0))
    found = kinds(find_noise(made, images))
    assert found == {"t0": [], "t1": [], "t2": ["duplicate"], "t3": ["duplicate"]}


def test_clicks_at_defects_make_a_finding() -> None:
    truth = holed()
    of = target(truth, "t0", image_path="a.png")
    clicks = [(Click(35, 40, True), disc()), (Click(40, 40, False), disc())]
    (found,) = find_noise([trajectory(of, *steps(truth, *clicks))], Drawn())
    texts = {finding.kind: finding.text for finding in found.findings}
    assert texts == {
        "hole": "1 of 4 pixels in all",
        "chased": "1 of 1 later clicks: 1 defect",
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    made = [one(0, disc()), one(1, holed(), SCRIPT), one(2, disc(30), "a"), one(3, holed(90), "a")]
    for place in (2, 3):
        ref = replace(made[place].target.ref, image_path="two.png")
        made[place] = replace(made[place], target=replace(made[place].target, ref=ref))
    return write_run(tmp_path / "run", made, config=CONFIG)


def test_targets_are_ranked_and_flags_are_applied(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = tmp_path / "noise.csv"
    command = ["noise", str(run), "--flags", str(flags), "--data-root", str(tmp_path)]
    assert main([*command, "--json"]) == EXIT_OK
    figures = json.loads(capsys.readouterr().out)
    assert [each["target_id"] for each in figures["worst"]] == ["t3", "t2", "t1"]
    assert figures["findings"]["hole"] == 2
    assert figures["findings"]["shared"] == 2
    assert (figures["targets"], figures["images"], figures["images_missing"]) == (4, 3, 3)
    read = read_flags(flags.read_bytes(), name="f")
    assert [(flag.target_id, flag.kind) for flag in read] == [
        (name, FlagKind.DROP) for name in ("t1", "t2", "t3")
    ]
    assert read[0].note == "hole: 1 of 4 pixels in all"
    new = str(tmp_path / "new")
    assert main(["edit", "apply", str(run), "--flags", str(flags), "--out", new, "-q"]) == EXIT_OK
    capsys.readouterr()
    assert main(["noise", new, "--no-images"]) == EXIT_OK
    assert "with findings  0" in capsys.readouterr().out


def test_the_kinds_to_flag_can_be_chosen(run: Path, tmp_path: Path) -> None:
    flags = tmp_path / "noise.csv"
    command = ["noise", str(run), "--flags", str(flags), "--kinds", "shared", "--no-images", "-q"]
    assert main(command) == EXIT_OK
    assert {f.target_id for f in read_flags(flags.read_bytes(), name="f")} == {"t2", "t3"}


def test_the_report_is_escaped_and_loads_nothing(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "noise.html"
    command = ["noise", str(run), "--report", str(report), "--no-images", "--top", "2"]
    assert main([*command]) == EXIT_OK
    assert "\x1b" not in capsys.readouterr().out
    text = report.read_text()
    assert re.findall("<h3>([^<]*)</h3>", text) == ["1. t3: a", "2. t2: a"]
    assert text.count("data:image/jpeg") == 2
    assert re.findall(r'(?:src|href)="(?!data:)[^"]*"', text) == []
    assert main([*command[:-2], "-q"]) == EXIT_OK
    again = report.read_text()
    assert "&lt;script&gt;" in again
    assert "<script" not in again
    assert "\x1b" not in again
    assert main([*command[:-2], "-q"]) == EXIT_OK
    assert report.read_text() == again


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--report", "noise.pdf"], "--report 'noise.pdf': the name must end in .html"),
        (["--flags", "noise.txt"], "--flags 'noise.txt': the name must end in .csv"),
        (["--kinds", "hole"], "--kinds says what --flags drops; add --flags"),
        (["--flags", "a.csv", "--kinds", "holes"], "--kinds"),
        (["--top", "0"], "--top 0: must be at least 1"),
    ],
)
def test_mistakes_are_named(
    run: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["noise", str(run), *flags]) == EXIT_CONFIG
    assert message in capsys.readouterr().err


def test_a_run_without_trajectories_and_a_closed_place_are_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["noise", str(write_run(tmp_path / "none", []))]) == EXIT_DATA
    assert "has no trajectory to judge" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    place = str(tmp_path / "file" / "noise.csv")
    assert main(["noise", str(run), "--flags", place, "--no-images"]) == EXIT_OUTPUT
    assert f"{place} cannot be written" in capsys.readouterr().err
