"""Units of tables survive the file that a plan for workers elsewhere is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.export.image_tables.table_units import (
    TableUnit,
    table_unit_from_json,
    table_unit_to_json,
)
from hlmat.export.llama_factory.export_units import ExportUnit
from hlmat.export.runs.row_slices import RowSlice
from hlmat.transforms.core.errors import DataError

numbers = st.integers(0, 10**9)
slices = st.builds(RowSlice, numbers, numbers, st.integers(1, 10**6))
units = st.builds(
    TableUnit,
    st.builds(ExportUnit, st.text(), numbers, st.lists(slices, min_size=1).map(tuple)),
    numbers,
    st.text(),
)


@given(unit=units)
def test_a_line_gives_the_unit_back(unit: TableUnit) -> None:
    line = table_unit_to_json(unit)
    assert table_unit_from_json(line) == unit
    assert "\n" not in line


@pytest.mark.parametrize("line", ["", "{", "[]", "1", '{"run": 0, "name": "a", "unit": "{}"}'])
def test_another_line_is_damaged(line: str) -> None:
    with pytest.raises(DataError, match="a line of an export's plan is damaged"):
        table_unit_from_json(line)
