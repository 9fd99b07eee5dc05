"""This project's own form of a click log, a CSV file."""

from __future__ import annotations

from collections.abc import Mapping

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.readers.click_logs.records import (
    ClickLog,
    LoggedClick,
    RejectedRow,
    RowReason,
)
from hlmat.transforms.readers.click_logs.table import (
    CellError,
    check_cells,
    number,
    read_rows,
    truth_value,
    whole_number,
)

REQUIRED = ("click", "x", "y", "positive")
OPTIONAL = ("target", "mask", "image", "previous_mask")


def parse_csv_log(text: str, *, name: str, has_dataset: bool) -> ClickLog:
    """Read a click log.

    Args:
        text: the file's content.
        name: of the file, for messages.
        has_dataset: whether the column `target` can be looked up; else `mask` names the object.

    Raises:
        DataError: it is not such a file.
    """
    object_column = "target" if has_dataset else "mask"
    clicks, rejects = [], []
    for line, row in read_rows(text, name=name, required=REQUIRED):
        if object_column not in row:
            raise DataError(_no_object(name, has_target="target" in row, has_dataset=has_dataset))
        try:
            clicks.append(_click(line, row, object_column))
        except CellError as error:
            rejects.append(RejectedRow(line, RowReason.MALFORMED_ROW, str(error)))
    return ClickLog(tuple(clicks), tuple(rejects))


def _click(line: int, row: Mapping[str, str], object_column: str) -> LoggedClick:
    known = {column: row.get(column, "") for column in ("", *REQUIRED, *OPTIONAL)}
    check_cells(known)
    if not known[object_column]:
        raise CellError(f"{object_column} is empty")
    return LoggedClick(
        line=line,
        x=number(known, "x"),
        y=number(known, "y"),
        is_positive=truth_value(known, "positive"),
        click=whole_number(known, "click"),
        target=known[object_column],
        is_mask=object_column == "mask",
        image=known["image"],
        previous_mask=known["previous_mask"],
    )


def _no_object(name: str, *, has_target: bool, has_dataset: bool) -> str:
    if has_dataset:
        return f"{name}: the column target is missing, whose ids --dataset looks up; add it"
    if has_target:
        return (
            f"{name}: the column mask is missing; add it, or name the data set of the target ids "
            "with --dataset"
        )
    return (
        f"{name}: the column mask is missing; add the path of each object's mask, or target ids "
        "with --dataset"
    )
