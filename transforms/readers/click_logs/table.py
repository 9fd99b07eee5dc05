"""A CSV file's rows as texts by column, and the values in its cells."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence

from hlmat.transforms.core.errors import DataError

MAX_COORDINATE = 1e6


class CellError(ValueError):
    """A cell that cannot be read, in words."""


def read_rows(
    text: str, *, name: str, required: Sequence[str]
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield each row with its line, from 1; blank lines are left out.

    Commas, semicolons or tabs separate the columns; names of columns are read without regard to
    case and outer spaces. A cell is what the file has, without outer spaces; "" for a missing one.

    Args:
        text: the file's content.
        name: of the file, for messages.
        required: columns that it must have.

    Raises:
        DataError: it is not CSV, has no header, lacks a column, or names one twice.
    """
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    try:
        header = [column.strip().casefold() for column in next(reader, [])]
        missing = [column for column in required if column not in header]
        if missing:
            raise DataError(
                f"{name}: the column{'s' if len(missing) > 1 else ''} {', '.join(missing)} "
                f"{'are' if len(missing) > 1 else 'is'} missing; the first line names "
                f"{', '.join(repr(c)[:40] for c in header[:20]) or 'nothing'}, see "
                "docs/human_clicks.md"
            )
        doubled = sorted({column for column in header if column and header.count(column) > 1})
        if doubled:
            raise DataError(f"{name}: the first line names {doubled[0]!r:.40} twice; keep one")
        for cells in reader:
            if any(cell.strip() for cell in cells):
                padded = [*cells, *[""] * (len(header) - len(cells))]
                row = {c: cell.strip() for c, cell in zip(header, padded, strict=False)}
                row[""] = "more" if any(cells[len(header) :]) else ""
                yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{name}, line {reader.line_num} is not CSV: {error}") from error


def check_cells(row: Mapping[str, str]) -> None:
    """Refuse a row with more cells than columns, or with a formula.

    Raises:
        CellError: what is wrong.
    """
    if row.get(""):
        raise CellError("it has more cells than the first line; put quotes around commas")
    for column, cell in row.items():
        if cell.startswith(("=", "@")):
            raise CellError(f"{column} is the formula {cell!r:.40}; save values, not formulas")


def number(row: Mapping[str, str], column: str) -> float:
    """Read a coordinate or size.

    Raises:
        CellError: it is not a finite number, or far beyond any image.
    """
    cell = row[column]
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > MAX_COORDINATE or "_" in cell:
        raise CellError(f"{column} is {cell!r:.40}, expected a number of pixels")
    return value


def whole_number(row: Mapping[str, str], column: str) -> int:
    """Read a number of a click.

    Raises:
        CellError: it is not a whole number from 1 on.
    """
    cell = row[column]
    if not re.fullmatch(r"[0-9]{1,6}(?:\.0*)?", cell, re.ASCII) or float(cell) < 1:
        raise CellError(f"{column} is {cell!r:.40}, expected a whole number from 1 on")
    return int(float(cell))


def truth_value(row: Mapping[str, str], column: str) -> bool:
    """Read a yes or no.

    Raises:
        CellError: it is neither.
    """
    match row[column].casefold():
        case "1" | "true":
            return True
        case "0" | "false":
            return False
    raise CellError(f"{column} is {row[column]!r:.40}, expected 1, 0, true or false")
