"""Flags: one declaration read from the command line, from YAML and back."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hlmat.pipelines.settings.commands import _DECLARATIONS, groups_of, parse_command
from hlmat.pipelines.settings.flags import Flag, arguments_of, flags_in
from hlmat.pipelines.settings.run_flags import TRAJECTORIES
from hlmat.pipelines.settings.tiny_vlm_options import MINI_BASE, tiny_vlm_config
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values, fingerprint_of_flags
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.options import REQUIRED, declared
from hlmat.transforms.policies.backends.options import SamplingOptions, ServerOptions
from hlmat.transforms.readers.shapes.options import ShapesOptions
from hlmat.transforms.rollout.options import AreaFilter, FirstMask, Limits, SearchOptions
from hlmat.transforms.tiny_vlm.options import PretrainingOptions

COMMANDS = tuple(_DECLARATIONS)
EVERY_FLAG = [(c, flag) for c in COMMANDS for flag in flags_in(groups_of(c)).values()]
every_flag = pytest.mark.parametrize(
    ("command", "flag"), EVERY_FLAG, ids=[f"{c} {flag.name}" for c, flag in EVERY_FLAG]
)

areas = st.none() | st.integers(0, 10**6)
ious = st.none() | st.floats(0.001, 1).map(lambda x: float(f"{x:g}"))
limits = st.builds(Limits, max_clicks=st.integers(1, 99), target_iou=ious)
filters = st.builds(AreaFilter, min_area=st.integers(0, 99), max_area=st.integers(100, 999))
scenes = st.builds(
    ShapesOptions,
    count=st.integers(1, 10**6),
    height=st.integers(64, 8192),
    width=st.integers(64, 8192),
    seed=st.integers(0, 10**6),
    objects_min=st.integers(1, 4),
    objects_max=st.integers(4, 12),
    difficulty=st.sampled_from(["simple", "thin", "mixed"]),
)


def written(values: Any) -> list[Flag]:
    return [flag for flag in flags_in(TRAJECTORIES).values() if flag.owner is type(values)]


def read(argv: list[str], owner: type[Any]) -> Any:
    check = Check()
    found = Values(parse_command("trajectories", argv), TRAJECTORIES, check).build(owner)
    check.done()
    return found


@given(limits | filters | scenes)
def test_settings_written_as_flags_are_read_as_they_were(values: Any) -> None:
    argv = [f"--{flag.name}={flag.write(values)}" for flag in written(values) if not flag.is_switch]
    assert read(argv, type(values)) == values


@given(limits | filters | scenes)
def test_settings_written_as_yaml_are_read_as_they_were(values: Any) -> None:
    texts = {f.name: f.write(values) for f in written(values) if not f.is_switch}
    text = "".join(f"{name}: {value}\n" for name, value in texts.items())
    flags = flags_in(TRAJECTORIES)
    argv = [
        argument
        for name, value in yaml.safe_load(text).items()
        for argument in arguments_of(flags[name], value)
    ]
    assert read(argv, type(values)) == values


@every_flag
def test_every_flag_is_of_a_declared_field_with_a_help_text(command: str, flag: Flag) -> None:
    known = declared(flag.owner)
    assert set(flag.fields) <= set(known)
    assert flag.help or flag.declaration.help
    assert (flag.pair is not None) or flag.declaration.kind != "other" or flag.is_mapping


@every_flag
def test_every_default_is_one_that_the_flag_takes(command: str, flag: Flag) -> None:
    default = flag.default_value
    is_given = default not in (None, REQUIRED, ()) and flag.pair is None
    if not is_given or flag.is_switch or flag.is_mapping or flag.is_joined:
        return
    assert flag.parse(str(default)) == {flag.field: default}


@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_command_line_takes_every_default(command: str) -> None:
    groups = [
        replace(g, flags=tuple(f for f in g.flags if not f.is_positional))
        for g in groups_of(command)
    ]
    values = Values(argparse.Namespace(), groups, check := Check())
    values.read_given()
    assert check.problems == []


def test_a_default_has_one_home() -> None:
    """Editing a declaration is enough: no flag repeats its default."""
    for name, owner, field in (
        ("timeout", ServerOptions, "timeout_s"),
        ("retries", ServerOptions, "retries"),
        ("search", SearchOptions, "candidates"),
        ("max-new-tokens", SamplingOptions, "max_new_tokens"),
    ):
        flag = flags_in(groups_of("evaluate"))[name]
        assert flag.default_value == declared(owner)[field].default
    learning_rate = flags_in(MINI_BASE)["learning-rate"]
    assert learning_rate.default_value == PretrainingOptions().learning_rate


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["--shapes-size=240"], "--shapes-size '240': expected HEIGHTxWIDTH, as 240x320"),
        (["--shapes-size=10x320"], "--shapes-size '10x320': must be from 64 to 8,192"),
        (["--shapes-objects=5-2"], "--shapes-objects 5-2: MIN 5 is above MAX 2; swap them"),
        (["--shapes-images=0"], "--shapes-images 0: must be from 1 to 10,000,000"),
        (["--shapes-difficulty=hard"], "--shapes-difficulty 'hard': choose from"),
    ],
)
def test_problems_name_the_flag(argv: list[str], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(argv, ShapesOptions)
    (found,) = caught.value.problems
    assert found.startswith(problem)


def test_a_conflict_names_both_flags() -> None:
    with pytest.raises(ConfigError) as caught:
        read(["--min-area=9", "--max-area=3"], AreaFilter)
    assert caught.value.problems == ("--min-area 9 is above --max-area 3: no mask would be left",)
    with pytest.raises(ConfigError) as caught:
        tiny_vlm_config(parse_command("mini-base", ["--out=x", "--image-size=100", "--heads=5"]))
    assert caught.value.problems == (
        "--image-size 100 must be a multiple of --patch 12",
        "--width 192 and --vision-width 192 must be multiples of 20, 4 for each of --heads 5",
    )


def test_an_iou_range_is_named_as_it_is_given() -> None:
    check = Check()
    arguments = parse_command("refine", ["--corrupt=0.9-0.1"])
    Values(arguments, groups_of("refine"), check).build(FirstMask)
    (problem,) = check.problems
    assert problem.startswith("--corrupt 0.9-0.1: expected LOW-HIGH with 0 <= LOW < HIGH <= 1")


@pytest.mark.parametrize(
    ("value", "arguments"),
    [(True, ["--stop-on-no-gain"]), (False, ["--no-stop-on-no-gain"])],
)
def test_a_switch_in_yaml(value: bool, arguments: list[str]) -> None:
    assert arguments_of(flags_in(TRAJECTORIES)["stop-on-no-gain"], value) == arguments


def test_where_and_how_fast_are_not_part_of_the_fingerprint() -> None:
    def fingerprint(*argv: str) -> dict[str, Any]:
        return fingerprint_of_flags(parse_command("trajectories", argv), TRAJECTORIES)

    plain = fingerprint()
    same = ("--out=x", "--data-root=d", "--checkpoint=c", "--workers=3", "--runner=R", "--resume")
    assert fingerprint(*same, "--accelerator=a", "--max-reject-rate=1", "--max-clicks=5") == plain
    for flag in ("--max-clicks=6", "--seed=1", "--segmenter=sam", "--shapes-size=64x64"):
        assert fingerprint(flag) != plain


@pytest.mark.parametrize(
    ("command", "arguments", "read"),
    [
        ("trajectories", ["--data-root=~/data", "--out=~/out"], ("data_root", "/home/me/data")),
        ("trajectories", ["--checkpoint=~/sam.pth"], ("checkpoint", "/home/me/sam.pth")),
        ("trajectories", ["--segmenter-path=~/a"], ("segmenter_path", ["/home/me/a"])),
        ("trajectories", ["--out=gs://bucket/~/out"], ("out", "gs://bucket/~/out")),
        ("trajectories", ["--segmenter=~x"], ("segmenter", "~x")),
        ("stats", ["~/out"], ("run_folder", "/home/me/out")),
        ("score", ["~/predictions.json"], ("predictions", "/home/me/predictions.json")),
        ("compare", ["a=~/x", "~=~/y"], ("evaluations", ["a=/home/me/x", "~=/home/me/y"])),
        ("evaluate", ["--trained-on=~/x"], ("trained_on", ["/home/me/x"])),
        ("export", ["--from=~/x", "--prompt=~/p.txt"], ("prompt", "/home/me/p.txt")),
        ("train", ["--model=~/models/x"], ("model", "/home/me/models/x")),
    ],
)
def test_a_tilde_is_the_home_folder_in_every_path(
    command: str,
    arguments: list[str],
    read: tuple[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert getattr(parse_command(command, arguments), read[0]) == read[1]


def test_a_tilde_is_the_home_folder_in_a_recipe_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    words = arguments_of(flags_in(TRAJECTORIES)["data-root"], "~/data")
    assert parse_command("trajectories", words).data_root == "/home/me/data"
