from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from hlmat.pipelines.recipes.flag_files import parse_flags
from hlmat.pipelines.recipes.recipe import (
    load_recipe,
    recipe_names,
    rl_recipe_names,
    with_recipe_flags,
)
from hlmat.transforms.core.errors import ConfigError

FILES = {
    "trajectories.yaml": "dataset: shapes\nmax-clicks: 7\nstop-on-no-gain: false\n",
    "export.yaml": "codec: thousandths\nfinish: true\nname: clicks\nfirst-box: false\n",
    "evaluate.yaml": "batch-size: 4\nmax-clicks: 3\n",
    "train.yaml": (
        "model_name_or_path: a/b\ntemplate: qwen2_vl\nstage: sft\nfinetuning_type: full\n"
    ),
}


def write(folder: Path, files: Mapping[str, str | None]) -> str:
    folder.mkdir()
    for name, text in {**FILES, **files}.items():
        if text is not None:
            (folder / name).write_text(text)
    return str(folder)


def problems_of(folder: Path, files: Mapping[str, str | None]) -> list[str]:
    path = write(folder, files)
    with pytest.raises(ConfigError) as caught:
        load_recipe(path)
    return [problem.replace(f"{folder}/", "") for problem in caught.value.problems]


def test_flags_become_arguments_of_their_commands(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path / "mine", {}))
    assert recipe.name == "mine"
    assert recipe.trajectories == ("--dataset=shapes", "--max-clicks=7", "--no-stop-on-no-gain")
    assert recipe.export == ("--codec=thousandths", "--finish", "--name=clicks")
    assert parse_flags("trajectories.yaml", recipe.trajectories).stop_on_no_gain is False
    assert not parse_flags("export.yaml", recipe.export).first_box
    assert recipe.base is None
    assert recipe.processor == {}


@pytest.mark.parametrize(
    ("task", "stage", "is_right"),
    [
        ("kto", "sft", False),
        ("kto", "kto", True),
        ("preference", "rm", True),
        ("preference", "kto", False),
        ("prm,refine", "sft", True),
    ],
)
def test_a_task_is_trained_in_a_stage_that_is_made_for_it(
    task: str, stage: str, is_right: bool, tmp_path: Path
) -> None:
    also = "also: out/other\n" if task == "preference" else ""
    files = {
        "export.yaml": f"task: {task}\n{also}",
        "train.yaml": FILES["train.yaml"].replace("stage: sft", f"stage: {stage}"),
    }
    if is_right:
        assert load_recipe(write(tmp_path / "mine", files)).train["stage"] == stage
    else:
        (problem,) = problems_of(tmp_path / "mine", files)
        assert f"stage is '{stage}', but the task {task} of export.yaml is trained with" in problem


def test_an_evaluation_stops_by_the_scores_that_the_export_teaches(tmp_path: Path) -> None:
    evaluate = FILES["evaluate.yaml"] + "stop-score: 0.9\nsearch: 3\n"
    files = {"evaluate.yaml": evaluate, "export.yaml": "score: true\n"}
    assert "--stop-score=0.9" in load_recipe(write(tmp_path / "scored", files)).evaluate
    problems = problems_of(tmp_path / "unscored", {"evaluate.yaml": evaluate})
    assert any("--stop-score needs a model that scores its masks" in p for p in problems)


def test_lists_repeat_a_flag_that_may_be_repeated(tmp_path: Path) -> None:
    text = "segmenter: tool:Mine\nsegmenter-arg: ['a=1', 'b=[2, 3]']\n"
    path = write(tmp_path / "mine", {"trajectories.yaml": text})
    (tmp_path / "mine" / "tool.py").touch()
    recipe = load_recipe(path)
    arguments = parse_flags("trajectories.yaml", recipe.trajectories)
    assert arguments.segmenter_arg == ["a=1", "b=[2, 3]"]


def test_files_of_the_recipe_are_found_beside_it(tmp_path: Path) -> None:
    files = {
        "prompt.txt": "<image>\nSegment {expression} with {coordinates}.",
        "export.yaml": "prompt: prompt.txt\n",
        "train.yaml": FILES["train.yaml"] + "deepspeed: zero.json\n",
        "zero.json": "{}",
    }
    recipe = load_recipe(write(tmp_path / "mine", files))
    assert recipe.export == (f"--prompt={tmp_path}/mine/prompt.txt",)
    assert recipe.train["deepspeed"] == f"{tmp_path}/mine/zero.json"


def test_everything_that_is_wrong_is_reported_at_once(tmp_path: Path) -> None:
    problems = problems_of(
        tmp_path / "mine",
        {
            "trajectories.yaml": "max-click: 7\nout: here\nseed: [1, 2]\n",
            "export.yaml": "codec: roman\nopacity: 7\nname: a b\nexpressions: some\n",
            "evaluate.yaml": None,
            "train.yaml": "template: qwen2_vl\nstage: sft\ndataset: x\ndeepspeed: none.json\n",
        },
    )
    expected = [
        "trajectories.yaml: max-click is not a flag of hlmat trajectories; did you mean "
        "'max-clicks'?",
        "trajectories.yaml: out is given to hlmat train; leave it out",
        "trajectories.yaml: seed is a list, expected one value",
        "export.yaml: --codec 'roman': choose from decimal, thousandths",
        "export.yaml: --opacity 7: must be from 0 to 1",
        "export.yaml: --expressions 'some': choose from",
        "export.yaml: --name 'a b': expected a data set's name of letters, digits, '_' and '-'",
        "evaluate.yaml is missing: it holds the flags of hlmat evaluate",
        "train.yaml: model_name_or_path is missing",
        "train.yaml: finetuning_type is missing",
        "train.yaml: dataset is filled in by hlmat train",
        "train.yaml: deepspeed names none.json",
    ]
    assert len(problems) == len(expected)
    for problem, start in zip(problems, expected, strict=True):
        assert problem.startswith(start)


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("trajectories.yaml", "max-clicks:\n", "max-clicks is None, expected text or a number"),
        ("trajectories.yaml", "max-clicks: true\n", "max-clicks is True, expected text"),
        ("trajectories.yaml", "max-clicks: 0\n", "--max-clicks 0: must be at least 1"),
        ("trajectories.yaml", "dataset: refcok\n", "refcok"),
        ("export.yaml", "finish: 1\n", "finish is 1, expected true or false"),
        ("export.yaml", "from: out/run\n", "from is set by hlmat train"),
        ("evaluate.yaml", "codec: pixels\n", "codec is taken from export.yaml"),
        ("evaluate.yaml", "batch-size: 0\n", "--batch-size 0: must be at least 1"),
        ("base.yaml", "out: here\n", "out is set by hlmat train"),
        ("train.yaml", "- a\n", "expected lines of `name: value`"),
        ("processor.yaml", "[", "is not YAML"),
    ],
)
def test_a_wrong_flag_or_value_is_reported(
    file: str, text: str, problem: str, tmp_path: Path
) -> None:
    (found,) = problems_of(tmp_path / "mine", {file: text})
    assert found.startswith(file)
    assert problem in found


def test_an_unknown_name_is_reported_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe("qwen2_5_vl_7b_ful")
    (problem,) = caught.value.problems
    assert "did you mean 'qwen2_5_vl_7b_full'?" in problem
    assert ", ".join(sorted([*recipe_names(), *rl_recipe_names()])) in problem


def test_a_folder_of_ones_own_is_found_by_its_bare_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "mine", {})
    monkeypatch.chdir(tmp_path)
    assert load_recipe("mine").folder == tmp_path / "mine"


@pytest.mark.parametrize("form", [["--recipe", "{}"], ["--recipe={}"]])
def test_evaluation_takes_the_recipes_flags_and_given_ones_win(
    form: list[str], tmp_path: Path
) -> None:
    path = write(tmp_path / "mine", {})
    given = [part.format(path) for part in form]
    argv = with_recipe_flags(["evaluate", *given, "--max-clicks", "9"])
    # how it is talked with comes from the export, the export's name does not
    flags = ["--codec=thousandths", "--finish", "--batch-size=4", "--max-clicks=3"]
    assert argv == ["evaluate", *flags, *given, "--max-clicks", "9"]
    assert parse_flags("evaluate.yaml", argv[1:]).max_clicks == "9"


EVALUATED = (
    "dataset: shapes\nsplit: test\nshapes-size: 64x64\nlimit: 9\nstep: best-scored\n"
    "segmenter: sam\nmax-clicks: 3\n"
)


def test_filter_and_refine_take_the_flags_that_they_have(tmp_path: Path) -> None:
    files = {"evaluate.yaml": EVALUATED, "export.yaml": "task: prm\ncodec: thousandths\n"}
    path = write(tmp_path / "mine", files)
    given = ["--recipe", path]
    data = ["--dataset=shapes", "--split=test", "--shapes-size=64x64", "--limit=9"]
    talk = ["--codec=thousandths", "--score"]  # which the task prm teaches untold
    argv = with_recipe_flags(["filter", *given])
    assert argv == ["filter", *talk, *data, *given]
    argv = with_recipe_flags(["refine", *given])
    assert argv == ["refine", *talk, *data, "--segmenter=sam", "--max-clicks=3", *given]


@pytest.mark.parametrize("command", ["evaluate", "refine"])
def test_flags_on_another_data_set_are_left_out(command: str, tmp_path: Path) -> None:
    files = {"evaluate.yaml": EVALUATED, "export.yaml": "task: prm\n"}
    path = write(tmp_path / "mine", files)
    given = ["--recipe", path, "--dataset", "coco"]
    argv = with_recipe_flags([command, *given])
    assert not {"--dataset=shapes", "--split=test", "--shapes-size=64x64", "--limit=9"} & set(argv)
    assert "--max-clicks=3" in argv
    same = with_recipe_flags([command, "--recipe", path, "--dataset=shapes"])
    assert {"--split=test", "--shapes-size=64x64"} < set(same)


def test_flags_on_data_stay_where_the_recipe_names_no_data_set(tmp_path: Path) -> None:
    path = write(tmp_path / "mine", {"evaluate.yaml": "split-by: unc\n"})
    argv = with_recipe_flags(["evaluate", "--recipe", path, "--dataset", "refcoco"])
    assert "--split-by=unc" in argv


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["evaluate"],
        ["evaluate", "--recipe"],  # left to the parser, which says what is missing
        ["train", "--recipe", "mini"],
        ["stats", "--recipe", "none"],
    ],
)
def test_other_command_lines_stay_as_they_are(argv: list[str]) -> None:
    assert with_recipe_flags(argv) == argv


def test_a_wrong_flag_of_the_export_is_reported_once(tmp_path: Path) -> None:
    files = {"export.yaml": "codec: bogus\n", "evaluate.yaml": "workers: none\n"}
    codec, workers = problems_of(tmp_path / "mine", files)
    assert codec.startswith("export.yaml: --codec 'bogus': choose from decimal")
    assert workers.startswith("evaluate.yaml: --workers 'none'")
