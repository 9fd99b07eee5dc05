"""Evaluations side by side: tables, paired differences, folders of other targets or older code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import viewed_runs
from hlmat.pipelines.cli.main import EXIT_CONFIG, EXIT_DATA, EXIT_OK, main

SCENES = ["--dataset", "shapes", "--split", "test", "--shapes-size", "64x64", "--max-clicks", "2"]


def make_evaluation(folder: Path, giou: float) -> str:
    """Write the figures of an evaluation alone, without its trajectories."""
    figure = {"value": giou, "low": giou - 0.1, "high": giou + 0.1}
    none = {"value": 0.0, "low": 0.0, "high": 0.0}
    figures = {
        "gIoU": figure,
        "cIoU": figure,
        "IoU@k": [figure],
        "invalid_rate": none,
        "clicks_per_target": figure,
        "targets": 7,
        "images": 3,
    }
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(figures))
    return str(folder)


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two policies on the same images, and one on some of them."""
    folder = tmp_path_factory.mktemp("evaluations")
    for name, policy, images in (
        ("centre", "centre", 25),
        ("oracle", "oracle", 25),
        ("fewer", "oracle", 8),
    ):
        flags = ["--policy", policy, "--shapes-images", str(images), "--out", str(folder / name)]
        assert main(["evaluate", *SCENES, "--workers", "1", "-q", *flags]) == EXIT_OK
    return {name: folder / name for name in ("centre", "oracle", "fewer")}


def compared(capsys: pytest.CaptureFixture[str], **folders: Path) -> dict[str, Any]:
    names = [f"{name}={folder}" for name, folder in folders.items()]
    assert main(["compare", *names, "--json"]) == EXIT_OK
    return json.loads(capsys.readouterr().out)


def test_a_row_for_each_and_a_learning_curve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, many = make_evaluation(tmp_path / "a", 0.3), make_evaluation(tmp_path / "b", 0.6)
    curve = tmp_path / "curve.png"
    names = [f"1000={few}", f"8000={many}"]
    assert main(["compare", *names, "--learning-curve", str(curve)]) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == (
        "| 1000 | 0.300 (0.200 to 0.400) | 0.300 (0.200 to 0.400) | 0.0 % | 0.30 | 7 | 3 |"
    )
    assert "Warning: 8000: no trajectories in its folder, so nothing is paired." in lines
    assert curve.read_bytes().startswith(b"\x89PNG")
    assert main(["compare", *names, "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out)["8000"]["gIoU"]["value"] == 0.6


@pytest.mark.slow
def test_the_same_targets_are_paired(
    evaluations: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    found = compared(capsys, first=evaluations["centre"], second=evaluations["oracle"])
    first, second = found["first"], found["second"]
    assert first["difference"] is None
    difference = second["difference"]
    assert difference["against"] == "first"
    assert (difference["targets"], difference["images"]) == (second["measured"], 25)
    assert difference["unpaired"] == 0
    for name in ("gIoU", "cIoU"):
        assert difference[name]["value"] == pytest.approx(
            second[name]["value"] - first[name]["value"]
        )
    assert difference["gIoU"]["change"] == "rises"
    assert first["remarks"] == second["remarks"] == []


def test_runs_over_different_targets_are_reported(
    evaluations: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    found = compared(capsys, all=evaluations["oracle"], few=evaluations["fewer"])
    count, total = found["few"]["measured"], found["all"]["measured"]
    assert count < total
    difference = found["few"]["difference"]
    assert (difference["targets"], difference["images"]) == (count, 8)
    assert difference["unpaired"] == total - count
    # The same policy on the same targets.
    assert (difference["gIoU"]["value"], difference["gIoU"]["change"]) == (0, "no change shown")
    assert (
        f"few and all share {count} targets, of {count} and {total}; compared over these only"
        in found["few"]["remarks"]
    )
    assert any(r.startswith("few: 8 images: intervals from") for r in found["few"]["remarks"])
    names = [f"{name}={evaluations[name]}" for name in ("oracle", "fewer")]
    assert main(["compare", *names]) == EXIT_OK
    text = capsys.readouterr().out
    assert "| policy | gIoU compared with oracle |" in text
    assert "| fewer | +0.000 (+0.000 to +0.000) | no change shown | +0.000" in text
    assert f"Warning: fewer and oracle share {count} targets" in text


@pytest.mark.slow
def test_other_images_share_nothing_even_with_the_same_ids(
    tmp_path: Path, evaluations: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--policy", "centre", "--shapes-images", "25", "--shapes-difficulty", "thin"]
    out = tmp_path / "thin"
    assert main(["evaluate", *SCENES, "--workers", "1", "-q", *flags, "--out", str(out)]) == EXIT_OK
    found = compared(capsys, a=evaluations["centre"], b=out)
    assert found["b"]["difference"] is None
    assert "they cannot be compared" in " ".join(found["b"]["remarks"])


def test_an_evaluation_with_intervals_by_target_is_recomputed(
    tmp_path: Path, evaluations: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    older = tmp_path / "older"
    shutil.copytree(evaluations["oracle"], older)
    figures = json.loads((older / "metrics.json").read_text())
    del figures["images"], figures["intervals"]
    figures["gIoU"] |= {"low": 0.0, "high": 1.0}
    (older / "metrics.json").write_text(json.dumps(figures))
    found = compared(capsys, older=older, newer=evaluations["oracle"])
    for name in ("gIoU", "cIoU", "boundary_IoU", "IoU@k", "NoC", "NoF", "images", "intervals"):
        assert found["older"][name] == found["newer"][name]


def test_intervals_by_target_without_trajectories_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path(make_evaluation(tmp_path / "a", 0.3))
    figures = json.loads((out / "metrics.json").read_text())
    del figures["images"]
    (out / "metrics.json").write_text(json.dumps(figures))
    assert main(["compare", f"a={out}"]) == EXIT_OK
    text = capsys.readouterr().out
    assert "| 7 | unknown |" in text
    assert "Warning: a: its intervals resample targets, not images, and are too narrow." in text


def test_a_run_without_a_report_is_measured_by_its_last_masks(
    tmp_path: Path, evaluations: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--by", "target", "--share", "1", "-q", "--out", str(tmp_path / "copy"))
    assert main(["sample", str(evaluations["oracle"]), *flags]) == EXIT_OK
    found = compared(capsys, whole=evaluations["oracle"], copy=tmp_path / "copy")
    whole, copy = found["whole"], found["copy"]
    for name in ("gIoU", "cIoU", "boundary_IoU", "IoU@k", "NoC", "NoF", "images", "stop_reasons"):
        assert copy[name] == whole[name]
    assert copy["targets"] == whole["measured"]
    assert copy["difference"]["unpaired"] == 0
    assert copy["difference"]["gIoU"]["value"] == 0
    assert copy["remarks"] == [
        "copy: no metrics.json in its folder, so its figures are computed from its last masks"
    ]


def test_a_run_of_rejects_alone_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = viewed_runs.write_run(tmp_path / "run", [])
    assert main(["compare", f"a={out}"]) == EXIT_DATA
    assert f"{out} has no trajectory, so there is nothing to compare" in capsys.readouterr().err


def test_all_wrong_names_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = make_evaluation(tmp_path / "a", 0.3)
    names = ["nothing", f"a={out}", f"a={out}"]
    assert main(["compare", *names, "--learning-curve", "x.png"]) == EXIT_CONFIG
    errors = capsys.readouterr().err
    assert "'nothing': expected NAME=OUT" in errors
    assert "'a': with --learning-curve a name is a number of training targets" in errors
    assert main(["compare", *names[1:]]) == EXIT_CONFIG
    assert "'a' is the name of two evaluations" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "has neither metrics.json nor a manifest.json"), ("[]", "does not")],
)
def test_a_folder_without_figures_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    assert main(["compare", f"a={tmp_path}"]) == EXIT_DATA
    assert message in capsys.readouterr().err
