"""The actions of a prediction file: what the segmenter was asked at each step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import Box, Click


def read_actions(path: str) -> dict[str, tuple[Click | Box, ...]]:
    """Read the actions of each target of a file that `hlmat evaluate` wrote, by target id.

    Raises:
        DataError: the file cannot be read, or a step's `clicks` and `used_box` are not one action
            more than those of the step before.
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


def _actions(entry: Mapping[str, Any], place: str) -> tuple[Click | Box, ...]:
    actions: list[Click | Box] = []
    clicks: list[Click] = []
    for number, step in enumerate(entry["pred_list"]):
        given = [_click(each) for each in step["clicks"]]
        if given == clicks and step["used_box"] is not None and number == 0:
            x0, y0, x1, y1 = (int(value) for value in step["used_box"])
            actions.append(Box(x0, y0, x1, y1))
        elif given[:-1] == clicks and len(given) == len(clicks) + 1:
            actions.append(given[-1])
        else:
            raise DataError(
                f"{place}: the clicks of step {number} are not those of the step before and one "
                "more; expected a predictions.json of hlmat evaluate"
            )
        clicks = given
    return tuple(actions)


def _click(value: Mapping[str, Any]) -> Click:
    row, column = value["coor"]
    if type(row) is not int or type(column) is not int:
        raise ValueError(f"a click at {row!r}, {column!r}, expected whole numbers")
    if type(value["is_positive"]) is not bool:
        raise ValueError(f"is_positive is {value['is_positive']!r}, expected true or false")
    return Click(column, row, value["is_positive"])
