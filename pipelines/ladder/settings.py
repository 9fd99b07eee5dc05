"""A recipe's `ladder.yaml`: what `hlmat ladder` trains, evaluates and compares."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hlmat.pipelines.ladder.plan import DEFAULT_STEPS, LadderPlan
from hlmat.pipelines.recipes.recipe import Recipe, parse_flags, with_recipe_flags
from hlmat.pipelines.settings.run_options import add_data_arguments
from hlmat.pipelines.settings.validation import ArgumentParser, Check
from hlmat.pipelines.settings.yaml_files import read_settings
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.suggestions import did_you_mean
from hlmat.transforms.prompting.coordinates import CODECS
from hlmat.transforms.prompting.overlay import COLOURS
from hlmat.transforms.rollout.options import InitialAction

LADDER = "ladder.yaml"

_KEYS = (
    *("sets", "rounds", "rollout-limit", "stop-score", "search", "steps"),
    *("initial-actions", "codecs", "mask-colours", "filter", "refine"),
)
_RANGE = re.compile(r"(\d*\.?\d+)-(\d*\.?\d+)")
_SET_NAME = re.compile(r"(?!codec-|colour-)[a-z0-9][a-z0-9_-]*")


def read_plan(recipe: Recipe) -> LadderPlan:
    """Read a recipe's `ladder.yaml` and hold it against the rest of the recipe.

    Raises:
        ConfigError: with every problem.
    """
    path = recipe.folder / LADDER
    if not path.is_file():
        raise ConfigError(
            [f"{path} is missing: it says what hlmat ladder compares; see train_recipes/README.md"]
        )
    problems: list[str] = []
    values = read_settings(path, problems=problems)
    check = Check()
    check.note_all([problem.removeprefix(f"{path}: ") for problem in problems])
    for key in values:
        if key not in _KEYS:
            check.note(
                f"{key} is unknown; {did_you_mean(key, _KEYS)}choose from {', '.join(_KEYS)}"
            )
    own = parse_flags(
        "evaluate.yaml", with_recipe_flags(["evaluate", f"--recipe={recipe.folder}"])[1:]
    )
    _check_recipe(own, check)
    max_clicks = int(own.max_clicks)
    plan = LadderPlan(
        sets=_read_sets(values.get("sets"), check),
        rounds=_integer(values, "rounds", check, default=1),
        rollout_limit=_integer(values, "rollout-limit", check, default=None),
        stop_score=_stop_score(values, check),
        search=_integer(values, "search", check, default=3, at_least=2),
        steps=_steps(values, check, max_clicks=max_clicks),
        own_action=own.initial_action,
        initial_actions=_choices(values, "initial-actions", list(InitialAction), check),
        codecs=_choices(values, "codecs", list(CODECS), check, own=own.codec),
        mask_colours=_choices(values, "mask-colours", list(COLOURS), check, own=own.mask_colour),
        filter=_range(values, "filter", check),
        refine=_range(values, "refine", check),
    )
    draws_boxes = parse_flags("export.yaml", recipe.export).first_box
    if InitialAction.POLICY_BOX in plan.initial_actions and not draws_boxes:
        check.note(
            "initial-actions policy-box: the model is not taught to draw a box; add "
            "`first-box: true` to export.yaml or leave it out"
        )
    if check.problems:
        raise ConfigError([f"{path}: {problem}" for problem in check.problems])
    return plan


def _check_recipe(own: Any, check: Check) -> None:
    """Note why the recipe's evaluation cannot be climbed on from."""
    if not own.score:
        check.note(
            "a ladder needs a model that scores its masks, and export.yaml teaches no score; add "
            "`score: true` or the task prm there"
        )
    if own.stop_score is not None:
        check.note(
            f"evaluate.yaml says stop-score {own.stop_score}, so that no rung would be without; "
            "move it here"
        )
    if own.policy != "mllm":
        check.note(
            f"evaluate.yaml says policy {own.policy}; a ladder asks the models that it trains, "
            "which is the policy mllm"
        )


def _read_sets(value: Any, check: Check) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict) or not value:
        check.note(
            "sets is missing: name one set of held-out targets or more, each with flags of hlmat "
            "evaluate on the data set, as `simple: {shapes-difficulty: simple}`"
        )
        return {}
    parser = ArgumentParser(add_help=False)
    add_data_arguments(parser)
    known = [flag[2:] for action in parser._actions for flag in action.option_strings]
    sets = {}
    for name, flags in value.items():
        if not isinstance(name, str) or not _SET_NAME.fullmatch(name):
            check.note(
                f"sets: {name!r} is no name of a folder; use small letters, digits, - and _, and "
                "no codec- or colour- at its beginning"
            )
        elif not isinstance(flags, dict | None):
            check.note(f"sets: {name}: expected `flag: value`, got {flags!r}")
        else:
            sets[name] = tuple(_set_flags(name, flags or {}, known, check))
    return sets


def _set_flags(
    name: str, flags: Mapping[Any, Any], known: Sequence[str], check: Check
) -> list[str]:
    argv = []
    for flag, value in flags.items():
        if flag not in known:
            check.note(
                f"sets: {name}: {flag} is no flag of hlmat evaluate on the data set; "
                f"{did_you_mean(str(flag), known)}choose from {', '.join(known)}"
            )
        elif value is None or isinstance(value, bool | dict | list):
            check.note(f"sets: {name}: {flag} is {value!r}, expected text or a number")
        else:
            argv.append(f"--{flag}={value}")
    return argv


def _integer(
    values: Mapping[str, Any], key: str, check: Check, *, default: Any, at_least: int = 1
) -> Any:
    if values.get(key) is None:
        return default
    return check.integer(key, str(values[key]), at_least=at_least) or default


def _stop_score(values: Mapping[str, Any], check: Check) -> float:
    score = check.fraction("stop-score", str(values.get("stop-score", 0.9)))
    if score == 0:
        check.note("stop-score 0: must be above 0")
    return score or 0.9


def _steps(values: Mapping[str, Any], check: Check, *, max_clicks: int) -> tuple[int, ...]:
    if values.get("steps") is None:
        return tuple(step for step in DEFAULT_STEPS if step <= max_clicks)
    steps = [check.integer("steps", text, at_least=1) for text in _texts(values, "steps", check)]
    for step in steps:
        if step is not None and step > max_clicks:
            check.note(f"steps {step}: evaluate.yaml lets a rollout make {max_clicks} clicks")
    return tuple(sorted({step for step in steps if step is not None}))


def _choices(
    values: Mapping[str, Any],
    key: str,
    choices: Sequence[str],
    check: Check,
    *,
    own: str | None = None,
) -> tuple[str, ...]:
    found = []
    for text in dict.fromkeys(_texts(values, key, check)):
        if own is not None and text == own:
            check.note(f"{key} {text} is the recipe's own, with which the others are compared")
        elif check.choice(key, text, list(map(str, choices))) is not None:
            found.append(text)
    return tuple(found)


def _texts(values: Mapping[str, Any], key: str, check: Check) -> list[str]:
    value = values.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        check.note(f"{key} is {value!r}, expected a list, as [a, b]")
        return []
    return [str(each) for each in value]


def _range(values: Mapping[str, Any], key: str, check: Check) -> str | None:
    if values.get(key) is None:
        return None
    text = str(values[key])
    bounds = _RANGE.fullmatch(text)
    if bounds is None or not 0 <= float(bounds[1]) < float(bounds[2]) <= 1:
        check.note(f"{key} {text!r}: expected LOW-HIGH with 0 <= LOW < HIGH <= 1, as 0.5-0.9")
    return text
