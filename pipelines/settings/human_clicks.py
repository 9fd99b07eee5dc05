"""The flags of the policy `human`, for the commands that roll it out."""

from __future__ import annotations

from hlmat.pipelines.settings.flags import Flag, Group
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.transforms.core.errors import ConfigError, DataError
from hlmat.transforms.core.url_storage import url_problem
from hlmat.transforms.policies.human_options import (
    ALL_DECILES,
    HumanClickOptions,
    HumanClicks,
    load_click_model,
)

HUMAN = "human"
_DECILE = "human: only clicks of this tenth of the probability, from 1, the least likely, to 10"
CLICK_MODEL = Flag("click-model", HumanClickOptions)
CLICK_DECILE = Flag("click-decile", HumanClickOptions, help=_DECILE)
EVALUATED_CLICKS = Group(
    "people's clicks",
    (
        CLICK_MODEL,
        Flag("click-decile", HumanClickOptions, help=f"{_DECILE}; all evaluates each of them"),
    ),
)


def read_human_clicks(
    values: Values, check: Check, *, policy: str, allows_all: bool = False
) -> HumanClicks | None:
    """Return what the policy `human` is built from; None for other policies.

    Args:
        values: of flags that contain `CLICK_MODEL` and `CLICK_DECILE`.
        check: collects the problems.
        policy: the name that `--policy` gives.
        allows_all: whether the command evaluates every decile; the result then names none.
    """
    if policy != HUMAN:
        for name in ("click-model", "click-decile"):
            if values.is_given(name):
                check.note(f"--{name} goes with --policy human, not {policy}; leave it out")
        return None
    given = values.build(HumanClickOptions)
    decile = None
    if given.click_decile == ALL_DECILES:
        if not allows_all:
            check.note(
                "--click-decile all: a run has one decile; choose from 1 to 10, or evaluate all "
                "with hlmat evaluate"
            )
    elif given.click_decile is not None:
        decile = int(given.click_decile)
    if (problem := url_problem(given.click_model)) is not None:
        check.note(problem)
        return None
    try:
        return HumanClicks(load_click_model(given.click_model), decile)
    except ConfigError as error:
        check.note_all(error.problems)
    except DataError as error:
        check.note(f"--click-model {error}")
    return None
