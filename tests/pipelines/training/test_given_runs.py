"""`hlmat train --from` and `--add`: finished runs to learn from, such as a teacher's rollouts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from answer_server import completion, scripted_server
from hlmat.pipelines.cli.main import main
from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.training import train as training
from hlmat.pipelines.training.dry_run import plan_training
from hlmat.pipelines.training.given_runs import GivenRuns
from hlmat.pipelines.training.job import TrainingJob, read_job
from hlmat.transforms.core.errors import ConfigError, DataError
from repository import REPOSITORY

SCENES = ("--dataset", "shapes", "--split", "train", "--shapes-images", "3", "--shapes-size")
SMOKE = REPOSITORY / "train_recipes" / "mini_smoke"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A teacher's rollouts behind a server, and an oracle's trajectories of other images."""
    root = tmp_path_factory.mktemp("runs")
    teacher, oracle = root / "teacher", root / "oracle"
    answer = completion("Positive point: (0.400, 0.600)")
    with scripted_server(answer) as server:
        asked = ("--policy", "openai", "--server", server.url, "--max-clicks", "1")
        run = ("--workers", "1", "--out", str(teacher), "-q")
        assert main(["evaluate", *SCENES, "64x64", *asked, *run]) == 0
    run = ("--workers", "1", "--out", str(oracle), "-q")
    assert main(["trajectories", *SCENES, "64x64", "--shapes-seed", "7", *run]) == 0
    return teacher, oracle


def final_ious(run: Path) -> dict[str, float]:
    rows = pq.read_table(run / "trajectories").to_pylist()
    return {row["target_id"]: row["final_iou"] for row in rows}


def write_recipe(folder: Path) -> Path:
    """Write a recipe whose trajectories would need a data set that is not given."""
    folder.mkdir()
    (folder / "trajectories.yaml").write_text("max-clicks: 2\n")
    (folder / "export.yaml").write_text("expressions: first\nfinish: true\nimage-format: png\n")
    (folder / "evaluate.yaml").write_text("")
    settings = {"model_name_or_path": "x/y", "template": "qwen3_vl_nothink", "stage": "sft"}
    settings["finetuning_type"] = "full"
    (folder / "train.yaml").write_text(yaml.safe_dump(settings))
    return folder


def data_of(tmp_path: Path, *flags: str) -> tuple[dict[str, Any], Path]:
    """Make a training's data; return LLaMA-Factory's settings and the training's folder."""
    out = tmp_path / "out"
    places = ("--recipe", str(write_recipe(tmp_path / "recipe")), "--out", str(out))
    arguments = parse_command("train", [*places, *flags])
    arguments.quiet = True
    job = read_job(arguments)
    out.mkdir()
    training.make_data(job)
    return job.resolved(model=tmp_path / "model"), out


def test_a_teachers_good_rollouts_take_the_place_of_the_recipes_trajectories(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    teacher, _ = runs
    ious = final_ious(teacher)
    least = sorted(ious.values())[-2]
    flags = ("--from", str(teacher), "--min-iou", str(least))
    settings, out = data_of(tmp_path, *flags)
    assert settings["dataset_dir"] == settings["media_dir"] == str(out / "sft")
    rows = json.loads((out / "sft" / "next_click.json").read_text())
    assert [row["target_id"] for row in rows] == [k for k, iou in ious.items() if iou >= least]
    assert {row["messages"][-1]["content"] for row in rows} == {"Positive point: (0.398, 0.601)"}
    assert not (out / "trajectories").exists()
    assert teacher.is_dir()


def test_added_rows_follow_the_first_and_find_their_images(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    teacher, oracle = runs
    least = sorted(final_ious(teacher).values())[-1]
    flags = ("--from", str(oracle), "--add", str(teacher), "--min-iou", str(least))
    settings, out = data_of(tmp_path, *flags)
    assert (settings["dataset_dir"], settings["media_dir"]) == (str(out / "sft-joined"), str(out))
    parts = [json.loads((out / p / "next_click.json").read_text()) for p in ("sft", "sft-1")]
    rows = json.loads((out / "sft-joined" / "next_click.json").read_text())
    assert [row["messages"] for row in rows] == [row["messages"] for part in parts for row in part]
    good = [target for target, iou in final_ious(teacher).items() if iou >= least]
    assert [row["target_id"] for row in parts[1]] == good
    images = [Path(settings["media_dir"], image) for row in rows for image in row["images"]]
    assert [image.is_file() for image in images] == [True] * len(rows)
    info = json.loads((out / "sft-joined" / "dataset_info.json").read_text())
    assert info["next_click"]["file_name"] == "next_click.json"
    record = json.loads((out / "sft-joined" / "export.json").read_text())
    kept = {(row["target_id"].split("#")[0], run) for run, part in enumerate(parts) for row in part}
    assert len(record["images"]) == len(record["digests"]) == len(kept)
    assert [run["policy"] for run in (record["run"], *record["added"])] == ["oracle", "openai"]


def test_the_runs_and_their_filter_are_part_of_a_trainings_identity(
    runs: tuple[Path, Path],
) -> None:
    teacher, oracle = (str(run) for run in runs)
    assert GivenRuns().identity() == {}
    same, other = GivenRuns(teacher).identity(), GivenRuns(oracle).identity()
    assert list(same) == ["trajectories"]
    assert same != other
    filtered = GivenRuns(teacher, (oracle,), 0.8).identity()
    assert filtered["trajectories"] == {**same["trajectories"], "min-iou": 0.8}
    assert filtered["added"] == {"runs": [other["trajectories"]["run"]], "min-iou": 0.8}


def job_of(*flags: str) -> TrainingJob:
    return read_job(parse_command("train", ["--recipe", str(SMOKE), *flags]))


def test_the_recipes_own_trajectories_are_not_filtered(runs: tuple[Path, Path]) -> None:
    job = job_of("--add", str(runs[0]), "--min-iou", "0.8")
    assert job.config is not None
    assert (job.export.min_iou, job.added_export.min_iou) == (None, "0.8")


def test_contradictions_are_reported_together(runs: tuple[Path, Path]) -> None:
    teacher = str(runs[0])
    flags = ("--from", teacher, "--limit", "3", "--workers", "2", "--trajectories", "t")
    flags = (*flags, "--add", teacher)
    with pytest.raises(ConfigError) as caught:
        job_of(*flags, "--min-iou", "1.5")
    assert [problem[:40] for problem in caught.value.problems] == [
        "--min-iou 1.5: must be above 0 and at mo",
        "--limit belongs to the recipe's trajecto",
        "--workers belongs to the recipe's trajec",
        "--trajectories belongs to the recipe's t",
        f"--add {teacher}: this run is named twice"[:40],
    ]


@pytest.mark.parametrize("spelling", ["{}/", "{}/../teacher", "{}/./"])
def test_other_spellings_of_a_run_are_found(runs: tuple[Path, Path], spelling: str) -> None:
    teacher = str(runs[0])
    again = spelling.format(teacher)
    with pytest.raises(ConfigError, match=r"--add .*: this run is named twice"):
        job_of("--from", teacher, "--add", again)
    with pytest.raises(ConfigError, match=r"--add .*: this run is named twice"):
        job_of("--add", teacher, "--add", again)
    with pytest.raises(ConfigError, match=r"--add .*: the training learns from this run already"):
        job_of("--trajectories", teacher, "--add", again)


def test_a_training_is_not_told_to_learn_from_the_run_that_it_may_remove(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    own = tmp_path / "out" / "trajectories"
    shutil.copytree(runs[1], own)
    flags = ("--out", str(tmp_path / "out"), "--overwrite")
    with pytest.raises(ConfigError, match=r"--from .*: --overwrite would remove this run"):
        job_of(*flags, "--from", str(own))
    with pytest.raises(ConfigError, match=r"--add .*: the training learns from this run already"):
        job_of(*flags, "--add", f"{own}/")
    assert job_of("--out", str(tmp_path / "other"), "--from", str(own)).learned_run == str(own)


def test_a_filter_without_runs_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--min-iou 0\.8 says which targets of --from or --add"):
        job_of("--min-iou", "0.8")


@pytest.mark.parametrize("flag", ["--from", "--add"])
def test_a_missing_run_is_reported_before_anything_is_made(flag: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    with pytest.raises(DataError, match="nowhere"):
        plan_training(parse_command("train", ["--recipe", str(SMOKE), flag, missing]))
