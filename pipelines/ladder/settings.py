"""A recipe's `ladder.yaml`: what `hlmat ladder` trains, evaluates and compares."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge

from hlmat.pipelines.ladder.plan import DEFAULT_STEPS, LadderPlan
from hlmat.pipelines.recipes.flag_files import parse_flags
from hlmat.pipelines.recipes.recipe import Recipe, rl_recipe_names, with_recipe_flags
from hlmat.pipelines.settings.annotation_options import IOU_RANGE
from hlmat.pipelines.settings.evaluation_options import EVALUATE
from hlmat.pipelines.settings.flags import Flag, Group, arguments_of, flags_in
from hlmat.pipelines.settings.run_flags import DATA
from hlmat.pipelines.settings.training_options import StarPlusOptions
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.pipelines.settings.yaml_files import read_settings
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.options import options, setting
from hlmat.transforms.core.suggestions import did_you_mean
from hlmat.transforms.prompting.coordinates import CODECS
from hlmat.transforms.prompting.options import COLOURS
from hlmat.transforms.rollout.options import InitialAction

LADDER = "ladder.yaml"
UNTIL = "until"
"""The key of a set that names its last rung."""
SET_NAME = re.compile(r"(?!codec-|colour-)[a-z0-9][a-z0-9_-]*")


@options
class LadderFile:
    """The settings of `ladder.yaml` other than its sets."""

    stop_score: float = setting(
        default=0.9, gt=0, le=1, help="the model's score of a mask at which it stops"
    )
    search: int = setting(default=3, ge=2, help="clicks tried in each state")
    searches: tuple[Annotated[int, Ge(1)], ...] = setting(
        default=(), help="numbers of clicks tried in each state, to compare by their calls"
    )
    steps: tuple[Annotated[int, Ge(1)], ...] = setting(
        default=(), help=f"numbers of clicks of table 2 ({', '.join(map(str, DEFAULT_STEPS))})"
    )
    initial_actions: tuple[InitialAction, ...] = setting(
        default=(), help="actions before the first click, compared in table 5"
    )
    codecs: tuple[str, ...] = setting(
        default=(),
        choices=lambda: tuple(CODECS),
        help="coordinate codecs, each trained in addition to the recipe's",
    )
    mask_colours: tuple[str, ...] = setting(
        default=(),
        choices=lambda: tuple(COLOURS),
        help="mask colours, each trained in addition to the recipe's",
    )
    filter: tuple[float, float] | None = setting(
        default=None, help="IoU range of corrupted masks to score, as 0.5-0.9"
    )
    refine: tuple[float, float] | None = setting(
        default=None, help="IoU range of corrupted masks to refine, as 0.5-0.9"
    )
    reinforcement: str | None = setting(
        default=None, help="a recipe of hlmat rl, which trains the first model by its rollouts"
    )
    controls: tuple[Literal["shuffled"], ...] = setting(
        default=(), help="shuffled: ask the first model for other targets' expressions too"
    )

    def conflicts(self) -> Iterator[str]:
        """Yield the invalid ranges."""
        for name in ("filter", "refine"):
            bounds = getattr(self, name)
            if bounds is not None and not 0 <= bounds[0] < bounds[1] <= 1:
                yield f"{{{name}}}: expected LOW-HIGH with 0 <= LOW < HIGH <= 1, as 0.5-0.9"


def _key(name: str, owner: type = LadderFile, **more: Any) -> Flag:
    return Flag(name, owner, is_key=True, **more)


KEYS = Group(
    LADDER,
    (
        _key("rounds", StarPlusOptions),
        _key("rollout-limit", StarPlusOptions),
        _key("stop-score"),
        _key("search"),
        _key("searches"),
        _key("steps"),
        _key("initial-actions"),
        _key("codecs"),
        _key("mask-colours"),
        _key("filter", pair=IOU_RANGE),
        _key("refine", pair=IOU_RANGE),
        _key("reinforcement"),
        _key("controls"),
    ),
)


def read_plan(recipe: Recipe) -> LadderPlan:
    """Read a recipe's `ladder.yaml` and check it against the rest of the recipe.

    Raises:
        ConfigError: with every problem.
    """
    path = recipe.folder / LADDER
    if not path.is_file():
        raise ConfigError(
            [f"{path} is missing: it says what hlmat ladder compares; see train_recipes/README.md"]
        )
    problems: list[str] = []
    content = read_settings(path, problems=problems)
    check = Check()
    check.note_all([problem.removeprefix(f"{path}: ") for problem in problems])
    code = [f"--segmenter-path={folder}" for folder in recipe.segmenter_path]
    own = Values(
        parse_flags(
            "evaluate.yaml", with_recipe_flags(["evaluate", f"--recipe={recipe.folder}", *code])[1:]
        ),
        EVALUATE,
        check,
    )
    _check_recipe(own, check)
    values = Values(_read_keys(content, check), [KEYS], check)
    stars, found = values.build(StarPlusOptions), values.build(LadderFile)
    _check_own(found, own, check)
    if found.reinforcement is not None and found.reinforcement not in rl_recipe_names():
        check.note(
            f"reinforcement: {found.reinforcement!r} is no recipe of hlmat rl; "
            f"{did_you_mean(found.reinforcement, rl_recipe_names())}"
            f"choose from {', '.join(rl_recipe_names())}"
        )
    max_clicks = own.get("max-clicks")
    for step in found.steps:
        if step > max_clicks:
            check.note(f"steps {step}: evaluate.yaml lets a rollout make {max_clicks} clicks")
    steps = found.steps or tuple(step for step in DEFAULT_STEPS if step <= max_clicks)
    draws_boxes = parse_flags("export.yaml", recipe.export).first_box
    if InitialAction.POLICY_BOX in found.initial_actions and not draws_boxes:
        check.note(
            "initial-actions policy-box: the model is not taught to draw a box; add "
            "`first-box: true` to export.yaml or leave it out"
        )
    plan = LadderPlan(
        sets=_read_sets(content.get("sets"), check),
        last_rungs=_last_rungs(content.get("sets")),
        rounds=stars.rounds,
        rollout_limit=stars.rollout_limit,
        stop_score=found.stop_score,
        search=found.search,
        searches=tuple(sorted(set(found.searches))),
        finishes=bool(own.get("finish")),
        steps=tuple(sorted(set(steps))),
        own_action=str(own.get("initial-action")),
        initial_actions=tuple(map(str, dict.fromkeys(found.initial_actions))),
        codecs=tuple(dict.fromkeys(found.codecs)),
        mask_colours=tuple(dict.fromkeys(found.mask_colours)),
        filter=None if found.filter is None else IOU_RANGE.join(found.filter),
        refine=None if found.refine is None else IOU_RANGE.join(found.refine),
        reinforcement=found.reinforcement,
        shuffled="shuffled" in found.controls,
    )
    rungs = [measurement.name for measurement in plan.rungs()]
    for name, rung in plan.last_rungs.items():
        if rung not in rungs:
            check.note(
                f"sets: {name}: until: {rung!r} is no rung of this ladder; "
                f"{did_you_mean(str(rung), rungs)}choose from {', '.join(rungs)}"
            )
    if check.problems:
        raise ConfigError([f"{path}: {p}" for p in dict.fromkeys(check.problems)])
    return plan


def _read_keys(content: Mapping[str, Any], check: Check) -> argparse.Namespace:
    """Return the file's values as flag texts."""
    flags = flags_in([KEYS])
    found: dict[str, Any] = {}
    for key, value in content.items():
        if key == "sets":
            continue
        if key not in flags:
            known = ("sets", *flags)
            check.note(
                f"{key} is unknown; {did_you_mean(key, known)}choose from {', '.join(known)}"
            )
        elif value is None:
            continue
        elif flags[key].is_repeatable and not isinstance(value, list):
            check.note(f"{key} is {value!r}, expected a list, as [a, b]")
        else:
            argv = check.built(lambda f=flags[key], v=value: arguments_of(f, v))
            texts = [argument.partition("=")[2] for argument in argv or ()]
            if texts:
                found[flags[key].dest] = texts if flags[key].is_repeatable else texts[0]
    return argparse.Namespace(**found)


def _check_recipe(own: Values, check: Check) -> None:
    """Report why the recipe's evaluation cannot be the first rung of the ladder."""
    if not own.get("score"):
        check.note(
            "a ladder needs a model that scores its masks, and export.yaml teaches no score; add "
            "`score: true` or the task prm there"
        )
    if own.get("stop-score") is not None:
        check.note(
            f"evaluate.yaml says stop-score {own.get('stop-score'):g}, so that no rung would be "
            "without; move it here"
        )
    if own.get("policy") != "mllm":
        check.note(
            f"evaluate.yaml says policy {own.get('policy')}; a ladder asks the models that it "
            "trains, which is the policy mllm"
        )


def _check_own(found: LadderFile, own: Values, check: Check) -> None:
    """Report anything that would be compared with itself."""
    for key, names, flag in (
        ("codecs", found.codecs, "codec"),
        ("mask-colours", found.mask_colours, "mask-colour"),
    ):
        if own.get(flag) in names:
            check.note(
                f"{key} {own.get(flag)} is the recipe's own, with which the others are compared"
            )


def _read_sets(value: Any, check: Check) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict) or not value:
        check.note(
            "sets is missing: name one set of held-out targets or more, each with flags of hlmat "
            "evaluate on the data set, as `simple: {shapes-difficulty: simple}`"
        )
        return {}
    sets = {}
    for name, flags in value.items():
        if not isinstance(name, str) or not SET_NAME.fullmatch(name):
            check.note(
                f"sets: {name!r} cannot be a folder's name; use small letters, digits, - and _, "
                "and do not begin with codec- or colour-"
            )
        elif not isinstance(flags, dict | None):
            check.note(f"sets: {name}: expected `flag: value`, got {flags!r}")
        else:
            sets[name] = tuple(_set_flags(name, flags or {}, check))
    return sets


def _last_rungs(sets: Any) -> dict[str, Any]:
    """Return the last rung of each set that names one."""
    found = sets.items() if isinstance(sets, dict) else ()
    return {
        name: flags[UNTIL] for name, flags in found if isinstance(flags, dict) and UNTIL in flags
    }


def _set_flags(name: str, values: Mapping[Any, Any], check: Check) -> list[str]:
    known = flags_in([DATA])
    argv = []
    for flag, value in values.items():
        if flag == UNTIL:
            continue
        if flag not in known:
            check.note(
                f"sets: {name}: {flag} is not a flag of hlmat evaluate on the data set; "
                f"{did_you_mean(str(flag), known)}choose from {', '.join(known)}"
            )
        elif value is None or isinstance(value, bool | dict | list):
            check.note(f"sets: {name}: {flag} is {value!r}, expected text or a number")
        else:
            argv.append(f"--{flag}={value}")
    return argv
