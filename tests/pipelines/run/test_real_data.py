"""The whole job on real samples of the data sets, and on data with every fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from hlmat.pipelines.cli.main import main


def run(*argv: str | Path | int) -> int:
    return main([str(a) for a in argv])


def rows(out: Path, folder: str = "trajectories") -> list[dict[str, Any]]:
    return pq.read_table(out / folder).to_pylist()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "root", "split", "count", "expression"),
    [
        ("dis5k", "hqseg44k", "train", 1, "bag"),
        ("ecssd", "hqseg44k", "train", 3, "the salient object"),
        ("fss1000", "hqseg44k", "train", 3, "african elephant"),
        ("hqseg44k", "hqseg44k", "train", 1, "bag"),
        ("hres", "hqseg44k", "train", 1, "bag"),
        ("grabcut", "iseg", "test", 3, "the main object"),
        ("davis", "iseg", "test", 3, "the main object"),
        ("coco_mval", "iseg", "test", 3, "airplane"),
        ("refcoco", "refcoco_mini", "testB", 4, "zebra in the middle"),
    ],
)
def test_the_graphcut_segmenter_works_on_real_samples(
    dataset: str,
    root: str,
    split: str,
    count: int,
    expression: str,
    shared_data: Path,
    tmp_path: Path,
):
    out = tmp_path / "out"
    flags = ("--dataset", dataset, "--data-root", shared_data / root, "--split", split)
    assert run("trajectories", *flags, "--limit", count, "--workers", 1, "--out", out, "-q") == 0
    trajectories = rows(out)
    assert len(trajectories) == count
    assert trajectories[0]["expressions"][0] == expression
    assert all(row["license"] for row in trajectories)
    # A tool that understands nothing would not come near this on any of the samples.
    assert sum(row["final_iou"] for row in trajectories) / count > 0.6
    assert run("inspect", out, "--strip", tmp_path / "strip.png") == 0
    sft = tmp_path / "sft"
    assert run("export", "--from", out, "--format", "llama-factory", "--out", sft, "-q") == 0
    first = json.loads((sft / "next_click.json").read_bytes())[0]
    assert cv2.imread(str(sft / first["images"][0])) is not None


@pytest.mark.slow
def test_a_trace_is_a_data_set_again(shared_data: Path, tmp_path: Path):
    """Trajectories, exported as the reference's trace, read as a data set, give the same clicks."""
    first, second = tmp_path / "first", tmp_path / "second"
    root = shared_data / "refcoco_mini"
    common = ("--workers", 1, "-q", "--max-clicks", 2)
    flags = ("--dataset", "refcoco", "--data-root", root, "--split", "testB")
    assert run("trajectories", *flags, *common, "--out", first) == 0
    data = tmp_path / "data"
    (data / "refcoco").mkdir(parents=True)
    (data / "images").symlink_to(root / "images")
    trace = data / "trace.json"
    assert run("export", "--from", first, "--format", "trace", "--out", trace, "-q") == 0
    # What another tool would write: the reference's keys and nothing else.
    content = json.loads(trace.read_bytes())
    for record in content["data"]:
        del record["hlmat"]
    trace.write_text(json.dumps(content))
    flags = ("--dataset", "trace", "--data-root", data, "--follow-links")
    assert run("trajectories", *flags, *common, "--out", second) == 0
    assert [row["steps"] for row in rows(second)] == [row["steps"] for row in rows(first)]
    assert [row["expressions"] for row in rows(second)] == [
        row["expressions"] for row in rows(first)
    ]


def write_faulty_folder(root: Path) -> None:
    """One good pair, and one of each thing that can be wrong with a pair."""
    image = np.full((40, 60, 3), 90, dtype=np.uint8)
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[10:30, 15:40] = 255
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for stem in ("good", "truncated", "empty", "size", "no mask", "text"):
        cv2.imwrite(str(root / "images" / f"{stem}.png"), image + (mask[..., None] // 4))
        cv2.imwrite(str(root / "masks" / f"{stem}.png"), mask)
    whole = (root / "images" / "truncated.png").read_bytes()
    (root / "images" / "truncated.png").write_bytes(whole[: len(whole) // 2])
    cv2.imwrite(str(root / "masks" / "empty.png"), np.zeros_like(mask))
    cv2.imwrite(str(root / "masks" / "size.png"), mask.T)
    (root / "masks" / "no mask.png").unlink()
    (root / "masks" / "text.png").write_text("not an image")
    cv2.imwrite(str(root / "masks" / "no image.png"), mask)


def test_everything_wrong_becomes_a_counted_reject(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_faulty_folder(tmp_path / "data")
    out = tmp_path / "out"
    flags = ("--dataset", "folder", "--data-root", tmp_path / "data", "--workers", 1)
    assert run("trajectories", *flags, "--out", out, "--json") == 5
    figures = json.loads(capsys.readouterr().out)
    assert (figures["targets"], figures["trajectories"]) == (7, 1)
    reasons = {row["target_id"].rpartition("/")[2]: row["reason"] for row in rows(out, "rejects")}
    assert reasons == {
        "empty": "empty_mask",
        "no image": "missing_image",
        "no mask": "missing_mask",
        "size": "size_mismatch",
        "text": "unreadable_mask",
        "truncated": "unreadable_image",
    }
    assert all(row["message"] and row["truth_ref"] for row in rows(out, "rejects"))
    assert run("trajectories", *flags, "--out", out, "-q", "--max-reject-rate", "0.9") == 0


def test_a_split_that_no_ref_has_is_reported_and_nothing_is_left(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    flags = ("--dataset", "refcoco", "--data-root", shared_data / "refcoco_mini", "--out", out)
    assert run("trajectories", *flags, "--split", "val") == 2
    assert "belongs to it; there are: testB" in capsys.readouterr().err
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda root: None, "data is not a folder data set: images/ and masks/ missing"),
        (lambda root: (root / "images").mkdir(parents=True), "masks/ missing"),
        (
            lambda root: [(root / n).mkdir(parents=True) for n in ("images", "masks")],
            "folder has no target to work on",
        ),
    ],
)
def test_a_folder_that_is_none_is_reported_and_nothing_is_left(
    prepare: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    prepare(tmp_path / "data")
    out = tmp_path / "out"
    flags = ("--dataset", "folder", "--data-root", tmp_path / "data", "--out", out)
    assert run("trajectories", *flags) == 3
    assert message in capsys.readouterr().err
    assert not out.exists() or not list(out.iterdir())
