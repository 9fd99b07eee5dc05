"""Where a recipe's segmenter class is loaded from: its own folder, or a folder the user names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hlmat.pipelines.cli.main import main
from hlmat.pipelines.recipes.own_code import own_segmenter_path
from hlmat.pipelines.recipes.recipe import load_recipe, with_recipe_flags
from hlmat.transforms.core.errors import ConfigError

SEGMENTER = """\
import numpy as np

from hlmat import Prediction


class Bright:
    def set_image(self, image):
        self.mask = image.mean(axis=2) > image.mean()

    def predict(self, *, clicks, box=None, feedback=None):
        return Prediction(mask=self.mask, feedback=None)
"""
TRAIN = "model_name_or_path: a/b\ntemplate: qwen2_vl\nstage: sft\nfinetuning_type: full\n"
HOSTILE = "open('it-ran', 'w').close()\n"


def write_recipe(folder: Path, *, segmenter: str, train: str = "", more: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    data = "dataset: shapes\nshapes-images: 2\nshapes-size: 64x80\n"
    (folder / "trajectories.yaml").write_text(f"{data}segmenter: {segmenter}\n{more}")
    (folder / "evaluate.yaml").write_text(f"{data}segmenter: {segmenter}\npolicy: centre\n{more}")
    (folder / "export.yaml").write_text("")
    (folder / "train.yaml").write_text(TRAIN + train)
    return folder


def problems_of(recipe: Path, **flags: list[str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(recipe), **flags)
    return [problem.replace(f"{recipe.resolve()}/", "") for problem in caught.value.problems]


def refusal(file: str, segmenter: str, module: str) -> str:
    return (
        f"{file}: segmenter '{segmenter}': the recipe's folder has no {module}; a recipe loads "
        "code from its own folder only; put the file there, or name its folder on the command "
        "line with --segmenter-path"
    )


@pytest.mark.slow
@pytest.mark.parametrize("module", ["bright", "tools.bright", "package"])
def test_a_class_is_loaded_from_the_recipes_folder(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe(tmp_path / "mine", segmenter=f"{module}:Bright")
    file = {
        "bright": recipe / "bright.py",
        "tools.bright": recipe / "tools" / "bright.py",
        "package": recipe / "package" / "__init__.py",
    }[module]
    file.parent.mkdir(exist_ok=True)
    file.write_text(SEGMENTER)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (elsewhere / f"{module.partition('.')[0]}.py").write_text(HOSTILE)
    argv = ["evaluate", "--recipe", str(recipe), "--out", "out", "--workers", "1", "-q"]
    assert main(argv) == 0
    assert sorted(os.listdir(elsewhere)) == sorted([f"{module.partition('.')[0]}.py", "out"])


@pytest.mark.parametrize(
    ("segmenter", "module"),
    [
        ("os:system", "os.py"),
        ("subprocess:Popen", "subprocess.py"),
        ("here:Bright", "here.py"),
        ("numpy.lib:NumpyVersion", "numpy/lib.py"),
        ("..outside:Bright", "//outside.py"),
    ],
)
def test_a_recipe_names_no_code_outside_its_folder(
    segmenter: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.py").write_text(HOSTILE)
    (tmp_path / "outside.py").write_text(HOSTILE)
    recipe = write_recipe(
        tmp_path / "a" / "stranger",
        segmenter=segmenter,
        more="segmenter-arg: ['command=touch x']\n",
    )
    assert problems_of(recipe) == [
        refusal(file, segmenter, module) for file in ("trajectories.yaml", "evaluate.yaml")
    ]
    assert not (tmp_path / "it-ran").exists()


def test_a_link_does_not_lead_out_of_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text(HOSTILE)
    recipe = write_recipe(tmp_path / "stranger", segmenter="linked:Bright")
    (recipe / "linked.py").symlink_to(tmp_path / "outside.py")
    assert problems_of(recipe)[0] == refusal("trajectories.yaml", "linked:Bright", "linked.py")


def test_a_path_in_the_recipe_stays_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text(HOSTILE)
    recipe = write_recipe(
        tmp_path / "stranger", segmenter="outside:Bright", more="segmenter-path: ..\n"
    )
    assert problems_of(recipe)[0] == (
        "trajectories.yaml: segmenter-path names .., outside the recipe's folder; a recipe loads "
        "code from its own folder only; give other folders on the command line, with "
        "--segmenter-path"
    )


@pytest.mark.slow
def test_the_user_can_name_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "theirs_here.py").write_text(SEGMENTER)
    recipe = write_recipe(tmp_path / "mine", segmenter="theirs_here:Bright")
    flags = ["--recipe", str(recipe), "--segmenter-path", "code", "--out", "out", "-q"]
    assert main(["evaluate", *flags, "--workers", "1"]) == 0


def test_another_segmenter_on_the_command_line_brings_its_own_code(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "mine", segmenter="bright:Bright")
    (recipe / "bright.py").write_text(SEGMENTER)
    given = ["evaluate", "--recipe", str(recipe), "--segmenter", "graphcut"]
    argv = with_recipe_flags(given)
    assert [a for a in argv if a.startswith(("--segmenter=", "--segmenter-path"))] == []


def test_code_of_a_model_is_not_run_because_a_recipe_asks(tmp_path: Path) -> None:
    recipe = write_recipe(
        tmp_path / "mine", segmenter="graphcut", train="trust_remote_code: true\n"
    )
    assert problems_of(recipe) == [
        "train.yaml: trust_remote_code runs code that comes with the model, so a recipe cannot ask "
        "for it; leave it out, and if you trust the model, give hlmat train --set "
        "trust_remote_code=true"
    ]


def test_a_path_without_a_class_is_a_mistake(tmp_path: Path) -> None:
    problems: list[str] = []
    path = tmp_path / "evaluate.yaml"
    values = {"segmenter": "sam", "segmenter-path": "."}
    assert own_segmenter_path(path, values, allowed=(), problems=problems) == {"segmenter": "sam"}
    assert problems == [
        f"{path}: segmenter-path goes with a segmenter class of your own, segmenter: module:Class"
    ]
