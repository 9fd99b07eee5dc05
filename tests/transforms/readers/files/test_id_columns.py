from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.readers.files.id_columns import IdColumn
from hlmat.transforms.readers.files.ids import id_of, id_order

IDS = st.one_of(
    st.integers(-2, 12),
    st.sampled_from([2**63 - 1, 2**63, 10**37, 10**38, 7.0, 7.5, "7", "07", "b", "a", " ", None]),
)


@given(ids=st.lists(IDS, max_size=12), wanted=IDS)
def test_entries_are_found_by_their_id(ids: list[object], wanted: object) -> None:
    column = IdColumn(ids)
    key = id_of(wanted)
    expected = [i for i, each in enumerate(ids) if key is not None and id_of(each) == key]
    assert column.positions_of(wanted).tolist() == expected


@given(ids=st.lists(IDS, max_size=12))
def test_entries_are_ordered_by_their_id(ids: list[object]) -> None:
    column = IdColumn(ids)
    expected = sorted(range(len(ids)), key=lambda i: id_order(ids[i]))
    assert np.lexsort(column.sort_keys()).tolist() == expected


@given(ids=st.lists(IDS, max_size=12))
def test_ids_and_their_first_entries(ids: list[object]) -> None:
    column = IdColumn(ids)
    keys = [id_of(each) for each in ids]
    assert [column.id_of_code(code) for code in column.codes.tolist()] == keys
    assert column.is_first.tolist() == [keys.index(key) == i for i, key in enumerate(keys)]
