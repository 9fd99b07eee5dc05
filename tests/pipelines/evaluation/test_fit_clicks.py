"""Click models fitted by the command line to logs of planted clicks."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hlmat.pipelines.cli.main import EXIT_CONFIG, EXIT_DATA, EXIT_OK, main
from hlmat.transforms.clickability.click_model import ClickModel, parse_click_model
from hlmat.transforms.clickability.features import error_pixels
from hlmat.transforms.clickability.sampling import sample_pixel
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from hlmat.transforms.readers.shapes.options import ShapesOptions

PLANTED = ClickModel({"depth": 4.0, "above_centre": 2.0}, source="planted")
ROWS, COLUMNS = np.mgrid[:60, :80]


def ellipse(rng: np.random.Generator) -> Mask:
    y, x = rng.integers(20, 40), rng.integers(25, 55)
    height, width = rng.integers(8, 18, 2)
    return ((ROWS - y) / height) ** 2 + ((COLUMNS - x) / width) ** 2 < 1


def planted_clicks(prediction: Mask, truth: Mask, *, count: int, seed: int) -> list[dict[str, Any]]:
    pixels = error_pixels(prediction, truth)
    probabilities = pixels.probabilities(PLANTED)
    draws = np.random.default_rng(seed).random(count)
    clicks = [pixels.click(sample_pixel(probabilities, float(draw))) for draw in draws]
    return [{"x": c.x, "y": c.y, "positive": int(c.is_positive)} for c in clicks]


def write_mask(path: Path, mask: Mask) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), mask.astype(np.uint8) * 255)


def write_log(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a log next to its masks: 40 images, 12 first clicks and 8 later ones on each."""
    folder = tmp_path_factory.mktemp("log")
    rows: list[dict[str, Any]] = []
    for number in range(40):
        rng = np.random.default_rng(number)
        truth, seen = ellipse(rng), ellipse(rng)
        mask, previous = f"masks/{number}.png", f"seen/{number}.png"
        write_mask(folder / mask, truth)
        write_mask(folder / previous, seen)
        for click, prediction, name in ((1, np.zeros_like(truth), ""), (2, seen, previous)):
            found = planted_clicks(prediction, truth, count=16 - 4 * click, seed=number)
            rows += [{"mask": mask, "click": click, "previous_mask": name, **f} for f in found]
    write_log(folder / "clicks.csv", rows)
    return folder / "clicks.csv"


def fit(log: Path, out: Path, *flags: str) -> int:
    return main(["fit-clicks", str(log), "--out", str(out), *flags])


def test_planted_weights_are_fitted_and_the_figures_are_in_the_file(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(log, tmp_path / "m.json") == EXIT_OK
    text = capsys.readouterr()
    model = parse_click_model((tmp_path / "m.json").read_bytes(), name="m")
    errors = model.fit["standard_errors"]
    for name, weight in model.weights.items():
        assert abs(weight - PLANTED.weights[name]) < 4 * errors[name] + 0.01, name
    assert model.source == (
        "Fitted by hlmat fit-clicks to 640 clicks on 32 images of clicks.csv and judged on 160 "
        "clicks on 8 other images."
    )
    held_out = model.fit["held_out"]
    assert (held_out["clicks"], held_out["images"]) == (160, 8)
    assert held_out["gain_over"]["uniform"]["low"] > 0
    assert held_out["KS"]["model"] < held_out["KS"]["uniform"]
    assert model.fit["rejects"] == {}
    assert not (tmp_path / "m.rejects.jsonl").exists()
    assert "| gain over uniform | +" in text.out
    assert "8 images: intervals from fewer than 20 images are rough" in text.err


def test_the_same_log_and_seed_give_the_same_bytes(log: Path, tmp_path: Path) -> None:
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert fit(log, tmp_path / f"{name}.json", "--seed", seed, "-q") == EXIT_OK
    a, b, c = ((tmp_path / f"{name}.json").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_a_fitted_model_is_one_for_the_policy(log: Path, tmp_path: Path) -> None:
    assert fit(log, tmp_path / "m.json", "-q") == EXIT_OK
    flags = ["--dataset", "shapes", "--limit", "1", "--workers", "1", "-q", "--policy", "human"]
    flags += ["--click-model", str(tmp_path / "m.json"), "--out", str(tmp_path / "o")]
    assert main(["trajectories", *flags]) == EXIT_OK


def test_rejected_rows_are_written_with_their_lines(log: Path, tmp_path: Path) -> None:
    lines = log.read_text().splitlines()
    lines[1] = "masks/0.png,1,,0,0,1"
    lines[3] = "masks/0.png,1,,nan,5,1"
    lines[5] = "masks/none.png,1,,5,5,1"
    (log.parent / "bad.csv").write_text("\n".join(lines))
    assert fit(log.parent / "bad.csv", tmp_path / "m.json", "-q") == EXIT_OK
    rejects = [json.loads(line) for line in (tmp_path / "m.rejects.jsonl").open()]
    assert [(reject["line"], reject["reason"]) for reject in rejects] == [
        (2, "outside_error"),
        (4, "malformed_row"),
        (6, "unusable_mask"),
    ]
    model = json.loads((tmp_path / "m.json").read_text())
    assert model["fit"]["rejects"] == {
        "malformed_row": 1,
        "outside_error": 1,
        "unusable_mask": 1,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:1], "has no clicks"),
        (lambda lines: lines[:8], "expected errors of at least 2 images, got 1"),
        (lambda lines: [lines[0].replace("mask", "m"), *lines[1:]], "the column mask is missing"),
        (
            lambda lines: [lines[0], *(line.replace("masks/", "no/") for line in lines[1:])],
            "none of 800 clicks can be used:\n  line 2: unusable_mask: ",
        ),
        (
            lambda lines: [lines[0], *(f"{line[:-1]}x" for line in lines[1:500]), *lines[500:]],
            "499 of 800 clicks cannot be used, more than --max-reject-rate 0.5 allows:\n  line 2: "
            "malformed_row: positive is 'x'",
        ),
    ],
    ids=["empty", "one image", "columns", "no masks", "many rejects"],
)
def test_a_log_that_cannot_be_used_is_refused_and_nothing_is_written(
    log: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[list[str]], list[str]],
    message: str,
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("\n".join(change(log.read_text().splitlines())))
    assert fit(bad, tmp_path / "m.json", "--masks", str(log.parent)) == EXIT_DATA
    assert message in capsys.readouterr().err
    assert not (tmp_path / "m.json").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--out", ""], "--out is missing"),
        (["--out", "m.txt"], "--out 'm.txt': the name must end in .json"),
        (["--held-out", "1"], "--held-out 1: must be"),
        (["--log-format", "rclicks"], "--log-format rclicks needs the data set of the clicks"),
        (["--data-root", "."], "--data-root belongs to --dataset"),
        (["--dataset", "davs"], "--dataset 'davs' is unknown; did you mean 'davis'?"),
        (["--dataset", "davis"], "davis"),
        (["--shapes-seed", "3"], "--shapes-seed goes with --dataset shapes only"),
        (["--maskss", "3"], "--maskss"),
    ],
)
def test_wrong_flags_are_named(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit-clicks", "log.csv", "--out", "m.json", *flags]) == EXIT_CONFIG
    assert message in capsys.readouterr().err


def test_a_missing_log_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(tmp_path / "none.csv", tmp_path / "m.json") == EXIT_DATA
    assert "none.csv cannot be read" in capsys.readouterr().err


def test_target_ids_are_looked_up_in_a_data_set(tmp_path: Path) -> None:
    shapes = ShapesOptions(count=6, height=64, width=64)
    reader = open_reader("shapes", ReaderOptions(shapes=shapes))
    rows = []
    for ref in reader.read_targets():
        truth = reader.load_truth(ref).truth  # type: ignore[arg-type]
        found = planted_clicks(np.zeros_like(truth), truth, count=5, seed=0)
        rows += [{"target": ref.target_id, "click": 1, **f} for f in found]  # type: ignore[union-attr]
    write_log(tmp_path / "log.csv", rows)
    flags = ["--dataset", "shapes", "--shapes-images", "6", "--shapes-size", "64x64", "-q"]
    assert fit(tmp_path / "log.csv", tmp_path / "m.json", *flags) == EXIT_OK
    figures = json.loads((tmp_path / "m.json").read_text())["fit"]
    assert figures["rejects"] == {}
    assert figures["fitted"]["images"] + figures["held_out"]["images"] == 6


def test_the_log_of_rclicks_is_read_with_its_data_set(tmp_path: Path) -> None:
    rows = []
    for number in range(6):
        rng = np.random.default_rng(number)
        truth, seen = ellipse(rng), ellipse(rng)
        write_mask(tmp_path / f"data/DAVIS/gt/{number}.png", truth)
        image = np.full((60, 80, 3), 90, np.uint8)
        (tmp_path / "data/DAVIS/img").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / f"data/DAVIS/img/{number}.jpg"), image)
        later = f"{number}_sam_fn_pc_1"
        write_mask(tmp_path / f"fn_fp/{later}.png", seen)
        common = {"dataset": "DAVIS", "image_stem": number, "object_stem": "", "w": 160, "h": 120}
        for stem, prediction in ((number, np.zeros_like(truth)), (later, seen)):
            for found in planted_clicks(prediction, truth, count=6, seed=number):
                kind = "fn" if found["positive"] else "fp"
                rows.append(
                    {
                        **common,
                        "full_stem": stem,
                        "click_type": "first" if stem == number else kind,
                        "x": 2 * found["x"] + 1,
                        "y": 2 * found["y"],
                    }
                )
    rows.append({**rows[0], "dataset": "GrabCut"})
    write_log(tmp_path / "clicks.csv", rows)
    flags = ["--log-format", "rclicks", "--dataset", "davis", "--data-root", str(tmp_path / "data")]
    flags += ["--masks", str(tmp_path / "fn_fp"), "-q"]
    assert fit(tmp_path / "clicks.csv", tmp_path / "m.json", *flags) == EXIT_OK
    figures = json.loads((tmp_path / "m.json").read_text())["fit"]
    assert (figures["rejects"], figures["skipped"]) == ({}, 1)
    assert figures["fitted"]["errors"] == 10
