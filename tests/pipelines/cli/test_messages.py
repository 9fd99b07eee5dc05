"""A problem of a setting is reported with its flag, never with a class or a position."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hlmat.pipelines.cli.exit_codes import EXIT_CONFIG
from hlmat.pipelines.cli.main import main
from hlmat.pipelines.settings.commands import groups_of
from hlmat.pipelines.settings.flags import flags_in

GIVEN = {
    "trajectories": ("--dataset=shapes", "--out=o"),
    "export": ("--from=o", "--format=trace", "--out=p"),
    "train": ("--recipe=mini",),
    "star-plus": ("--recipe=mini",),
    "ladder": ("--recipe=mini_prm",),
    "rl": ("--dataset=shapes", "--out=o", "--model=m"),
    "evaluate": ("--dataset=shapes", "--out=o", "--policy=openai"),
    "filter": ("--dataset=shapes", "--out=o", "--model=m"),
    "refine": ("--dataset=shapes", "--out=o", "--model=m"),
    "mini-base": ("--out=o",),
    "fit-clicks": ("log.csv", "--out=m.json"),
}
NAMES_A_CLASS = re.compile(r"\b[A-Z]\w*\.\w+ |\.\d+ '|pydantic|Traceback")


@pytest.mark.parametrize("value", ["x", "-1", "1/0"])
@pytest.mark.parametrize("command", GIVEN)
def test_every_problem_names_a_flag(
    command: str,
    value: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {argument.partition("=")[0] for argument in GIVEN[command]}
    wrong = [
        f"{flag.spelled}={value}"
        for flag in flags_in(groups_of(command)).values()
        if not (flag.is_positional or flag.is_switch or flag.spelled in {*given, "--recipe"})
    ]
    assert main([command, *GIVEN[command], *wrong]) == EXIT_CONFIG
    problems = capsys.readouterr().err.splitlines()
    assert [line for line in problems if NAMES_A_CLASS.search(line)] == []
    assert [line for line in problems if not re.search(r" --[a-z]|data set", line)] == []


def test_a_servers_address_is_named_by_its_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    argv = ["evaluate", "--policy", "openai", "--dataset", "shapes", "--out", out]
    assert main([*argv, "--server", "localhost"]) == EXIT_CONFIG
    assert capsys.readouterr().err == (
        "hlmat: error: --server 'localhost': expected a web address such as "
        "http://localhost:8000/v1\n"
    )
