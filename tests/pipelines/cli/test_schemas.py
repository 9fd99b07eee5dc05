"""JSON Schemas of recipe files: current, and in agreement with the code that reads recipes."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hlmat.pipelines.cli.schemas import recipe_schemas, schema_text, write_schemas
from hlmat.pipelines.recipes.recipe import RECIPES, recipe_names
from hlmat.pipelines.settings.yaml_files import read_settings

SCHEMAS = RECIPES / "schemas"
FILES = [
    path
    for name in recipe_names()
    for path in sorted((RECIPES / name).glob("*.yaml"))
    if f"{path.stem}.json" in recipe_schemas()
]


def problems_of(schema: str, values: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(recipe_schemas()[schema])
    return [error.message for error in validator.iter_errors(values)]


@pytest.mark.parametrize("name", recipe_schemas())
def test_the_schemas_in_the_repository_are_current(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(recipe_schemas()[name])
    shipped = (SCHEMAS / name).read_text(encoding="utf-8")
    assert shipped == schema_text(recipe_schemas()[name]), "write them again with `make schemas`"


def test_no_other_file_is_among_them(tmp_path: Path) -> None:
    write_schemas(tmp_path)
    assert {path.name for path in SCHEMAS.iterdir()} == {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_recipe_that_ships_fits_its_schema(path: Path) -> None:
    problems: list[str] = []
    values = read_settings(path, problems=problems)
    assert not problems
    assert problems_of(f"{path.stem}.json", values) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_recipe_names_its_schema_for_editors(path: Path) -> None:
    first, _, _ = path.read_text(encoding="utf-8").partition("\n")
    key, _, target = first.partition("$schema=")
    assert key == "# yaml-language-server: "
    assert (path.parent / target).resolve() == (SCHEMAS / f"{path.stem}.json").resolve()


@pytest.mark.parametrize(
    ("schema", "values", "message"),
    [
        ("trajectories.json", {"max-clicks": 1.5}, "1.5 is not of type 'integer'"),
        ("trajectories.json", {"target-iou": 2}, "2 is not valid under any"),
        ("trajectories.json", {"out": "x"}, "'out' was unexpected"),  # given to hlmat train
        ("trajectories.json", {"dataset": "refcok"}, "'refcok' is not one of"),
        ("trajectories.json", {"shapes-size": "big"}, "'big' does not match"),
        ("export.json", {"finish": 1}, "1 is not of type 'boolean'"),
        ("export.json", {"foreign-masks": "box,triangle"}, "does not match"),
        ("evaluate.json", {"codec": "pixels"}, "'codec' was unexpected"),  # in export.yaml
        ("base.json", {"learning-rate": 0}, "0 is less than or equal to the minimum of 0"),
        ("ladder.json", {}, "'sets' is a required property"),
        ("ladder.json", {"sets": {"codec-x": {}}}, "'codec-x' does not match"),
        ("ladder.json", {"sets": {"a": {"step": 1}}}, "'step' was unexpected"),
        ("ladder.json", {"sets": {"a": {}}, "steps": [0]}, "0 is less than the minimum of 1"),
    ],
)
def test_what_the_code_refuses_the_schema_refuses(
    schema: str, values: dict[str, Any], message: str
) -> None:
    assert any(message in problem for problem in problems_of(schema, values))


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        ("trajectories.json", None),  # an empty file
        ("trajectories.json", {"target-iou": "none", "segmenter": "mine:Tool"}),
        ("trajectories.json", {"segmenter-arg": ["a=1", "b=2"], "split": 2017}),
        ("export.json", {"foreign-masks": "box,cut", "also": "out/x"}),
        ("ladder.json", {"sets": {"a": None}, "filter": "0.3-1", "codecs": ["pixels"]}),
    ],
)
def test_what_the_code_takes_the_schema_takes(schema: str, values: Any) -> None:
    assert problems_of(schema, values) == []


def test_a_default_is_that_of_the_declaration() -> None:
    properties = json.loads((SCHEMAS / "base.json").read_text())["properties"]
    assert properties["learning-rate"]["default"] == 0.003


@pytest.mark.parametrize("module", ["schemas", "flex_template"])
def test_asking_for_help_writes_nothing(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    monkeypatch.delitem(sys.modules, f"hlmat.pipelines.cli.{module}", raising=False)
    with pytest.raises(SystemExit, match=r"^0$"):
        runpy.run_module(f"hlmat.pipelines.cli.{module}", run_name="__main__")
    assert not list(tmp_path.iterdir())
