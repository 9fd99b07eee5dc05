"""The actions of a prediction file: what the segmenter was asked at each step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import Box, Click, Undo, actions_in_effect

StepAction = Click | Box | Undo


def read_actions(path: str) -> dict[str, tuple[StepAction, ...]]:
    """Read the actions of each target of a file that `hlmat evaluate` wrote, by target id.

    Raises:
        DataError: the file cannot be read, or a step's `clicks` and `used_box` are not one action
            more, or with `is_undo` less, than those of the step before.
    """
    try:
        with open(path, "rb") as file:
            entries = json.load(file)
        return {
            entry["target_id"]: _actions(entry, f"{path}, entry {k}")
            for k, entry in enumerate(entries)
        }
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}; expected a prediction file") from error
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} does not record the actions ({type(error).__name__}: {error}); expected a "
            "predictions.json of hlmat evaluate"
        ) from error


def _actions(entry: Mapping[str, Any], place: str) -> tuple[StepAction, ...]:
    actions: list[StepAction] = []
    clicks: list[Click] = []
    box: Box | None = None
    for number, step in enumerate(entry["pred_list"]):
        given = [_click(each) for each in step["clicks"]]
        used = step["used_box"]
        drawn = None if used is None else Box(*(int(value) for value in used))
        action = _added(given, drawn, clicks=clicks, box=box)
        if step.get("is_undo") is True:
            action = Undo() if _is_back(actions, given, drawn) else None
        if action is None:
            raise DataError(
                f"{place}: the clicks and the box of step {number} are not those of the step "
                "before and one more; expected a predictions.json of hlmat evaluate"
            )
        actions.append(action)
        clicks, box = given, drawn
    return tuple(actions)


def _added(
    given: list[Click], drawn: Box | None, *, clicks: list[Click], box: Box | None
) -> Click | Box | None:
    """Return the one action that is new in a step; None if it is not one."""
    if len(given) == len(clicks) + 1 and given[:-1] == clicks and drawn == box:
        return given[-1]
    return drawn if given == clicks else None


def _is_back(actions: list[StepAction], given: list[Click], drawn: Box | None) -> bool:
    """Return whether the last action in effect is missing from a step, and nothing else."""
    before = actions_in_effect(actions)
    if not before:
        return False
    boxes = [action for action in before[:-1] if isinstance(action, Box)]
    clicks = [action for action in before[:-1] if isinstance(action, Click)]
    return given == clicks and drawn == (boxes[-1] if boxes else None)


def _click(value: Mapping[str, Any]) -> Click:
    row, column = value["coor"]
    if type(row) is not int or type(column) is not int:
        raise ValueError(f"a click at {row!r}, {column!r}, expected whole numbers")
    if type(value["is_positive"]) is not bool:
        raise ValueError(f"is_positive is {value['is_positive']!r}, expected true or false")
    return Click(column, row, value["is_positive"])
