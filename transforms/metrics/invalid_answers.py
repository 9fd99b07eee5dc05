"""Why rollouts ended at an answer of the model that is not an action."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from hlmat.transforms.core.records import StopReason, Trajectory

MANY = 0.1
"""Invalid answers are worth a remark if they end at least this share of the rollouts."""
_SHOWN_CHARACTERS = 160
SHOWN_FORMS = 10
"""Forms of invalid answers in a report."""
_REASONING = re.compile(r"(<think>).*?(</think>)", re.DOTALL)
# What differs between answers of one kind: quoted parts, places and numbers.
_DETAILS = re.compile(r"'[^']*'|\"[^\"]*\"|\([^()]*\)|-?\d+(?:\.\d+)?")


def invalid_causes(trajectories: Iterable[Trajectory]) -> dict[str, int]:
    """Count the causes of invalid answers, most frequent first.

    Causes that differ only in quoted parts and numbers are counted together, under the first of
    them.
    """
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for trajectory in trajectories:
        if trajectory.stop_reason is StopReason.INVALID_ACTION:
            cause = " ".join((trajectory.stop_detail or "not recorded").split())
            kind = _DETAILS.sub("#", cause)
            counts[kind] += 1
            first.setdefault(kind, cause[:_SHOWN_CHARACTERS])
    return {first[kind]: count for kind, count in counts.most_common()}


def invalid_forms(trajectories: Iterable[Trajectory]) -> dict[str, int]:
    """Count the `SHOWN_FORMS` most frequent forms of invalid answers, most frequent first.

    A form is an answer in one line, with # for each run of digits and without its reasoning, cut
    off after 160 characters. Equally frequent ones are ordered by their text.
    """
    counts = Counter(
        answer_form(trajectory.last_answer)
        for trajectory in trajectories
        if trajectory.stop_reason is StopReason.INVALID_ACTION
        and trajectory.last_answer is not None
    )
    ordered = sorted(counts.items(), key=lambda found: (-found[1], found[0]))
    return dict(ordered[:SHOWN_FORMS])


def answer_form(text: str) -> str:
    """Return the common form of answers that differ only in numbers and reasoning.

    >>> answer_form("<think>It is left.</think>\\nClick at (12, 345)!")
    '<think>...</think> Click at (#, #)!'
    """
    # After the last end there is nothing to replace, and looking from each start would take long.
    head, end, tail = text.rpartition("</think>")
    text = _REASONING.sub(r"\1...\2", head + end) + tail
    form = re.sub(r"[0-9]+", "#", " ".join(text.split()))
    return form if len(form) <= _SHOWN_CHARACTERS else form[:_SHOWN_CHARACTERS] + "..."


def remark_on_invalid(causes: Mapping[str, int], *, rollouts: int) -> str | None:
    """Return a sentence on the most frequent cause if many rollouts ended this way, else None.

    >>> remark_on_invalid({"the answer is empty": 3}, rollouts=9)
    '3 of 9 rollouts ended at an invalid answer; most frequent cause (3): the answer is empty'
    """
    invalid = sum(causes.values())
    if not rollouts or invalid < MANY * rollouts:
        return None
    cause, count = next(iter(causes.items()))
    return (
        f"{invalid} of {rollouts} rollouts ended at an invalid answer; most frequent cause "
        f"({count}): {cause}"
    )
