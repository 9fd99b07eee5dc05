"""What a ladder trains and evaluates: configurations of the commands that it is made of."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hlmat.pipelines.ladder.job import LadderJob, read_ladder
from hlmat.pipelines.ladder.plan import LadderPlan
from hlmat.pipelines.recipes.recipe import RECIPES
from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.settings.evaluation_options import EvaluationConfig
from hlmat.pipelines.settings.rl_options import rl_config
from hlmat.pipelines.training.job import read_job
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.policies.backends.options import CheckpointOptions
from hlmat.transforms.policies.mllm import ModelPolicyOptions
from hlmat.transforms.rollout.options import SearchOptions


def read(root: Path, *flags: str, recipe: str = "mini_prm") -> LadderJob:
    places = [f"--out={root / 'out'}", f"--first={root / 'first'}", f"--star={root / 'star'}"]
    arguments = parse_command("ladder", [f"--recipe={recipe}", *places, *flags])
    arguments.quiet, arguments.json = True, False
    return read_ladder(arguments)


def with_variants(root: Path) -> str:
    """Copy the recipe and let it train other codecs and colours."""
    folder = root / "mini_prm"
    shutil.copytree(RECIPES / "mini_prm", folder)
    with open(folder / "ladder.yaml", "a") as f:
        f.write("codecs: [thousandths]\nmask-colours: [red]\n")
    return str(folder)


def policy_of(config: EvaluationConfig) -> ModelPolicyOptions:
    assert isinstance(config.run.policy, ModelPolicyOptions)
    return config.run.policy


def answerer_of(config: EvaluationConfig) -> CheckpointOptions:
    answerer = policy_of(config).answerer
    assert isinstance(answerer, CheckpointOptions)
    return answerer


def model_of(config: EvaluationConfig) -> Path:
    answerer = answerer_of(config)
    assert answerer.model == config.model
    return Path(answerer.model)


def evaluations(job: LadderJob, target_set: str) -> dict[str, EvaluationConfig]:
    return {m.name: config for m, config in job.evaluations(target_set)}


def test_every_evaluation_is_on_the_same_held_out_targets(tmp_path: Path) -> None:
    job = read(tmp_path, "--limit=50", recipe=with_variants(tmp_path))
    for name, difficulty in (("simple", "simple"), ("thin", "thin")):
        found = evaluations(job, name)
        assert set(found) == {
            *("sft", "star-plus", "always", "stop", "search", "search-2", "search-5"),
            *("initial-box", "initial-jittered-box", "initial-wrong-click", "shuffled", "grpo"),
            *("codec-thousandths", "colour-red"),
        }
        for folder, config in found.items():
            assert config.run.reader.split == "test"
            assert config.run.reader.shapes.difficulty == difficulty
            assert config.run.limit == 50
            assert config.run.limits.max_clicks == 5
            assert config.run.out == str(tmp_path / "out" / name / folder)


def test_rungs_differ_in_model_stop_rule_and_search(tmp_path: Path) -> None:
    found = evaluations(read(tmp_path), "thin")
    first, star = tmp_path / "first" / "model", tmp_path / "star" / "round-1" / "model"
    assert model_of(found["sft"]) == first
    assert {model_of(found[name]) for name in ("star-plus", "stop", "search")} == {star}
    rules = {
        name: (
            config.step,
            config.run.limits.stop_at_score,
            config.run.search,
            answerer_of(config).always_click,
        )
        for name, config in found.items()
    }
    searches = {f"search-{k}": k for k in (2, 5)} | {"search": 3}
    assert rules == {
        "sft": ("last", None, None, False),
        "star-plus": ("last", None, None, False),
        "always": ("last", None, None, True),
        "stop": ("best-scored", 0.6, None, True),
        **{
            name: ("best-scored", 0.6, SearchOptions(candidates=k), True)
            for name, k in searches.items()
        },
        **{
            f"initial-{a}": ("last", None, None, False)
            for a in ("box", "jittered-box", "wrong-click")
        },
        "shuffled": ("last", None, None, False),
        "grpo": ("last", None, None, False),
    }
    assert model_of(found["grpo"]) == tmp_path / "out" / "grpo" / "model"
    assert model_of(found["shuffled"]) == first
    assert {n for n, c in found.items() if c.run.expressions == "shuffled"} == {"shuffled"}
    assert {answerer_of(config).score_reading for config in found.values()} == {"expected"}


def test_stop_and_search_are_compared_with_what_lacks_only_them(tmp_path: Path) -> None:
    plan = read(tmp_path).plan
    against = {m.name: m.against for m in plan.rungs()}
    assert against == {
        "sft": None,
        "star-plus": "sft",
        "always": "star-plus",
        "stop": "always",
        "search": "stop",
    }
    assert [(m.name, m.against) for m in plan.own_finish()] == [("stop", "star-plus")]
    assert [(m.name, m.label, m.against) for m in plan.compared_searches()] == [
        ("stop", "none", None),
        ("search-2", "+ search, K = 2", "stop"),
        ("search", "+ search, K = 3", "stop"),
        ("search-5", "+ search, K = 5", "stop"),
    ]


def test_a_part_of_the_ladder_ends_at_a_rung_and_has_no_tables(tmp_path: Path) -> None:
    job = read(tmp_path, "--until=star-plus", "--set=seed=7")
    assert list(evaluations(job, "simple")) == ["sft", "star-plus"]
    assert job.star_arguments.overrides == ["seed=7"]
    plan = job.plan
    assert plan.own_finish() == plan.compared_searches() == plan.actions() == []
    assert (plan.steps, plan.filter, plan.refine) == ((), None, None)
    assert plan.controls() == plan.reinforced() == []
    assert job.reinforcement() is None


def test_grpo_starts_from_the_first_model_and_is_compared_with_it_and_with_star_plus(
    tmp_path: Path,
) -> None:
    job = read(tmp_path, "--device=cpu", "--workers=2")
    assert [(m.name, m.against) for m in job.plan.reinforced()] == [
        ("grpo", "sft"),
        ("grpo", "star-plus"),
    ]
    arguments = job.reinforcement()
    assert arguments is not None
    config = rl_config(arguments)
    assert config.start == str(tmp_path / "first" / "model")
    assert config.out == str(tmp_path / "out" / "grpo")
    assert config.grpo.rounds == 50
    assert arguments.device == "cpu"


def test_a_set_that_ends_before_star_plus_has_no_grpo(tmp_path: Path) -> None:
    plan = replace(read(tmp_path).plan, last_rungs={"simple": "sft"})
    assert plan.of("simple").reinforced() == []
    assert len(plan.of("thin").reinforced()) == 2


def test_a_set_of_few_rungs_has_the_evaluations_of_these(tmp_path: Path) -> None:
    job = read(tmp_path)
    assert list(evaluations(job, "many-simple")) == ["sft", "star-plus", "grpo"]
    assert len(evaluations(job, "simple")) > 5


def test_a_rung_that_the_ladder_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no rung 'always'; choose from sft, star-plus, stop, sea"):
        LadderPlan({}).until("always")
    folder = tmp_path / "clicking"
    shutil.copytree(RECIPES / "mini_prm", folder)
    export = (folder / "export.yaml").read_text().replace("finish: true\n", "")
    (folder / "export.yaml").write_text(export)
    with pytest.raises(ConfigError, match="--until: the ladder of clicking has no rung 'always'"):
        read(tmp_path, "--until=always", recipe=str(folder))


def test_without_finish_every_rollout_clicks_to_the_limit_anyway() -> None:
    plan = LadderPlan(sets={}, finishes=False)
    assert [(m.name, m.against) for m in plan.rungs()] == [
        ("sft", None),
        ("star-plus", "sft"),
        ("stop", "star-plus"),
        ("search", "stop"),
    ]
    assert not any("--always-click" in m.flags for m in plan.rungs())
    assert plan.own_finish() == []


def test_variants_have_their_own_model_and_are_asked_as_it_was_taught(tmp_path: Path) -> None:
    job = read(tmp_path, "--set=max_steps=3", recipe=with_variants(tmp_path))
    found = evaluations(job, "simple")
    for variant in job.variants():
        arguments = job.training_of(variant)
        assert model_of(found[variant.name]) == Path(arguments.out) / "model"
        assert arguments.trajectories == str(tmp_path / "first" / "trajectories")
        assert arguments.model == str(tmp_path / "first" / "base")
        assert arguments.overrides == ["max_steps=3"]
    by_name = {v.name: job.training_of(v) for v in job.variants()}
    assert by_name["codec-thousandths"].codec == "thousandths"
    assert by_name["colour-red"].mask_colour == "red"
    talk = {name: policy_of(found[name]).conversation.turn_format for name in found}
    assert (talk["sft"].codec.name, talk["sft"].colour) == ("decimal", "green")
    thousandths = talk["codec-thousandths"]
    assert (thousandths.codec.name, thousandths.colour) == ("thousandths", "green")
    assert (talk["colour-red"].codec.name, talk["colour-red"].colour) == ("decimal", "red")


def test_masks_are_filtered_and_refined_by_the_improved_model(tmp_path: Path) -> None:
    job = read(tmp_path, "--device=cpu", "--limit=9")
    for command, corrupt in (("filter", (0.0, 1.0)), ("refine", (0.5, 0.9))):
        config = job.annotation("thin", command, corrupt="-".join(map(str, corrupt)))
        assert config.is_corrupted
        run = config.rollouts.run
        assert run.first_mask is not None
        assert run.first_mask.corrupted_to == corrupt
        assert (run.reader.shapes.difficulty, run.limit) == ("thin", 9)
        assert answerer_of(config.rollouts).always_click == (command == "refine")
        assert run.out == str(tmp_path / "out" / "thin" / command)
        assert model_of(config.rollouts) == tmp_path / "star" / "round-1" / "model"


def test_a_base_model_that_is_given_is_that_of_every_training(tmp_path: Path) -> None:
    job = read(tmp_path, "--model=some/base", recipe=with_variants(tmp_path))
    assert job.star.first.model == "some/base"
    assert {job.training_of(v).model for v in job.variants()} == {"some/base"}


def test_a_large_recipe_takes_the_same_command(tmp_path: Path) -> None:
    folder = tmp_path / "large"
    shutil.copytree(RECIPES / "qwen2_5_vl_7b_lora", folder)
    with open(folder / "export.yaml", "a") as f:
        f.write("task: prm,refine\nscore: true\n")
    (folder / "ladder.yaml").write_text(
        "sets:\n  val: {split: val}\n  test_b: {split: testB}\n  dis: {dataset: dis5k, "
        "split: val, data-root: /hq}\ncodecs: [decimal]\nrefine: 0.3-0.9\n"
    )
    flags = ("--data-root=/data", "--checkpoint=/sam.pth", "--device=cuda:1", "--workers=2")
    job = read(tmp_path, *flags, recipe=str(folder))
    runs = {name: evaluations(job, name)["search"].run for name in job.plan.sets}
    sources = {n: (r.dataset, r.reader.split, r.reader.data_root) for n, r in runs.items()}
    assert sources == {
        "val": ("refcoco", "val", "/data"),
        "test_b": ("refcoco", "testB", "/data"),
        "dis": ("dis5k", "val", "/hq"),  # its own place wins
    }
    assert all(run.segmenter.name == "sam" for run in runs.values())
    assert all(run.segmenter.checkpoint == "/sam.pth" for run in runs.values())
    assert all(run.segmenter.device == "cuda:1" for run in runs.values())
    first = job.star.first.config
    assert first is not None
    assert first.reader.data_root == "/data"
    refine = job.annotation("val", "refine", corrupt="0.3-0.9").rollouts.run
    assert refine.segmenter.checkpoint == "/sam.pth"
    job.annotation("val", "filter", corrupt="0.0-1.0")  # has no flag for the segmenter's weights


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--limit=0",), "--limit 0: must be at least 1"),
        (("--out=gs://bucket/x",), "--out gs://bucket/x: training writes to the local disk"),
        (("--set=nothing",), "--set 'nothing': expected KEY=VALUE"),
        (("--set=output_dir=x",), "output_dir is filled in by hlmat train"),
    ],
)
def test_what_is_wrong_with_the_command_is_reported(
    tmp_path: Path, flags: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, *flags)
    assert any(problem in each for each in caught.value.problems), caught.value.problems


def test_what_is_wrong_with_a_set_is_reported_once(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(RECIPES / "mini_prm", folder)
    (folder / "ladder.yaml").write_text(
        "sets:\n  a: {shapes-difficulty: hard}\n  b: {split: tset}\n"
    )
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, recipe=str(folder))
    assert caught.value.problems == (
        "ladder.yaml: sets: a: --shapes-difficulty 'hard': choose from simple, thin, mixed",
        "ladder.yaml: sets: b: --split 'tset': shapes has no such split; did you mean 'test'? "
        "choose from train, val, test",
    )


def test_a_recipe_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--recipe is missing"):
        read(tmp_path, recipe="")


def test_the_device_of_the_model_reaches_everything_that_is_built_trained_or_asked(
    tmp_path: Path,
) -> None:
    job = read(tmp_path, "--device=cpu", "--model-device=cpu", recipe=with_variants(tmp_path))
    first = job.star.first
    assert first.base is not None
    assert first.base.device == "cpu"
    assert first.config is not None
    assert first.config.segmenter.device == "cpu"
    model = tmp_path / "base"
    assert first.resolved(model=model)["use_cpu"] is True
    trainings = [read_job(job.training_of(v)) for v in job.variants()]
    assert [t.resolved(model=model)["use_cpu"] for t in trainings] == [True, True]
    asked = [config for name in job.plan.sets for config in evaluations(job, name).values()]
    asked += [job.annotation("thin", name, corrupt="0-1").rollouts for name in ("filter", "refine")]
    asked.append(job.star.evaluation_of(1))
    assert {answerer_of(config).device for config in asked} == {"cpu"}
    rollouts = job.star.rollout_config(1).policy
    assert isinstance(rollouts, ModelPolicyOptions)
    assert isinstance(rollouts.answerer, CheckpointOptions)
    assert rollouts.answerer.device == "cpu"


def test_a_device_that_is_not_named_is_left_to_each_command(tmp_path: Path) -> None:
    job = read(tmp_path)
    first = job.star.first
    assert first.base is not None
    assert first.base.device is None
    assert "use_cpu" not in first.resolved(model=tmp_path)
    # Where a training runs does not make it another one.
    assert "use_cpu" not in read(tmp_path, "--model-device=cpu").star.first.settings
    assert {answerer_of(c).device for c in evaluations(job, "thin").values()} == {"auto"}


def test_a_gpu_that_is_not_there_is_reported_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "--device=cuda", "--model-device=cuda", recipe="mini_prm_large")
    (problem,) = caught.value.problems
    assert problem == "--model-device cuda: torch sees no CUDA device; use --model-device cpu"
    with pytest.raises(ConfigError, match="--model-device 'cuda:1': did you mean 'cuda'"):
        read(tmp_path, "--model-device=cuda:1")
    assert list(tmp_path.iterdir()) == []


def test_the_large_ladder_measures_what_the_small_one_measures(tmp_path: Path) -> None:
    small, large = read(tmp_path), read(tmp_path, recipe="mini_prm_large")
    assert large.plan == small.plan
    for name in small.plan.sets:
        theirs = evaluations(large, name)
        for measured, config in evaluations(small, name).items():
            run = theirs[measured].run
            assert (run.reader, run.limits) == (config.run.reader, config.run.limits)
            assert (run.segmenter, run.search) == (config.run.segmenter, config.run.search)
    data = [job.star.first.config for job in (small, large)]
    assert data[0] is not None
    assert data[1] is not None
    assert data[0].reader == data[1].reader
    for file in ("export.yaml", "prompt.txt", "score_prompt.txt"):
        both = [(RECIPES / name / file).read_bytes() for name in ("mini_prm", "mini_prm_large")]
        assert both[0] == both[1]
