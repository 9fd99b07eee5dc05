"""The rows of a click log: what is read, what is rejected with its line, what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.readers.click_logs.csv_log import parse_csv_log
from hlmat.transforms.readers.click_logs.rclicks import parse_rclicks_log
from hlmat.transforms.readers.click_logs.records import LoggedClick

HEADER = "mask,click,x,y,positive,image,previous_mask\n"
RCLICKS = "dataset,full_stem,image_stem,object_stem,click_type,model_type,device,x,y,w,h\n"


def parse(rows: str, header: str = HEADER, *, has_dataset: bool = False) -> Any:
    return parse_csv_log(header + rows, name="log.csv", has_dataset=has_dataset)


def test_the_cells_of_a_click() -> None:
    log = parse("a.png,1,3.5,4,1,,\n\n b.png ,2,0,7e0,FALSE,cup,p.png\n")
    assert log.clicks == (
        LoggedClick(2, 3.5, 4, True, 1, "a.png", is_mask=True),
        LoggedClick(4, 0, 7, False, 2, "b.png", True, "cup", "p.png"),
    )
    assert log.rejects == ()


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_order_case_and_further_columns_do_not_matter(separator: str) -> None:
    header = separator.join(["Y", " x", "note", "Positive", "CLICK", "target"]) + "\n"
    row = separator.join(["4", "3", "=1+1", "true", "1", "id#0"]) + "\n"
    assert parse(row, header, has_dataset=True).clicks == (LoggedClick(2, 3, 4, True, 1, "id#0"),)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,1,nan,4,1", "x is 'nan', expected a number of pixels"),
        ("a.png,1,inf,4,1", "x is 'inf', expected a number of pixels"),
        ("a.png,1,3,1e9,1", "y is '1e9', expected a number of pixels"),
        ("a.png,1,1_0,4,1", "x is '1_0', expected a number of pixels"),
        ("a.png,1,,4,1", "x is '', expected a number of pixels"),
        ("a.png,1,=A1,4,1", "x is the formula '=A1'; save values, not formulas"),
        ("a.png,1,+SUM(A1),4,1", "x is '+SUM(A1)', expected a number of pixels"),
        ("@cmd,1,3,4,1", "mask is the formula '@cmd'"),
        ("a.png,0,3,4,1", "click is '0', expected a whole number from 1 on"),
        ("a.png,1.5,3,4,1", "click is '1.5', expected a whole number from 1 on"),
        ("a.png,1,3,4,yes", "positive is 'yes', expected 1, 0, true or false"),
        ("a.png,1,3", "y is '', expected a number of pixels"),
        (",1,3,4,1", "mask is empty"),
        ("a.png,1,3,4,1,,,8", "it has more cells than the first line"),
    ],
)
def test_a_row_that_cannot_be_read_is_rejected_with_its_line(row: str, message: str) -> None:
    log = parse(f"good.png,1,1,1,1\n{row}\ngood.png,1,2,2,1\n")
    assert [click.line for click in log.clicks] == [2, 4]
    (reject,) = log.rejects
    assert (reject.line, reject.reason.value) == (3, "malformed_row")
    assert reject.message.startswith(message)


@pytest.mark.parametrize(
    ("text", "has_dataset", "message"),
    [
        ("", False, "log.csv: the columns click, x, y, positive are missing; the first line names"),
        ("mask,click,x,y\n", False, "log.csv: the column positive is missing; the first line"),
        ("x,y,click,positive\n1,1,1,1\n", False, "the column mask is missing; add the path"),
        ("x,y,click,positive,target\n1,1,1,1,t\n", False, "name the data set of the target ids"),
        ("x,y,click,positive,mask\n1,1,1,1,t\n", True, "the column target is missing"),
        ("x,y,click,positive,X\n1,1,1,1,t\n", True, "the first line names 'x' twice; keep one"),
        (f'{HEADER}"a.png\n', False, "log.csv, line 2 is not CSV: unexpected end of data"),
    ],
)
def test_a_file_that_is_no_log_is_refused(text: str, has_dataset: bool, message: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_csv_log(text, name="log.csv", has_dataset=has_dataset)
    assert message in str(caught.value)


@given(st.text())
def test_any_text_gives_clicks_rejects_or_a_data_error(text: str) -> None:
    for whole in (text, HEADER + text, RCLICKS + text):
        for parser in (
            lambda t: parse_csv_log(t, name="l", has_dataset=False),
            lambda t: parse_rclicks_log(t, name="l", dataset="davis"),
        ):
            try:
                log = parser(whole)
            except DataError:
                continue
            assert all(math.isfinite(c.x) and math.isfinite(c.y) for c in log.clicks)


def test_the_log_of_rclicks() -> None:
    rows = (
        "DAVIS,cat,cat,,first,,pc,30,20,200,100\n"
        "TETRIS,dog,dog,2,first,,pc,30,20,200,100\n"
        "DAVIS,cat_sam_fp_pc_3,cat,3,fp,sam,pc,250,-4,200,100\n"
        "DAVIS,cat_sam_fn_pc_3,cat,3,fn,sam,pc,1,1,200,100\n"
        "DAVIS,cat,cat,,other,,pc,30,20,200,100\n"
        "DAVIS,cat,cat,,first,,pc,30,20,0,100\n"
        "DAVIS,,cat,,first,,pc,30,20,0,100\n"
    )
    log = parse_rclicks_log(RCLICKS + rows, name="clicks.csv", dataset="davis")
    size = (200.0, 100.0)
    assert log.clicks == (
        LoggedClick(2, 30, 20, True, 1, "cat", False, "cat", "", size),
        LoggedClick(4, 199, 0, False, 2, "cat#3", False, "cat", "cat_sam_fp_pc_3.png", size),
        LoggedClick(5, 1, 1, True, 2, "cat#3", False, "cat", "cat_sam_fn_pc_3.png", size),
    )
    assert log.skipped == 1
    assert [(r.line, r.message) for r in log.rejects] == [
        (6, "click_type is 'other', expected first, fn or fp"),
        (7, "w and h are 0 and 100, expected the size of an image"),
        (8, "full_stem is empty"),
    ]
    with pytest.raises(DataError, match="the columns dataset, full_stem, image_stem"):
        parse_rclicks_log(HEADER, name="clicks.csv", dataset="davis")
