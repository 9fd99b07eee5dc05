"""Exports for FiftyOne: the documents themselves, and what FiftyOne makes of them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import annotated_data
import consumer_environments
from hlmat.export.fiftyone.unit_export import SamplesExport
from hlmat.pipelines.cli.exit_codes import EXIT_DATA, EXIT_OUTPUT
from hlmat.pipelines.cli.main import main
from hlmat.transforms.core.records import Rle
from hlmat.transforms.masks.rle import decode_rle

DISC = ("--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter", "--workers", "1", "-q")
SHAPES = ("--dataset", "shapes", "--shapes-images", "3", "--shapes-size", "64x80")


def run(*argv: str | Path) -> int:
    return main([str(a) for a in argv])


def export(source: Path, out: Path | str, *more: str | Path) -> int:
    return run("export", "--from", source, "--format", "fiftyone", "--out", out, *more, "-q")


def contents(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over three generated scenes."""
    out = tmp_path_factory.mktemp("run") / "out"
    clicks = ("--max-clicks", "3", "--no-stop-on-no-gain", "--out", out)
    assert run("trajectories", *SHAPES, *DISC, *clicks) == 0
    return out


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose trajectories begin with a box."""
    out = tmp_path_factory.mktemp("boxes") / "out"
    first = ("--initial-action", "box", "--max-clicks", "1", "--out", out)
    assert run("trajectories", *SHAPES, *DISC, *first) == 0
    return out


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation over an image with an object and an expression that names none."""
    root = tmp_path_factory.mktemp("nothing")
    annotated_data.write_grefcoco(root / "data")
    data = ("--dataset", "grefcoco", "--data-root", root / "data", "--split", "val")
    clicks = ("--policy", "centre", "--max-clicks", "1", "--out", root / "out")
    assert run("evaluate", *data, *DISC, *clicks) == 0
    return root / "out"


def rows(of: Path) -> dict[str, dict[str, Any]]:
    files = sorted((of / "trajectories").iterdir())
    found = [row for file in files for row in pq.read_table(file).to_pylist()]
    return {row["target_id"]: row for row in found}


def samples(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "samples.json").read_text())["samples"]


def pixels(detection: dict[str, Any], size_hw: tuple[int, int]) -> np.ndarray:
    """Paste a detection's mask into its box, as FiftyOne's documentation describes them."""
    height, width = size_hw
    packed = base64.b64decode(detection["mask"]["$binary"]["base64"])
    inside = np.load(io.BytesIO(zlib.decompress(packed)), allow_pickle=False)
    left, top, wide, high = detection["bounding_box"]
    x, y = round(left * width), round(top * height)
    assert inside.shape == (round(high * height), round(wide * width))
    mask = np.zeros(size_hw, np.bool_)
    mask[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return mask


def declared(out: Path) -> dict[str, Any]:
    """Return the names of the fields that `metadata.json` declares, nested."""

    def names(fields: list[dict[str, Any]]) -> dict[str, Any]:
        return {field["db_field"]: names(field["fields"]) for field in fields}

    return names(json.loads((out / "metadata.json").read_text())["sample_fields"])


def check_declared(document: dict[str, Any], fields: dict[str, Any], *, where: str) -> None:
    """Check that every key of a document is a field that the data set declares."""
    for key, value in document.items():
        if key == "_cls":
            continue
        assert key in fields, f"{where}.{key}"
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict) and not any(name.startswith("$") for name in each):
                check_declared(each, fields[key], where=f"{where}.{key}")


def mask_of(row: dict[str, Any], rle: str) -> np.ndarray:
    return decode_rle(Rle(rle, (row["height"], row["width"])))


def test_labels_are_those_of_the_run(shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert export(shapes, out, "--image-format", "png") == 0
    expected = rows(shapes)
    ids: list[str] = []
    found: list[str] = []
    for sample in samples(out):
        check_declared(sample, declared(out), where="sample")
        size = (sample["metadata"]["width"], sample["metadata"]["height"])
        with Image.open(out / sample["filepath"]) as image:
            assert (image.size, image.format) == (size, "PNG")
        assert sample["metadata"]["size_bytes"] == (out / sample["filepath"]).stat().st_size
        assert sample["tags"] == ["train"]
        predicted = {each["target_id"]: each for each in sample["predictions"]["detections"]}
        for truth in sample["ground_truth"]["detections"]:
            row = expected[truth["target_id"]]
            last = row["steps"][-1]
            assert sample["image_path"] == row["image_path"]
            assert truth["label"] == row["expressions"][0]
            assert truth["expressions"] == row["expressions"]
            assert truth["stop_reason"] == row["stop_reason"]
            assert truth["num_clicks"] == row["num_clicks"]
            assert truth["iou"] == last["iou"]
            size_hw = size[::-1]
            assert (pixels(truth, size_hw) == mask_of(row, row["truth_rle"])).all()
            prediction = predicted[truth["target_id"]]
            assert prediction["index"] == truth["index"]
            assert (pixels(prediction, size_hw) == mask_of(row, last["mask_rle"])).all()
            clicks = [
                (step, label["label"] == "positive", *point, iou)
                for label in sample["clicks"]["keypoints"]
                if label["target_id"] == truth["target_id"]
                for step, point, iou in zip(
                    label["step"], label["points"], label["iou"], strict=True
                )
            ]
            for (_, is_positive, x, y, iou), step in zip(sorted(clicks), row["steps"], strict=True):
                assert (is_positive, iou) == (step["is_positive"], step["iou"])
                assert (int(x * size[0]), int(y * size[1])) == (step["x"], step["y"])
            found.append(truth["target_id"])
        labels = [
            each
            for name, items in (
                ("ground_truth", "detections"),
                ("predictions", "detections"),
                ("clicks", "keypoints"),
            )
            for each in sample[name][items]
        ]
        ids += [each["_id"]["$oid"] for each in [sample, *labels]]
    assert found == list(expected)
    assert len(set(ids)) == len(ids)
    assert {len(each) for each in ids} == {24}


def test_boxes_and_missing_objects_have_fields_of_their_own(
    boxes: Path, nothing: Path, tmp_path: Path
) -> None:
    assert export(boxes, tmp_path / "boxes") == 0
    for sample in samples(tmp_path / "boxes"):
        check_declared(sample, declared(tmp_path / "boxes"), where="sample")
        assert len(sample["boxes"]["detections"]) == len(sample["ground_truth"]["detections"])
        assert {each["step"] for each in sample["boxes"]["detections"]} == {0}
        assert "no_object" not in sample
    assert export(nothing, tmp_path / "nothing") == 0
    (sample,) = samples(tmp_path / "nothing")
    check_declared(sample, declared(tmp_path / "nothing"), where="sample")
    (label,) = sample["no_object"]["classifications"]
    assert label["label"] == "a dog"
    assert "boxes" not in sample
    truths = {each["label"] for each in sample["ground_truth"]["detections"]}
    assert truths == {"two", "left"}


def test_fiftyone_imports_what_the_runs_have(
    shapes: Path, boxes: Path, nothing: Path, tmp_path: Path
) -> None:
    runs = (shapes, boxes, nothing)
    folders = [tmp_path / f"out-{number}" for number in range(len(runs))]
    for source, out in zip(runs, folders, strict=True):
        assert export(source, out) == 0
    scratch = tmp_path / "scratch"
    quiet = {
        "FIFTYONE_DATABASE_DIR": str(scratch / "database"),
        "FIFTYONE_DATABASE_VALIDATION": "false",
        "FIFTYONE_DO_NOT_TRACK": "true",
        "FIFTYONE_SHOW_PROGRESS_BARS": "false",
    }
    read = consumer_environments.read_by("fiftyone", *folders, scratch=scratch, env=quiet)
    for source, found in zip(runs, read, strict=True):
        compare(found, rows(source))
    assert len([box for s in read[1]["samples"] for box in s["boxes"]]) == len(rows(boxes))
    assert [label for s in read[2]["samples"] for _, label in s["no_object"]] == ["a dog"]


def compare(read: dict[str, Any], expected: dict[str, dict[str, Any]]) -> None:
    """Compare what FiftyOne read with the rows of a run."""

    def digest(row: dict[str, Any], rle: str) -> str:
        return hashlib.sha256(mask_of(row, rle).tobytes()).hexdigest()

    truths = [each for sample in read["samples"] for each in sample["ground_truth"]]
    absent = [each for sample in read["samples"] for each in sample["no_object"]]
    assert {each["target_id"] for each in truths} | {name for name, _ in absent} == set(expected)
    for truth in truths:
        row = expected[truth["target_id"]]
        assert truth["mask"] == digest(row, row["truth_rle"])
        assert truth["expressions"] == row["expressions"]
        assert truth["num_clicks"] == row["num_clicks"]
    predictions = [each for sample in read["samples"] for each in sample["predictions"]]
    assert predictions
    for each in predictions:
        row = expected[each["target_id"]]
        assert each["mask"] == digest(row, row["steps"][-1]["mask_rle"])
        if each["measured"] is not None:
            assert each["measured"] == pytest.approx(each["iou"], abs=1e-9)
    clicks = sum(len(each["points"]) for sample in read["samples"] for each in sample["clicks"])
    assert clicks == sum(row["num_clicks"] for row in expected.values())
    low = [each for each in truths if each["iou"] < 0.9]
    assert read["iou_below_0.9"] == len(low)
    assert sum(read["stop_reasons"].values()) == len(truths)


def test_workers_and_interruptions_change_nothing(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--unit-size", "1")
    assert export(shapes, tmp_path / "whole") == 0
    begun = SamplesExport.__call__
    calls: list[object] = []

    def interrupted(self: SamplesExport, unit: Any) -> bytes:
        calls.append(unit)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return begun(self, unit)

    monkeypatch.setattr(SamplesExport, "__call__", interrupted)
    assert export(shapes, tmp_path / "cut", *flags) != 0
    assert not (tmp_path / "cut" / "metadata.json").exists()
    assert export(shapes, tmp_path / "cut", *flags) == 0
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert str(tmp_path) not in (tmp_path / "cut" / "export.json").read_text()


def test_the_same_call_does_not_write_again_and_another_is_refused(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert export(shapes, out) == 0
    before = contents(out)
    assert export(shapes, out) == 0
    assert contents(out) == before
    assert export(shapes, out, "--image-format", "png") == EXIT_OUTPUT
    assert 'image-format: it was "jpg", now "png"' in capsys.readouterr().err
    (out / "data" / "mine.txt").write_text("mine")
    assert export(shapes, out, "--image-format", "png", "--overwrite") == EXIT_OUTPUT
    assert "also holds data/mine.txt" in capsys.readouterr().err
    (out / "data" / "mine.txt").unlink()
    assert export(shapes, out, "--image-format", "png", "--overwrite") == 0
    assert {name.rpartition(".")[2] for name in contents(out) if name.startswith("data/")} == {
        "png"
    }


def test_excluded_targets_are_left_out(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = list(rows(shapes))
    flags = tmp_path / "flags.csv"
    flags.write_text(f"target_id,flag\n{ids[0]},drop\n")
    out = tmp_path / "out"
    assert export(shapes, out, "--exclude", flags) == 0
    found = [each["target_id"] for s in samples(out) for each in s["ground_truth"]["detections"]]
    assert found == ids[1:]
    flags.write_text("target_id,flag\n" + "".join(f"{name},drop\n" for name in ids))
    assert export(shapes, tmp_path / "none", "--exclude", flags) == EXIT_DATA
    assert "drops every target" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_an_object_store_gets_the_same_files(shapes: Path, bucket: str, tmp_path: Path) -> None:
    import fsspec

    assert export(shapes, tmp_path / "out") == 0
    assert export(shapes, f"{bucket}/out") == 0
    store = fsspec.filesystem("memory")
    root = f"{bucket.removeprefix('memory:/')}/out/"
    stored = {path.removeprefix(root): store.cat(path) for path in store.find(root)}
    assert stored == contents(tmp_path / "out")


def test_images_that_are_gone_are_rejects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    annotated_data.write_folder(tmp_path / "data", names=["a", "b", "c"])
    data = ("--dataset", "folder", "--data-root", tmp_path / "data", "--max-clicks", "1")
    assert run("trajectories", *data, *DISC, "--out", tmp_path / "run") == 0
    (image,) = (tmp_path / "data" / "images").glob("b.*")
    image.unlink()
    assert export(tmp_path / "run", tmp_path / "out") == 0
    assert len(samples(tmp_path / "out")) == 2
    (reject,) = (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()
    assert json.loads(reject)["reason"] == "missing_image"
    few = ("--max-reject-rate", "0.1")
    assert export(tmp_path / "run", tmp_path / "few", *few) == EXIT_DATA
    assert "1 of 3 targets cannot be exported" in capsys.readouterr().err
    assert not (tmp_path / "few" / "metadata.json").exists()
