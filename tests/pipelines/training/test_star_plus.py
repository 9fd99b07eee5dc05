from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hlmat.pipelines.cli.main import EXIT_INCOMPLETE, EXIT_OK, main
from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.training import star_plus
from hlmat.pipelines.training import train as training
from hlmat.pipelines.training.star_plus import read_star_plus
from hlmat.transforms.core.errors import ConfigError, IncompleteError

Row = dict[str, Any]


def call(root: Path, *more: str) -> int:
    """Improve the tiny recipe's model for a round."""
    places = ("--first", str(root / "first"), "--out", str(root / "rounds"))
    return main(["star-plus", "--recipe", "mini_smoke", *places, *more])


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def improved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A round that was cut off between its rollouts and its training, and then gone on with."""
    root = tmp_path_factory.mktemp("star")
    train = training.train

    def cut_off(arguments: Any) -> Any:
        if arguments.also:
            raise IncompleteError("cut off")
        return train(arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train", cut_off)
        assert call(root, "-q") == EXIT_INCOMPLETE
    rollouts = files_below(root / "rounds" / "round-1" / "rollouts")
    assert "manifest.json" in rollouts
    assert not (root / "rounds" / "rounds.json").exists()
    assert call(root, "-q") == EXIT_OK
    assert files_below(root / "rounds" / "round-1" / "rollouts") == rollouts
    return root


def rows_of(folder: Path) -> list[Row]:
    (name,) = json.loads((folder / "sft" / "dataset_info.json").read_bytes())
    return json.loads((folder / "sft" / f"{name}.json").read_bytes())


def as_learnt(row: Row) -> tuple[str, str, str]:
    question, answer = row["messages"]
    return row["target_id"], question["content"], answer["content"]


@pytest.mark.slow
def test_a_round_learns_from_the_first_data_and_its_rollouts(improved: Path) -> None:
    first = rows_of(improved / "first")
    learnt = rows_of(improved / "rounds" / "round-1")
    old = [row for row in learnt if row["round"] == 0]
    assert [as_learnt(row) for row in old] == [as_learnt(row) for row in first]
    assert {(row["origin"], row["model"]) for row in old} == {("first_data", None)}
    assert len(learnt) > len(old)


@pytest.mark.slow
def test_a_model_that_always_errs_yields_the_oracles_data(improved: Path) -> None:
    first = [row for row in rows_of(improved / "first") if row["step"] == 0]
    learnt = rows_of(improved / "rounds" / "round-1")
    new = [row for row in learnt if row["round"] == 1]
    assert {row["origin"] for row in new} == {"corrected"}
    assert [as_learnt(row) for row in new] == [as_learnt(row) for row in first]


@pytest.mark.slow
def test_every_row_names_the_model_that_acted(improved: Path) -> None:
    manifest = improved / "rounds" / "round-1" / "rollouts" / "manifest.json"
    config = json.loads(manifest.read_bytes())["config"]
    new = [row for row in rows_of(improved / "rounds" / "round-1") if row["round"] == 1]
    assert {row["model"] for row in new} == {
        config["policy_settings"]["answers"]["checkpoint_sha256"]
    }


@pytest.mark.slow
def test_the_base_model_is_trained_from_scratch(improved: Path) -> None:
    first, second = (
        json.loads((improved / name / "model" / "training.json").read_bytes())["settings"]
        for name in ("first", "rounds/round-1")
    )
    assert second["base model"] == first["base model"]
    assert second["train"] == first["train"]
    assert first["rollouts"] == []
    assert len(second["rollouts"]) == 1
    weights = [improved / n / "model" / "model.safetensors" for n in ("first", "rounds/round-1")]
    assert weights[0].read_bytes() != weights[1].read_bytes()


@pytest.mark.slow
def test_the_record_holds_the_figures_of_every_round(improved: Path) -> None:
    report = json.loads((improved / "rounds" / "rounds.json").read_bytes())
    assert [each["round"] for each in report["rounds"]] == [0, 1]
    for each in report["rounds"]:
        metrics = json.loads((Path(each["evaluation"]) / "metrics.json").read_bytes())
        assert each["figures"] == metrics
    counted = sum(each["rows"] for each in report["rounds"][1]["rows"])
    assert counted == len(rows_of(improved / "rounds" / "round-1"))


@pytest.mark.slow
def test_what_is_done_is_not_done_again(
    improved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(training, "run_llama_factory", refuse)
    assert call(improved) == EXIT_OK
    printed = capsys.readouterr().out
    assert "| round 0 |" in printed
    assert "| round 1 |" in printed
    assert "rows of round 1, corrected: " in printed


@pytest.mark.slow
def test_a_model_is_not_evaluated_on_what_its_rollouts_showed(improved: Path) -> None:
    record = json.loads(
        (improved / "rounds" / "round-1" / "model" / "training_data.json").read_bytes()
    )
    first = json.loads((improved / "first" / "model" / "training_data.json").read_bytes())
    assert record["images"] == first["images"]
    assert [each["policy"] for each in record["also"]] == ["mllm"]


def parse(*argv: str) -> Any:
    return parse_command("star-plus", argv)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--rounds", "0"], "--rounds 0: must be at least 1"),
        (["--rollout-limit", "x"], "--rollout-limit 'x': expected a whole number of at least 1"),
        (["--also", "out/x"], "--also goes with hlmat train"),
        (["--trajectories", "out/x"], "--trajectories goes with hlmat train"),
        (["--overwrite"], "--overwrite goes with hlmat train"),
        (["--dataset", "refcoco"], "--evaluation-split is missing"),
    ],
)
def test_a_wrong_command_line_is_reported(argv: list[str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        read_star_plus(parse("--recipe", "mini_smoke", *argv))


def test_flags_of_a_runner_need_that_runner() -> None:
    arguments = parse("--recipe", "mini_smoke")
    with pytest.raises(ConfigError, match="--job_endpoint is a flag of Beam; it needs a --runner"):
        read_star_plus(arguments, ["--job_endpoint=localhost:8073"])


def test_a_misspelt_flag_is_compared_with_the_commands_own() -> None:
    arguments = parse("--recipe", "mini_smoke", "--runner", "PrismRunner")
    with pytest.raises(ConfigError, match="unknown flag --rollout-limt; did you mean --rollout-l"):
        read_star_plus(arguments, ["--rollout-limt=3"])


def test_a_runner_that_cannot_be_reached_is_reported_before_the_first_training() -> None:
    arguments = parse("--recipe", "mini_smoke", "--runner", "PortableRunner")
    with pytest.raises(ConfigError, match="--runner PortableRunner needs --job_endpoint=HOST:PORT"):
        read_star_plus(arguments)


def test_a_runner_whose_workers_cannot_see_the_models_is_refused() -> None:
    arguments = parse("--recipe", "mini_smoke", "--runner", "DataflowRunner")
    with pytest.raises(
        ConfigError, match="--runner DataflowRunner: its workers cannot see the models"
    ):
        read_star_plus(arguments)


def test_rollouts_and_evaluations_run_on_the_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(star_plus, "check_engine", lambda runner: None)
    argv = ["--recipe", "mini_smoke", "--out", str(tmp_path), "--first", str(tmp_path / "first")]
    argv += ["--runner", "PortableRunner", "--worker-timeout", "7", "--accelerator", "type:x"]
    job = read_star_plus(parse(*argv), ["--job_endpoint=localhost:8073"])
    for run in (job.rollout_config(1), job.evaluation_of(1).run):
        assert run.runner.name == "PortableRunner"
        assert run.runner.flags == ("--job_endpoint=localhost:8073",)
        assert run.runner.worker_timeout_s == 7
        assert run.accelerator == "type:x"
    assert job.first.config is not None
    assert job.first.config.runner.is_local


def test_rollouts_are_the_first_trajectories_with_the_model_clicking(tmp_path: Path) -> None:
    argv = ["--recipe", "mini_prm", "--out", str(tmp_path), "--rollout-limit", "7"]
    job = read_star_plus(parse(*argv, "--first", str(tmp_path / "first")))
    config = job.rollout_config(2)
    data = job.first.config
    assert data is not None
    assert (config.dataset, config.reader, config.segmenter) == (
        data.dataset,
        data.reader,
        data.segmenter,
    )
    assert config.policy.name == "mllm"
    assert config.limit == 7
    assert config.expressions is None
    assert not config.limits.stop_on_no_gain
    assert config.limits.score_last
    assert config.limits.max_clicks == data.limits.max_clicks
    assert config.limits.target_iou == data.limits.target_iou
    assert config.out == str(tmp_path / "round-2" / "rollouts")
    assert Path(job.model(1)) == tmp_path / "round-1" / "model"


def test_the_data_set_of_the_command_line_is_evaluated_on_as_well(tmp_path: Path) -> None:
    argv = ["--recipe", "qwen2_5_vl_7b_lora", "--dataset", "refcoco", "--data-root", str(tmp_path)]
    argv += ["--split", "train", "--evaluation-split", "val", "--evaluation-limit", "9"]
    argv += ["--checkpoint", str(tmp_path / "sam_vit_l.pth"), "--model", str(tmp_path)]
    (tmp_path / "sam_vit_l.pth").write_bytes(b"")
    run = read_star_plus(parse(*argv)).evaluation_of(1).run
    assert (run.dataset, run.reader.split, run.limit) == ("refcoco", "val", 9)
    assert run.reader.data_root == str(tmp_path)
