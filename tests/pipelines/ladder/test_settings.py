"""A recipe's ladder.yaml: valid settings, and how invalid ones are reported."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hlmat.pipelines.ladder import settings as ladder_settings
from hlmat.pipelines.ladder.plan import FIRST, STAR_PLUS, of_variant
from hlmat.pipelines.ladder.settings import read_plan
from hlmat.pipelines.recipes.recipe import RECIPES, load_recipe, recipe_names, with_recipe_flags
from hlmat.transforms.core.errors import ConfigError

SETS = "sets:\n  simple: {shapes-difficulty: simple}\n"
SCORED = "prompt: prompt.txt\nscore: true\nfinish: true\n"


def recipe(root: Path, ladder: str | None, *, export: str = SCORED) -> Path:
    """A recipe like mini_smoke whose model is taught to score masks; two clicks a rollout."""
    folder = root / "mine"
    shutil.copytree(RECIPES / "mini_smoke", folder)
    (folder / "export.yaml").write_text(export)
    if ladder is not None:
        (folder / "ladder.yaml").write_text(ladder)
    return folder


def problems_of(folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_plan(load_recipe(str(folder)))
    return [p.removeprefix(f"{folder}/ladder.yaml: ") for p in caught.value.problems]


def test_sets_alone_are_enough(tmp_path: Path) -> None:
    plan = read_plan(load_recipe(str(recipe(tmp_path, SETS))))
    assert plan.sets == {"simple": ("--shapes-difficulty=simple",)}
    assert (plan.rounds, plan.rollout_limit, plan.stop_score, plan.search) == (1, None, 0.9, 3)
    assert plan.steps == (1,)  # of 1, 3, 5 and 7, those that two clicks allow
    assert (plan.filter, plan.refine) == (None, None)
    assert plan.actions() == plan.codec_variants() == plan.colour_variants() == []


def test_a_set_may_end_at_a_rung(tmp_path: Path) -> None:
    text = SETS + "  many: {shapes-images: 40, until: star-plus}\nsearches: [1, 2]\nfilter: 0-1\n"
    plan = read_plan(load_recipe(str(recipe(tmp_path, text))))
    assert plan.sets["many"] == ("--shapes-images=40",)
    assert plan.of("simple") == plan
    part = plan.of("many")
    assert [rung.name for rung in part.rungs()] == ["sft", "star-plus"]
    assert (part.searches, part.steps, part.filter) == ((), (), None)
    # A call for fewer rungs holds for every set.
    assert [rung.name for rung in plan.until("sft").of("many").rungs()] == ["sft"]


def test_every_key_is_taken(tmp_path: Path) -> None:
    text = (
        "sets:\n  a: {split: test, limit: 5}\n  b:\n"
        "rounds: 2\nrollout-limit: 40\nstop-score: 0.8\nsearch: 4\nsteps: [2, 1]\n"
        "initial-actions: [box, none]\ncodecs: [thousandths]\nmask-colours: [red, blue]\n"
        "filter: 0.0-1.0\nrefine: 0.3-0.9\nreinforcement: mini_grpo\ncontrols: [shuffled]\n"
    )
    plan = read_plan(load_recipe(str(recipe(tmp_path, text))))
    assert plan.sets == {"a": ("--split=test", "--limit=5"), "b": ()}
    assert (plan.rounds, plan.rollout_limit, plan.stop_score, plan.search) == (2, 40, 0.8, 4)
    assert plan.steps == (1, 2)
    assert (plan.filter, plan.refine) == ("0-1", "0.3-0.9")
    assert (plan.reinforcement, plan.shuffled) == ("mini_grpo", True)
    assert [v.flag for v in plan.codec_variants()] == ["--codec=thousandths"]
    assert [v.name for v in plan.colour_variants()] == ["colour-red", "colour-blue"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "reinforcement: mini_gpro",
            "reinforcement: 'mini_gpro' is no recipe of hlmat rl; did you mean 'mini_grpo'? choose "
            "from mini_grpo, qwen2_5_vl_7b_grpo",
        ),
        ("controls: [other]", "controls 'other': choose from shuffled"),
    ],
)
def test_unknown_recipes_and_controls_are_named(tmp_path: Path, line: str, problem: str) -> None:
    (found,) = problems_of(recipe(tmp_path, SETS + line + "\n"))
    assert found.startswith(problem)


def test_each_rung_adds_one_thing_to_the_one_before(tmp_path: Path) -> None:
    plan = read_plan(load_recipe(str(recipe(tmp_path, SETS + "initial-actions: [none, box]\n"))))
    sft, star, always, stop, search = plan.rungs()
    assert [(r.name, r.against) for r in plan.rungs()] == [
        ("sft", None),
        ("star-plus", "sft"),
        ("always", "star-plus"),
        ("stop", "always"),
        ("search", "stop"),
    ]
    models = [rung.model for rung in plan.rungs()]
    assert models == [FIRST, *(STAR_PLUS,) * 4]
    assert sft.flags == star.flags
    assert set(always.flags) - set(star.flags) == {"--always-click"} <= set(stop.flags)
    assert {"--step=best-scored", "--stop-score=0.9"} < set(stop.flags)
    assert set(search.flags) - set(stop.flags) == {"--search=3"}
    # The recipe's own initial action is the rung itself, not another run.
    own, box = plan.actions()
    assert (own.name, own.label, own.against) == ("star-plus", "none", None)
    assert set(box.flags) - set(star.flags) == {"--initial-action=box"}
    assert box.against == "star-plus"


def test_a_variant_is_measured_as_the_first_model_is(tmp_path: Path) -> None:
    plan = read_plan(load_recipe(str(recipe(tmp_path, SETS + "codecs: [thousandths]\n"))))
    measured = of_variant(plan.codec_variants()[0])
    assert (measured.model, measured.against) == ("codec-thousandths", "sft")
    assert set(measured.flags) - set(plan.rungs()[0].flags) == {"--codec=thousandths"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rounds: 1\n", "sets is missing: name one set of held-out targets or more"),
        ("sets: {}\n", "sets is missing"),
        ("sets: [simple]\n", "sets is missing"),
        ("sets: {a: [x]}\n", "sets: a: expected `flag: value`, got ['x']"),
        ("sets: {A/b: {}}\n", "sets: 'A/b' cannot be a folder's name"),
        ("sets: {codec-x: {}}\n", "sets: 'codec-x' cannot be a folder's name"),  # a training's
        (
            "sets: {a: {shapes-dificulty: thin}}\n",
            "sets: a: shapes-dificulty is not a flag of hlmat evaluate on the data set; did you "
            "mean 'shapes-difficulty'? choose from",
        ),
        ("sets: {a: {stop-score: 0.5}}\n", "sets: a: stop-score is not a flag"),  # a rung's
        ("sets: {a: {split: [x]}}\n", "sets: a: split is ['x'], expected text or a number"),
        (
            "sets: {a: {until: star_plus}}\n",
            "sets: a: until: 'star_plus' is no rung of this ladder; did you mean 'star-plus'? "
            "choose from sft, star-plus, always, stop, search",
        ),
        ("sets: {a: {until: 2}}\n", "sets: a: until: 2 is no rung of this ladder; choose from"),
        (SETS + "stpes: [1]\n", "stpes is unknown; did you mean 'steps'? choose from sets, rounds"),
        (SETS + "steps: [0]\n", "steps 0: must be at least 1"),
        (SETS + "steps: [3]\n", "steps 3: evaluate.yaml lets a rollout make 2 clicks"),
        (SETS + "steps: 1\n", "steps is 1, expected a list, as [a, b]"),
        (SETS + "codecs: [hex]\n", "codecs 'hex': choose from decimal, thousandths"),
        (SETS + "codecs: [decimal]\n", "codecs decimal is the recipe's own"),
        (SETS + "mask-colours: [pink]\n", "mask-colours 'pink': choose from green, red, blue"),
        (SETS + "mask-colours: [green]\n", "mask-colours green is the recipe's own"),
        (SETS + "stop-score: 2\n", "stop-score 2: must be above 0 and at most 1"),
        (SETS + "stop-score: 0\n", "stop-score 0: must be above 0"),
        (SETS + "search: 1\n", "search 1: must be at least 2"),
        (SETS + "rounds: many\n", "rounds 'many': expected a whole number of at least 1"),
        (SETS + "rollout-limit: 0\n", "rollout-limit 0: must be at least 1"),
        (SETS + "initial-actions: [line]\n", "initial-actions 'line': choose from none, box"),
        (SETS + "initial-actions: [policy-box]\n", "initial-actions policy-box: the model is not"),
        (SETS + "filter: 0.9-0.3\n", "filter 0.9-0.3: expected LOW-HIGH"),
        (SETS + "refine: all\n", "refine 'all': expected LOW-HIGH"),
        ("- a\n", "expected lines of `name: value`"),
        (SETS + SETS, "is not YAML"),  # a key given twice
    ],
)
def test_what_is_wrong_is_reported(tmp_path: Path, text: str, problem: str) -> None:
    problems = problems_of(recipe(tmp_path, text))
    assert any(problem in found for found in problems), problems


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    text = "steps: [0]\nstop-score: 2\ncodecs: [hex]\nmore: 1\n"
    names = [problem.split()[0] for problem in problems_of(recipe(tmp_path, text))]
    assert sorted(names) == ["codecs", "more", "sets", "steps", "stop-score"]


def test_a_model_without_scores_has_no_ladder(tmp_path: Path) -> None:
    folder = recipe(tmp_path, SETS, export="prompt: prompt.txt\nfinish: true\n")
    (problem,) = problems_of(folder)
    assert "needs a model that scores its masks, and export.yaml teaches no score" in problem


def test_the_task_prm_teaches_scores(tmp_path: Path) -> None:
    folder = recipe(tmp_path, SETS, export="prompt: prompt.txt\nscore: true\ntask: prm\n")
    assert read_plan(load_recipe(str(folder))).sets


def test_an_evaluation_that_stops_by_itself_has_no_greedy_rung(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = recipe(tmp_path, SETS)

    def stopping(argv: list[str]) -> list[str]:
        return [*with_recipe_flags(argv), "--stop-score=0.9"]

    monkeypatch.setattr(ladder_settings, "with_recipe_flags", stopping)
    (problem,) = problems_of(folder)
    assert problem.startswith("evaluate.yaml says stop-score 0.9, so that no rung would be without")


def test_a_ladder_asks_the_models_that_it_trains(tmp_path: Path) -> None:
    folder = recipe(tmp_path, SETS)
    path = folder / "evaluate.yaml"
    path.write_text(path.read_text().replace("policy: mllm", "policy: centre"))
    (problem,) = problems_of(folder)
    assert problem.startswith("evaluate.yaml says policy centre")


def test_a_recipe_without_the_file_is_reported_so(tmp_path: Path) -> None:
    folder = recipe(tmp_path, None)
    with pytest.raises(ConfigError, match=r"ladder\.yaml is missing: it says what hlmat ladder"):
        read_plan(load_recipe(str(folder)))


def test_the_ladders_that_ship_are_whole() -> None:
    with_ladder = [name for name in recipe_names() if (RECIPES / name / "ladder.yaml").is_file()]
    assert "mini_prm" in with_ladder
    for name in with_ladder:
        plan = read_plan(load_recipe(name))
        assert len(plan.sets) > 1
