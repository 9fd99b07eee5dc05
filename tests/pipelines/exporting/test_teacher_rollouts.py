"""Rollouts of a model behind a server become training data, the good ones alone."""

import json
from pathlib import Path

import pyarrow.parquet as pq

from answer_server import completion, scripted_server
from hlmat.pipelines.cli.main import main

SCENES = (
    "--dataset",
    "shapes",
    "--split",
    "train",
    "--shapes-images",
    "3",
    "--shapes-size",
    "64x64",
)


def test_good_rollouts_of_a_served_teacher_are_exported_with_their_own_clicks(
    tmp_path: Path,
) -> None:
    teacher, out = tmp_path / "teacher", tmp_path / "sft"
    with scripted_server(completion("Positive point: (0.400, 0.600)")) as server:
        asked = (
            "--policy",
            "openai",
            "--server",
            server.url,
            "--max-clicks",
            "1",
            "--workers",
            "1",
        )
        assert main(["evaluate", *SCENES, *asked, "--out", str(teacher), "-q"]) == 0
    ious = {
        row["target_id"]: row["final_iou"]
        for row in pq.read_table(teacher / "trajectories").to_pylist()
    }
    least = sorted(ious.values())[-2]
    export = ("--from", str(teacher), "--format", "llama-factory", "--min-iou", str(least))
    assert main(["export", *export, "--expressions", "first", "--out", str(out), "-q"]) == 0
    rows = json.loads((out / "next_click.json").read_text())
    good = [target for target, iou in ious.items() if iou >= least]
    assert [row["target_id"] for row in rows] == good
    assert len(good) < len(ious)
    # The clicked pixel (25, 38) in three digits.
    assert {row["messages"][-1]["content"] for row in rows} == {"Positive point: (0.398, 0.601)"}
