"""The click log of RClicks, `clicks.csv` (Antonov et al., NeurIPS 2024).

The authors' repository, github.com/emb-ai/rclicks, publishes the code that reads the file; the
columns and their meaning here are those of that code. The log has the clicks on TETRIS (Moskalenko
et al., AAAI 2024) too.

- `dataset`: GrabCut, Berkeley, DAVIS, COCO (COCO-MVal) or TETRIS.
- `full_stem`: one for each task that people saw; of later rounds also the name of the mask that
  they saw, with `.png`.
- `image_stem`, `object_stem`: the image's file name without its suffix, and the object's value in
  the image's mask; "" where there is one object.
- `click_type`: `first`, or in a later round `fn` for a click on missed pixels and `fp` for one on
  wrongly included ones.
- `x`, `y`, `w`, `h`: the click, and the size of the image as it was shown.
"""

from __future__ import annotations

from collections.abc import Mapping

from hlmat.transforms.readers.click_logs.records import (
    ClickLog,
    LoggedClick,
    RejectedRow,
    RowReason,
)
from hlmat.transforms.readers.click_logs.table import CellError, check_cells, number, read_rows

REQUIRED = (
    *("dataset", "full_stem", "image_stem", "object_stem", "click_type"),
    *("x", "y", "w", "h"),
)
DATASETS: Mapping[str, str] = {
    "grabcut": "GrabCut",
    "berkeley": "Berkeley",
    "davis": "DAVIS",
    "coco_mval": "COCO",
    "folder": "TETRIS",
}
"""What the log calls a data set, by its `--dataset` name; TETRIS is read as a folder."""


def parse_rclicks_log(text: str, *, name: str, dataset: str) -> ClickLog:
    """Read the clicks on one data set.

    A click's target is the image's stem, with "#" and the object's value where there is one. Clicks
    beyond the image's edge are moved to it, as the authors' code does.

    Args:
        text: the file's content.
        name: of the file, for messages.
        dataset: a key of `DATASETS`.

    Raises:
        DataError: it is not such a file.
    """
    clicks: list[LoggedClick] = []
    rejects: list[RejectedRow] = []
    skipped = 0
    for line, row in read_rows(text, name=name, required=REQUIRED):
        if row["dataset"] != DATASETS[dataset]:
            skipped += 1
            continue
        try:
            clicks.append(_click(line, row))
        except CellError as error:
            rejects.append(RejectedRow(line, RowReason.MALFORMED_ROW, str(error)))
    return ClickLog(tuple(clicks), tuple(rejects), skipped)


def _click(line: int, row: Mapping[str, str]) -> LoggedClick:
    known = {column: row[column] for column in ("", *REQUIRED)}
    check_cells(known)
    for column in ("full_stem", "image_stem"):
        if not known[column]:
            raise CellError(f"{column} is empty")
    kind = known["click_type"]
    if kind not in ("first", "fn", "fp"):
        raise CellError(f"click_type is {kind!r:.40}, expected first, fn or fp")
    width, height = number(known, "w"), number(known, "h")
    if width < 1 or height < 1:
        raise CellError(f"w and h are {width:g} and {height:g}, expected the size of an image")
    stem, value = known["image_stem"], known["object_stem"]
    return LoggedClick(
        line=line,
        x=min(max(number(known, "x"), 0), width - 1),
        y=min(max(number(known, "y"), 0), height - 1),
        is_positive=kind != "fp",
        click=1 if kind == "first" else 2,
        target=f"{stem}#{value}" if value else stem,
        image=stem,
        previous_mask="" if kind == "first" else f"{known['full_stem']}.png",
        size_wh=(width, height),
    )
