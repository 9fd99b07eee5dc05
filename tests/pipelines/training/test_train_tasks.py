"""Each training task by the command line, read and trained by LLaMA-Factory."""

from __future__ import annotations

import importlib.util
import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

from hlmat.export.llama_factory.sample_options import FOREIGN_MASKS
from hlmat.export.llama_factory.tasks.registry import TASKS
from hlmat.pipelines.cli.main import main
from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.settings.export_options import export_name
from hlmat.pipelines.training.process import run_llama_factory
from llama_factory_scripts import printed_by
from repository import REPOSITORY
from tiny_models import make_tiny_model

DOCUMENT = REPOSITORY / "docs" / "formats.md"
STEPS = 2
SMALL = (
    *("--dataset", "shapes", "--shapes-images", "4", "--shapes-size", "64x80"),
    *("--shapes-objects", "2-3", "--segmenter", "graphcut", "--workers", "1"),
    *("--no-stop-on-no-gain", "--target-iou", "none", "--max-clicks", "3"),
)
CONVERSATION = ("--codec", "thousandths", "--finish", "--max-side", "64")

needs_llama_factory = pytest.mark.skipif(
    importlib.util.find_spec("llamafactory") is None, reason="llamafactory is not installed"
)


def run(*argv: str | Path) -> int:
    return main([str(a) for a in argv])


def data_name(task: str) -> str:
    return task.replace("-", "_")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs over the same targets: the oracle's clicks, and random ones."""
    root = tmp_path_factory.mktemp("runs")
    for policy in ("oracle", "uniform"):
        assert run("trajectories", *SMALL, "--policy", policy, "--out", root / policy, "-q") == 0
    return root / "oracle", root / "uniform"


def export(runs: tuple[Path, Path], task: str, out: Path, *more: str) -> int:
    first, second = runs if task != "kto" else reversed(runs)
    also = ["--also", second] if task in ("preference", "star-plus") else []
    flags = ("--from", first, *also, "--task", task, "--format", "llama-factory", "--out", out)
    return run("export", *flags, *CONVERSATION, *more)


@pytest.fixture(scope="module")
def exported(runs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set for each task."""
    root = tmp_path_factory.mktemp("tasks")
    for task in TASKS:
        assert export(runs, task, root / task, "-q") == 0
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_tiny_model("qwen3_vl", tmp_path_factory.mktemp("model") / "model")


def read_rows(exported: Path, task: str) -> list[dict[str, Any]]:
    return json.loads((exported / task / f"{data_name(task)}.json").read_bytes())


def settings_of(task: str, exported: Path, model: str, out: Path) -> dict[str, Any]:
    return {
        "model_name_or_path": model,
        "template": "qwen3_vl_nothink",
        "stage": TASKS[task].stage,
        "finetuning_type": "full",
        "do_train": True,
        "dataset": data_name(task),
        "dataset_dir": str(exported / task),
        "media_dir": str(exported / task),
        "output_dir": str(out / "model"),
        "cutoff_len": 1024,
        "preprocessing_num_workers": 1,
        "dataloader_num_workers": 0,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-3,
        "max_steps": STEPS,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
    }


@pytest.fixture(scope="module")
def loaded(
    exported: Path, model: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict[str, Any]]]:
    """Each data set's rows as LLaMA-Factory's loader gives them."""
    root = tmp_path_factory.mktemp("loaded")
    jobs = [
        {"name": task, "settings": settings_of(task, exported, model, root / task)}
        for task in TASKS
    ]
    (root / "jobs.json").write_text(json.dumps(jobs))
    script = Path(__file__).parent / "load_tasks_with_llama_factory.py"
    rows = printed_by(script, str(root / "jobs.json"), cache=root)
    return {each["name"]: each["rows"] for each in rows}


@needs_llama_factory
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.slow
def test_llama_factory_loads_every_row_in_the_tasks_stage(
    task: str, exported: Path, loaded: dict[str, list[dict[str, Any]]]
) -> None:
    rows = read_rows(exported, task)
    assert len(loaded[task]) == len(rows) > 0
    for row, seen in zip(rows, loaded[task], strict=True):
        assert seen["images"] == [str(exported / task / name) for name in row["images"]]
        texts = [m["content"] for m in row["messages"] if m["role"] == "assistant"]
        if task == "preference":
            assert texts == []
            assert seen["chosen"].startswith(row["chosen"]["content"])
            assert seen["rejected"].startswith(row["rejected"]["content"])
            continue
        # all turns are learnt, in their order
        assert re.match(".*".join(map(re.escape, texts)), seen["answer"], re.DOTALL)
        assert len(texts) == (len(row["images"]) if task == "multi-turn" else 1)
        if task == "kto":
            assert seen["tag"] is row["raised_iou"]


@pytest.mark.slow
def test_the_rows_hold_what_the_task_needs(exported: Path) -> None:
    rows = {task: read_rows(exported, task) for task in TASKS}
    assert {row["raised_iou"] for row in rows["kto"]} == {True, False}
    assert all(row["margin"] > 0 for row in rows["preference"])
    assert max(len(row["images"]) for row in rows["multi-turn"]) > 1
    assert {row["mask"] for row in rows["refine"]} == set(FOREIGN_MASKS)
    assert min(row["iou"] for row in rows["filter"]) < 0.1
    assert max(row["iou"] for row in rows["filter"]) > 0.9
    scored = [row["messages"][-1]["content"] for row in rows["prm"]]
    assert all(text.startswith("Current IOU: ") for text in scored)


@pytest.mark.parametrize("task", TASKS)
def test_the_document_shows_a_row_as_it_is(task: str, exported: Path) -> None:
    section = DOCUMENT.read_text(encoding="utf-8").split(f"\n### Task `{task}`\n")[1]
    found = re.search(r"```json\n(.*?)```", section, re.DOTALL)
    assert found is not None
    documented = json.loads(found[1])
    written = read_rows(exported, task)[0]
    assert list(documented) == list(written)
    for key, value in written.items():
        assert type(documented[key]) is type(value)
    question = next(m["content"] for m in written["messages"])
    shown = documented["messages"][0]["content"].removesuffix("...")
    assert question.startswith(shown[: shown.index(":") + 1])


@needs_llama_factory
@pytest.mark.parametrize(
    "task",
    [
        task if task == "preference" else pytest.param(task, marks=pytest.mark.slow)
        for task in TASKS
    ],
)
def test_llama_factory_trains_it(task: str, exported: Path, model: str, tmp_path: Path) -> None:
    if TASKS[task].stage == "kto" and Version(version("transformers")) >= Version("5.3"):
        pytest.skip("LLaMA-Factory 0.9.5 leaves out mm_token_type_ids, needed since 5.3")
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump(settings_of(task, exported, model, tmp_path)))
    with open(tmp_path / "lock", "wb") as lock:
        run_llama_factory(config, log=tmp_path / "log", cache=tmp_path / "cache", lock=lock)
    log = (tmp_path / "model" / "trainer_log.jsonl").read_text().splitlines()
    losses = [line["loss"] for line in map(json.loads, log) if "loss" in line]
    assert len(losses) == STEPS
    # model and reference are one before the first step: the loss of no preference
    first = {"dpo": 0.6931, "kto": 0.5}.get(TASKS[task].stage)
    if first is not None:
        assert losses[0] == pytest.approx(first, abs=1e-3)
    assert losses[0] != losses[1]


def test_the_data_set_is_named_after_the_task_by_default(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    named = ("--name", "mine", "--task", "prm", "--format", "llama-factory", "-q")
    assert run("export", "--from", runs[0], *named, "--out", tmp_path / "a") == 0
    assert list(json.loads((tmp_path / "a" / "dataset_info.json").read_bytes())) == ["mine"]
    assert export(runs, "multi-turn", tmp_path / "b", "-q") == 0
    assert list(json.loads((tmp_path / "b" / "dataset_info.json").read_bytes())) == ["multi_turn"]


def test_a_recipe_takes_a_task_and_names_the_data_set_after_it() -> None:
    assert export_name(parse_command("export", ["--task=prm"])) == "prm"
    assert export_name(parse_command("export", ["--task=prm", "--name=mine"])) == "mine"
    assert export_name(parse_command("export", ["--name=mine", "--task=prm"])) == "mine"
    assert export_name(parse_command("export", [])) == "next_click"


def test_tasks_together_give_the_rows_of_each(runs: tuple[Path, Path], tmp_path: Path) -> None:
    several = ("--also", str(runs[1]), "-q")
    both = "refine,star-plus"
    assert export(runs, both, tmp_path / "both", *several) == 0
    assert export(runs, "refine", tmp_path / "refine", "-q") == 0
    assert export(runs, "star-plus", tmp_path / "star-plus", "-q") == 0
    assert list(json.loads((tmp_path / "both" / "dataset_info.json").read_bytes())) == [
        "refine_star_plus"
    ]

    def texts(task: str, name: str) -> list[Any]:
        rows = json.loads((tmp_path / task / f"{name}.json").read_bytes())
        return sorted((row["target_id"], str(row["messages"]), row["images"]) for row in rows)

    alone = texts("refine", "refine") + texts("star-plus", "star_plus")
    assert texts("both", "refine_star_plus") == sorted(alone)
    rows = json.loads((tmp_path / "both" / "refine_star_plus.json").read_bytes())
    assert {(row["round"], row["origin"]) for row in rows if "mask" in row} == {(0, "first_data")}
    assert {row["round"] for row in rows if "mask" not in row} == {1}


def test_only_the_foreign_masks_asked_for_are_corrected(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    assert export(runs, "refine", tmp_path / "out", "--foreign-masks", "box,discs", "-q") == 0
    rows = json.loads((tmp_path / "out" / "refine.json").read_bytes())
    assert {row["mask"] for row in rows} == {"box", "discs"}


def test_the_record_of_a_comparison_names_all_runs(exported: Path) -> None:
    record = json.loads((exported / "preference" / "export.json").read_bytes())
    assert record["run"]["policy"] == "oracle"
    assert [config["policy"] for config in record["also"]] == ["uniform"]
    assert len(record["images"]) == 4
    assert "also" not in json.loads((exported / "kto" / "export.json").read_bytes())


def test_sorts_of_rows_are_counted(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(runs, "filter", tmp_path / "out", "--candidates", "10", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert sum(report["of which"].values()) == report["samples"]
    assert len(report["of which"]) == 10
    assert export(runs, "multi-turn", tmp_path / "other", "--json") == 0
    assert "of which" not in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--task", "prmm"), "--task 'prmm' is unknown; did you mean 'prm'?"),
        (("--task", "preference"), "--also is missing: the task preference learns"),
        (("--also", "x"), "--also belongs to the task preference, star-plus, not to next-click"),
        (("--task", "kto", "--min-margin", "0.1"), "--min-margin belongs to the task preference"),
        (("--task", "refine", "--first-box"), "--first-box belongs to the task next-click, prm"),
        (("--task", "prm", "--candidates", "3"), "--candidates belongs to the task filter"),
        (("--task", "filter", "--candidates", "11"), "--candidates 11: must be from 1 to 10"),
        (("--task", "filter", "--candidates", "0"), "--candidates 0: must be from 1 to 10"),
        (
            ("--task", "preference", "--also", "x", "--min-margin", "1.5"),
            "--min-margin 1.5: must be from 0 to 1",
        ),
        (
            ("--task", "preference", "--also", "x", "--min-margin", "much"),
            "--min-margin 'much': expected a number from 0 to 1",
        ),
        (("--task", "preference", "--also", "x", "--also", "x"), "--also x: this run is named twi"),
        (("--task", "star-plus"), "--also is missing: the task star-plus learns from several runs"),
        (("--task", "prm,prm"), "--task prm,prm: a task is named twice"),
        (("--task", "prm,kto"), "kto is trained in another way (stage kto) than prm (stage sft)"),
        (("--task", "prm,"), "--task '' is unknown"),
        (
            ("--task", "refine", "--foreign-masks", "boxes"),
            "--foreign-masks 'boxes': did you mean 'box'?",
        ),
        (("--task", "refine", "--foreign-masks", "box,box"), "name at least one kind, none twice"),
        (
            ("--task", "refine", "--foreign-masks", "box,cut", "--foreign-count", "3"),
            "--foreign-count 3: there are only 2 kinds to draw from",
        ),
        (("--task", "prm", "--foreign-masks", "box"), "--foreign-masks belongs to the task refine"),
        (("--task", "prm", "--score-prompt", "nowhere"), "--score-prompt 'nowhere': no such file"),
    ],
)
def test_what_a_task_cannot_do_is_reported(
    flags: tuple[str, ...],
    message: str,
    runs: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert run("export", "--from", runs[0], "--format", "llama-factory", *flags, "--out", out) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_run_is_not_compared_with_itself(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = (runs[0], runs[0])
    assert export(same, "preference", tmp_path / "out") == 2
    assert "this run is named twice" in capsys.readouterr().err


def test_runs_over_other_data_are_refused(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    assert run("trajectories", *SMALL, "--split", "test", "--out", other, "-q") == 0
    assert export((runs[0], other), "preference", tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert f"--also {other}: its split is 'test', expected 'train'; give a run" in message
    assert not (tmp_path / "out").exists()


def test_runs_with_nothing_to_choose_between_give_no_data_set(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(runs, "preference", tmp_path / "out", "--min-margin", "1") == 4
    message = capsys.readouterr().err
    assert "no two runs took different clicks in the same state with a margin" in message
    assert list(tmp_path.iterdir()) == []
