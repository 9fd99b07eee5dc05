"""Every command that the documentation shows exists, with its flags, choices and variables."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import re
import tomllib

import pytest

from documented_commands import DocumentedCommand, documented_commands, documents
from hlmat.pipelines.cli.main import main
from hlmat.pipelines.recipes.recipe import recipe_names, rl_recipe_names
from hlmat.pipelines.settings.runner_choice import (
    RunnerChoice,
    check_runner_flags,
    check_runner_name,
)
from repository import REPOSITORY

COMMANDS = documented_commands()
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
NAMED_CHOICES = ("--dataset", "--segmenter", "--policy", "--format")


def every(program: str) -> pytest.MarkDecorator:
    chosen = [c for c in COMMANDS if c.program == program]
    assert chosen, program
    return pytest.mark.parametrize("command", chosen, ids=[c.place for c in chosen])


@functools.cache
def help_text(*argv: str) -> str:
    """Return what a command prints for --help."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            code = main([*argv, "--help"])
        except SystemExit as stopped:  # argparse ends the process after a command's help.
            code = stopped.code
    assert code == 0
    return printed.getvalue()


def flags_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))


@every("hlmat")
def test_a_documented_command_has_the_flags_that_it_is_given(command: DocumentedCommand) -> None:
    name, *rest = command.argv[1:]
    known = flags_in(help_text(name))
    given = {word.partition("=")[0] for word in rest if word.startswith("--")}
    if "--runner" in rest:
        runner = RunnerChoice(rest[rest.index("--runner") + 1])
        assert check_runner_name(runner) is None
        beams = sorted(given - known)
        assert not check_runner_flags(beams, is_local=False, own_flags=(), runner=runner.beam_name)
        given &= known
    assert given <= known, f"hlmat {name} does not have {sorted(given - known)}"


@every("hlmat")
def test_a_documented_choice_exists(command: DocumentedCommand) -> None:
    name, *rest = command.argv[1:]
    words = set(re.findall(r"[\w+-]+", help_text(name)))
    for flag, value in itertools.pairwise(rest):
        if flag in NAMED_CHOICES and ":" not in value:
            assert value in words, f"{flag} {value}"
        if flag == "--recipe" and "/" not in value:
            assert value in {*recipe_names(), *rl_recipe_names()}


@every("make")
def test_a_documented_make_target_and_its_variables_exist(command: DocumentedCommand) -> None:
    targets = set(re.findall(r"^\.PHONY: (\S+)$", MAKEFILE, re.MULTILINE))
    for word in command.argv[1:]:
        variable, assigned, _ = word.partition("=")
        if assigned:
            assert f"$({variable})" in MAKEFILE, variable
        else:
            assert word in targets


@every("pip")
def test_a_documented_install_names_extras_that_exist(command: DocumentedCommand) -> None:
    extras = set(PYPROJECT["project"]["optional-dependencies"])
    for word in command.argv:
        for named in re.findall(r"^(?:\.|hlmat)\[(.*)\]$", word):
            assert set(named.split(",")) <= extras


def test_documents_of_the_checkout_call_the_programs_that_make_installs() -> None:
    bare = {
        command.place.rpartition(" ")[0]
        for command in COMMANDS
        if command.program in {"hlmat", "pip", "hf"} and not command.is_in_checkout
    }
    assert bare == {"docs/install.md", "docs/quickstart.md"}, "all others are for a checkout"


def test_the_install_table_names_every_command_and_extra() -> None:
    text = (REPOSITORY / "docs/install.md").read_text(encoding="utf-8")
    table = text[text.index("## Which command") : text.index("## Time and disk")]
    commands = re.findall(r"^ {2}([a-z][a-z-]*) {2,}", help_text(), re.MULTILINE)
    assert len(commands) >= 13
    for name in commands:
        assert re.search(rf"`(hlmat )?{name}\b", table), f"no install for hlmat {name}"
    for extra in PYPROJECT["project"]["optional-dependencies"]:
        assert extra == "dev" or f"`{extra}`" in table, f"no row for the extra {extra}"


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_every_document_is_found() -> None:
    names = {path.relative_to(REPOSITORY).as_posix() for path in documents()}
    assert {"README.md", "docs/install.md", "train_recipes/mini/README.md"} <= names
