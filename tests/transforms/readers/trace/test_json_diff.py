from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.readers.trace.json_diff import apply_difference, difference

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(0, 2)
    | st.sampled_from([0.0, 1.0, 0.5])
    | st.text("ab"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)


def as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@given(values, values)
def test_a_difference_leads_from_one_value_to_the_other(made: Any, wanted: Any) -> None:
    before = as_text(made)
    change = json.loads(json.dumps(difference(made, wanted)))
    assert as_text(apply_difference(made, change)) == as_text(wanted)
    assert as_text(made) == before


@given(values)
def test_equal_values_differ_in_nothing(value: Any) -> None:
    assert difference(value, json.loads(json.dumps(value))) == {}


def test_only_what_differs_is_kept() -> None:
    made = {"a": 1, "b": [2, {"c": 3}]}
    wanted = {"a": 1, "b": [2, {"c": 3, "d": 4}]}
    assert difference(made, wanted) == {
        "keys": {"b": {"items": {"1": {"keys": {"d": {"value": 4}}}}}}
    }
