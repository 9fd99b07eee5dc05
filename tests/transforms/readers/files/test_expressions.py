from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.readers.files.expressions import (
    clean_expressions,
    expressions_of,
    sentences_of,
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["  red box ", "red box", "red box\n"], ("red box",)),
        (["a\nb\tc", "a\u2028b", "a\x1b[2Jb", "\u00a0x\u3000"], ("a b c", "a b", "a [2Jb", "x")),
        (["", "   ", "\n", "\u200b", "\ufeff \u200d", None, 7, ["x"]], ()),
        (["the “green” one’s", "café — right", "👩‍🚒", "..."], None),
    ],
)
def test_blanks_go_and_repeats_count_once(
    values: list[object], expected: tuple[str, ...] | None
) -> None:
    assert clean_expressions(values) == (tuple(values) if expected is None else expected)


@given(st.lists(st.text()))
def test_what_is_clean_stays(values: list[str]) -> None:
    texts = clean_expressions(values)
    assert clean_expressions(texts) == texts
    assert all(text == text.strip() and "\n" not in text for text in texts)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([{"sent": "left", "raw": "Left!"}, {"sent": " ", "raw": "Red"}], ("left", "Red")),
        ([{"sent": None, "raw": 3}, {}, None], ()),
        (["cup", " cup", "mug"], ("cup", "mug")),
        ("cup", ("cup",)),
        (None, ()),
    ],
)
def test_sentences(content: object, expected: tuple[str, ...]) -> None:
    assert sentences_of(content) == expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"sentences": [{"sent": "a"}], "caption": "b"}, ("a",)),
        ({"sentences": [], "captions": ["b", "c"]}, ("b", "c")),
        ({"caption": " ", "sent": "d", "raw": "e"}, ("d",)),
        ({"name": "f"}, ()),
    ],
)
def test_what_an_entry_says_of_itself(entry: dict[str, object], expected: tuple[str, ...]) -> None:
    assert expressions_of(entry) == expected
