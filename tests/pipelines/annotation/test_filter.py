"""`hlmat filter`: verdicts, files that others read, figures on corrupted masks, wrong input."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from annotated_data import read_coco, read_mask, write_answers, write_coco, write_folder
from answer_server import Reply, completion, scripted_server
from hlmat.pipelines.cli.main import EXIT_CONFIG, EXIT_DATA, EXIT_INCOMPLETE, EXIT_OK, main
from hlmat.transforms.policies.backends import openai_server as server_answerer

SCENES = ["--dataset", "shapes", "--split", "test", "--shapes-images", "6", "--shapes-size"]
FIGURES = ("MAE", "MSE", "Pearson", "Spearman")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_answerer, "_FIRST_WAIT_S", 0.001)


def run_filter(out: Path, *flags: str) -> int:
    return main(["filter", "--workers", "1", "-q", "--out", str(out), *flags])


def replayed(path: Path, answers: dict[str, str]) -> list[str]:
    recorded = write_answers(path, {name: [text] for name, text in answers.items()})
    return ["--policy", "replay", "--answers", recorded]


def score(percent: float) -> str:
    return f"Current IOU: {percent}, Positive point: (0.500, 0.500)"


def rows_in(out: Path) -> list[dict[str, str]]:
    with open(out / "scores.csv", newline="") as f:
        return list(csv.DictReader(f))


def files_in(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def test_a_folder_s_masks_are_parted_by_their_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = write_folder(tmp_path / "mine")
    answers = {
        "folder/all/a": score(80.0),
        "folder/all/b": "I see a fine mask.",
        "folder/all/sub/c": score(79.9),
    }
    out = tmp_path / "out"
    data = ["--dataset", "folder", "--data-root", str(tmp_path / "mine")]
    assert run_filter(out, *data, *replayed(tmp_path / "answers", answers)) == EXIT_OK
    rows = rows_in(out)
    assert [(r["target_id"], r["predicted_iou"], r["verdict"]) for r in rows] == [
        ("folder/all/a", "0.8", "kept"),
        ("folder/all/b", "", "doubtful"),
        ("folder/all/sub/c", "0.799", "doubtful"),
    ]
    assert (rows[0]["image"], rows[0]["expression"]) == ("images/a.png", "the object")
    table = pq.read_table(out / "scores.parquet").to_pylist()
    assert [row["predicted_iou"] for row in table] == [0.8, None, 0.799]
    assert "iou" not in table[0]
    # The masks lie as in the data set, pixel for pixel.
    for verdict, names in (("kept", ["a"]), ("doubtful", ["b", "sub/c"])):
        found = sorted(str(p.relative_to(out / verdict)) for p in (out / verdict).rglob("*.png"))
        assert found == [f"{name}.png" for name in names]
        for name in names:
            assert np.array_equal(read_mask(out / verdict / f"{name}.png"), masks[name] > 0)
        coco = read_coco(out / f"{verdict}.json")
        assert [image["file_name"] for image in coco.imgs.values()] == [
            f"images/{name}.png" for name in names
        ]
    figures = json.loads((out / "metrics.json").read_text())
    assert (figures["kept"], figures["doubtful"], figures["unreadable"]) == (1, 2, 1)
    assert not {"score_calibration", "good"} & set(figures)
    assert main(["stats", str(out)]) == EXIT_OK
    assert "max_clicks 3" in capsys.readouterr().out
    assert main(["inspect", str(out), "--strip", str(tmp_path / "strip.png")]) == EXIT_OK


def test_another_threshold_moves_masks_and_asks_nothing_again(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine")
    answers = {f"folder/all/{name}": score(60) for name in ("a", "b", "sub/c")}
    data = ["--dataset", "folder", "--data-root", str(tmp_path / "mine")]
    flags = [*data, *replayed(tmp_path / "answers", answers)]
    out = tmp_path / "out"
    assert run_filter(out, *flags) == EXIT_OK
    before = files_in(out)
    assert run_filter(out, *flags) == EXIT_OK
    assert files_in(out) == before
    assert run_filter(out, *flags, "--keep-at", "0.6") == EXIT_OK
    assert not (out / "doubtful").exists()
    assert (out / "kept" / "sub" / "c.png").is_file()
    assert json.loads((out / "doubtful.json").read_text())["annotations"] == []


def test_a_coco_file_keeps_ids_categories_and_fields(tmp_path: Path) -> None:
    written = write_coco(tmp_path / "coco")
    answers = {f"coco/val2017/{k}": score(percent) for k, percent in ((11, 91), (12, 30), (31, 85))}
    out = tmp_path / "out"
    data = ["--dataset", "coco", "--data-root", str(tmp_path / "coco"), "--max-reject-rate", "1"]
    assert run_filter(out, *data, *replayed(tmp_path / "answers", answers)) == EXIT_OK
    kept, doubtful = (read_coco(out / f"{name}.json") for name in ("kept", "doubtful"))
    assert {k: (a["category_id"], a["score"]) for k, a in kept.anns.items()} == {
        11: (18, 0.91),
        31: (18, 0.85),
    }
    assert kept.anns[11]["attributes"] == {"occluded": True}
    assert list(doubtful.anns) == [12]
    assert doubtful.imgs == {7: written["images"][0]}
    original = read_coco(tmp_path / "coco" / "annotations" / "instances_val2017.json")
    for coco in (kept, doubtful):
        assert list(coco.cats.values()) == written["categories"]
        for k, annotation in coco.anns.items():
            mask = coco.annToMask(annotation)
            assert np.array_equal(mask, original.annToMask(original.anns[k]))
            assert annotation["area"] == mask.sum()
    assert not (out / "kept").exists()
    # What was filtered is a data set again.
    figures = json.loads((out / "metrics.json").read_text())
    assert figures["rejects"] == {"crowd": 1, "empty_mask": 1, "malformed_segmentation": 1}
    again = [*data, "--annotations", str(out / "kept.json")]
    (tmp_path / "coco" / "kept.json").write_bytes((out / "kept.json").read_bytes())
    again[-1] = "kept.json"
    flags = [*again, *replayed(tmp_path / "answers2", answers), "--keep-at", "0.9"]
    assert run_filter(tmp_path / "twice", *flags) == EXIT_OK
    assert list(read_coco(tmp_path / "twice" / "kept.json").anns) == [11]


def test_broken_masks_become_rejects_and_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = write_coco(tmp_path / "coco")
    content["annotations"] = [a for a in content["annotations"] if a["id"] in (32, 33, 34)]
    path = tmp_path / "coco" / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps(content))
    data = ["--dataset", "coco", "--data-root", str(tmp_path / "coco")]
    flags = [*data, *replayed(tmp_path / "answers", {"x": "y"})]
    assert run_filter(tmp_path / "out", *flags) == EXIT_DATA
    assert "every mask was rejected" in capsys.readouterr().err
    rejects = pq.read_table(tmp_path / "out" / "rejects").to_pylist()
    assert {r["reason"] for r in rejects} == {"crowd", "empty_mask", "malformed_segmentation"}
    path.write_text("{")
    assert run_filter(tmp_path / "other", *flags) == EXIT_DATA
    assert "is not JSON" in capsys.readouterr().err


def blind_scores(request: Any, key: Any) -> Any:
    """Answer with a score that depends on the image alone."""
    digest = hashlib.sha256(json.dumps(request["messages"]).encode()).digest()
    return completion(score(round(100 * digest[0] / 255, 1)))


def test_on_corrupted_masks_the_scores_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    flags = [*SCENES, "64x64", "--corrupt", "0.3-1", "--keep-at", "0.6"]
    with scripted_server() as server:
        server.next_reply = blind_scores
        served = ["--policy", "openai", "--server", server.url, "--json"]
        assert run_filter(out, *flags, *served) == EXIT_OK
    figures = json.loads(capsys.readouterr().out)
    assert figures == json.loads((out / "metrics.json").read_text())
    rows = [{k: r[k] for k in ("predicted_iou", "iou", "verdict")} for r in rows_in(out)]
    predicted, true = (np.array([float(r[k]) for r in rows]) for k in ("predicted_iou", "iou"))
    assert ((true >= 0.3) & (true < 1)).all()
    calibration = figures["score_calibration"]
    assert calibration["MAE"]["value"] == pytest.approx(100 * np.abs(predicted - true).mean())
    assert calibration["MSE"]["value"] == pytest.approx(1e4 * ((predicted - true) ** 2).mean())
    for name in FIGURES:
        interval = calibration[name]
        assert interval["low"] <= interval["value"] <= interval["high"]
    kept = np.array([r["verdict"] == "kept" for r in rows])
    assert (kept == (predicted >= 0.6)).all()
    for name, of_kind in (("good", true >= 0.6), ("bad", true < 0.6)):
        assert figures[name] == {
            "masks": of_kind.sum(),
            "kept": (kept & of_kind).sum(),
            "doubtful": (~kept & of_kind).sum(),
        }
    assert figures["good"]["masks"] > 0 < figures["bad"]["masks"]
    (row,) = (row for row in figures["keeping"] if row["keep_at"] == 0.6)
    assert row["precision"]["value"] == pytest.approx((true >= 0.6)[kept].mean())
    assert row["recall"]["value"] == pytest.approx(kept[true >= 0.6].mean())


def test_the_figures_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    with scripted_server(completion("nonsense")) as server:
        flags = [*SCENES, "64x64", "--limit", "4", "--policy", "openai", "--server", server.url]
        argv = ["filter", *flags, "--workers", "1", "--out", str(out), "--corrupt", "0.3-0.9"]
        assert main(argv) == EXIT_OK
    printed = capsys.readouterr()
    assert "4, of which 4 without a score" in printed.out
    assert f"{out}/kept.json" in printed.out
    assert "no answer states a score: the model was not trained to score masks" in printed.err


@pytest.mark.slow
def test_a_run_that_was_cut_short_goes_on_and_gives_the_same_bytes(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    flags = [*SCENES, "64x64", "--unit-size", "2", "--retries", "0", "--corrupt", "0.3-0.9"]

    def served(url: str) -> list[str]:
        return [*flags, "--policy", "openai", "--server", url]

    with scripted_server(completion(score(90))) as server:
        assert run_filter(whole, *served(server.url)) == EXIT_OK
        asked = len(server.requests)
    some = [completion(score(90))] * (asked // 2)
    with scripted_server(*some, Reply({}, status=500)) as server:
        assert run_filter(broken, *served(server.url)) == EXIT_INCOMPLETE
        assert not (broken / "metrics.json").exists()
    with scripted_server(completion(score(90))) as server:
        assert run_filter(broken, *served(server.url)) == EXIT_OK
        assert 0 < len(server.requests) < asked
    assert files_in(broken) == files_in(whole)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--recipe", "mini"], "--recipe mini: its model was not taught to score masks"),
        (["--policy", "centre"], "--policy 'centre': masks are scored by a model; choose from"),
        (["--keep-at", "2"], "--keep-at 2: must be from 0 to 1"),
        (["--corrupt", "0.9-0.1"], "--corrupt 0.9-0.1: expected LOW-HIGH with 0 <= LOW < HIGH"),
        (["--corrupt", "half"], "--corrupt 'half': expected LOW-HIGH, as 0.5-0.9"),
        (["--corrupt", "0.5-1.5"], "--corrupt 0.5-1.5: expected LOW-HIGH with"),
        ([], "--model is missing"),
        (["--model", "no/such-model"], "no/such-model"),
        (["--max-clicks", "3"], "--max-clicks"),
    ],
)
def test_wrong_flags_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert run_filter(tmp_path / "out", "--dataset", "shapes", *flags) == EXIT_CONFIG
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_measurement_on_training_images_is_refused_a_filter_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [*SCENES, "64x64"]
    trained = tmp_path / "trained"
    assert main(["trajectories", *data, "--workers", "1", "--out", str(trained), "-q"]) == EXIT_OK
    with scripted_server(completion(score(90))) as server:
        flags = [*data, "--policy", "openai", "--server", server.url]
        guard = ["--trained-on", str(trained)]
        out = tmp_path / "measured"
        assert run_filter(out, *flags, *guard, "--corrupt", "0.3-0.9") == EXIT_CONFIG
        assert "leak guard: 6 of the 6 images" in capsys.readouterr().err
        assert run_filter(tmp_path / "filtered", *flags, *guard) == EXIT_OK
