from __future__ import annotations

import csv
import io

import pytest

from hlmat.pipelines.annotation.run import csv_bytes


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\n", "\uff1d"])
def test_no_cell_is_a_formula(start: str):
    text = f"{start}cmd|' /C calc'!A0"
    rows = [{"name": text, "number": -1.5, "none": None, "plain": 'a=b, "c"'}]
    (read,) = csv.DictReader(io.StringIO(csv_bytes(rows).decode(), newline=""))
    assert read == {"name": f"'{text}", "number": "-1.5", "none": "", "plain": 'a=b, "c"'}


def test_control_characters_are_escapes():
    rows = [{"name": "\t=1+1", "other": "\ra\x1b[2J\udce9"}]
    assert csv_bytes(rows) == rb"name,other" + b"\n" + rb"\t=1+1,\ra\x1b[2J\udce9" + b"\n"
