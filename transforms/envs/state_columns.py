"""Write states as text columns of a data set and read them back for rewards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Box, Click, Rle, Trajectory
from hlmat.transforms.masks.rle import MAX_PIXELS, decode_rle, rle_problem

COLUMNS = ("target_id", "expression", "clicks", "mask")
"""Columns of each row that `state_columns` returns."""


def state_columns(trajectory: Trajectory) -> list[dict[str, str]]:
    """Return one row per click that a policy chose, with the state before the click.

    All values are text: `target_id`, `expression` (the target's first), `clicks` (see
    `write_clicks`) and `mask` (see `write_mask`).

    Raises:
        DataError: the trajectory has a box, a state that clicks alone cannot reproduce.
    """
    target_id = trajectory.target.ref.target_id
    rows: list[dict[str, str]] = []
    for index, step in enumerate(trajectory.steps):
        if isinstance(step.action, Box):
            raise DataError(
                f"{target_id} has {step.action}, but rewards replay clicks from an empty mask; "
                "make trajectories with --initial-action none and without --add-box"
            )
        if isinstance(step.action, Click) and not step.is_initial:
            rows.append(
                {
                    "target_id": target_id,
                    "expression": trajectory.target.ref.expressions[0],
                    "clicks": write_clicks(trajectory.clicks_before(index)),
                    "mask": write_mask(trajectory.mask_before(index)),
                }
            )
    return rows


def write_clicks(clicks: Sequence[Click]) -> str:
    """Write clicks, oldest first, as JSON.

    >>> write_clicks([Click(3, 5, True)])
    '[[3, 5, true]]'
    """
    return json.dumps([[click.x, click.y, click.is_positive] for click in clicks])


def read_clicks(text: Any) -> tuple[Click, ...]:
    """Read the output of `write_clicks`; None and "" mean no clicks.

    Raises:
        DataError: anything else.
    """
    if text is None or text == "":
        return ()
    clicks = _parsed(text)
    is_list = isinstance(clicks, list)
    if not is_list or not all(_is_click(click) for click in clicks):
        raise DataError(f"clicks {text!r}: expected JSON such as [[x, y, true], ...], oldest first")
    return tuple(Click(x, y, is_positive) for x, y, is_positive in clicks)


def write_mask(rle: Rle | None) -> str:
    """Write a mask as JSON of a compressed COCO run-length encoding; "" for None.

    >>> write_mask(Rle("0d1", (4, 13)))
    '{"size": [4, 13], "counts": "0d1"}'
    """
    return "" if rle is None else json.dumps({"size": list(rle.size_hw), "counts": rle.counts})


def read_mask(text: Any) -> Mask | None:
    """Read the output of `write_mask`; None for None and "".

    Returns:
        bool. Shape: (H, W), the size in the text.

    Raises:
        DataError: anything else, or run lengths that do not fit that size.
    """
    if text is None or text == "":
        return None
    match _parsed(text):
        case {"size": [int(height), int(width)], "counts": str(counts)} if (
            height > 0 and width > 0 and height * width <= MAX_PIXELS
        ):
            problem = rle_problem(counts, (height, width))
            if problem is not None:
                raise DataError(f"column mask: {problem}")
            return decode_rle(Rle(counts, (height, width)))
    raise DataError(
        f'mask {text!r}: expected JSON such as {{"size": [height, width], "counts": "..."}}'
    )


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return None


def _is_click(value: Any) -> bool:
    match value:
        case [int(x), int(y), bool()]:
            return not isinstance(x, bool) and not isinstance(y, bool) and x >= 0 and y >= 0
    return False
