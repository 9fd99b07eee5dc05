from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hlmat.pipelines.settings.yaml_files import read_override, read_settings
from hlmat.transforms.core.errors import ConfigError


def read(text: str, tmp_path: Path) -> tuple[dict[str, Any], list[str]]:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    problems: list[str] = []
    return read_settings(path, problems=problems), problems


# Each line holds the line before twice.
DOUBLED = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),  # text in YAML 1.1
        ("1.0e-5", 1e-5),
        ("2E3", 2000.0),
        ("7", 7),
        ("'7'", "7"),
        ("yes", True),
        ("null", None),
        ("none", "none"),
        ("2-5", "2-5"),
        ("1e5x", "1e5x"),
    ],
)
def test_values_are_read_as_they_look(text: str, value: Any, tmp_path: Path) -> None:
    assert read(f"a: {text}", tmp_path) == ({"a": value}, [])
    assert read_override(f"a={text}") == ("a", value)
    assert type(read_override(f"a={text}")[1]) is type(value)


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    assert read("# nothing\n", tmp_path) == ({}, [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\na: 2\n", "a is given twice"),
        ("a: [", "is not YAML"),
        ("? [a]\n: 1\n", "a name must be a text, not a list or mapping"),
        ("? {a: b}\n: 1\n", "a name must be a text, not a list or mapping"),
        ("a: " + "[" * 5000, "it nests too deeply"),
        ("a: " + "[" * 200 + "]" * 200, "it nests deeper than 100 levels"),
        ("a: &b [*b]\n", "it nests deeper than 100 levels, or holds itself"),
        (
            "a0: &a0 [x, x]\n"
            + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40)),
            "written out without shared parts it is more than 32 times as large",
        ),
        ("a: 2024-13-45", "is not YAML"),  # a date that there is not
        ("- a\n", "expected lines of `name: value`"),
        ("1: a\n", "expected lines of `name: value`"),
        ("a: !!python/object/apply:os.getcwd []\n", "is not YAML"),  # never run
    ],
)
def test_what_is_no_mapping_of_settings_is_reported(
    text: str, problem: str, tmp_path: Path
) -> None:
    values, problems = read(text, tmp_path)
    assert values == {}
    assert len(problems) == 1
    assert problem in problems[0]
    assert "a.yaml" in problems[0]


def test_a_file_that_is_not_there_is_reported(tmp_path: Path) -> None:
    problems: list[str] = []
    assert read_settings(tmp_path / "none.yaml", problems=problems) == {}
    assert "none.yaml cannot be read" in problems[0]


@pytest.mark.parametrize("text", ["a", "=1", " =1", "a=["])
def test_an_override_that_is_none_is_reported(text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        read_override(text)


def test_only_the_first_equals_sign_parts() -> None:
    assert read_override("a=b=c") == ("a", "b=c")
