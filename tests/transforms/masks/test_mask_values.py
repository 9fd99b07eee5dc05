from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.masks.mask_values import (
    LevelRange,
    MaskValues,
    TargetsOf,
    checked_mask_values,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("object=15", "object=15"),
        ("object=15,16", "object=15,16"),
        ("object=15,object=16", "object=15,16"),
        (" void = 255 , object = 1 ", "object=1,void=255"),
        ("object=128-255", "object=128-255"),
        ("object=#c00000,#00C000,void=#e0e0c0", "object=#C00000,#00C000,void=#E0E0C0"),
        ("void=255", "void=255"),
        ("classes", "classes"),
        ("instances,void=255,background=0,7", "instances,void=255,background=0,7"),
        ("classes,background=none", "classes,background=none"),
    ],
)
def test_texts(text: str, expected: str) -> None:
    assert str(MaskValues.parse(text)) == expected
    assert checked_mask_values(text) == expected


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "expected object=15"),
        ("15", "expected object=15"),
        ("person", "expected object=15"),
        ("objects=15", "expected object=15"),
        ("object=", "'' is not a level"),
        ("object=1.5", "'1.5' is not a level"),
        ("object=-1", "'-1' is not a level"),
        ("object=#C0000", "'#C0000' is not a level"),
        ("object=9-3", "9-3 ends before it begins; write 3-9"),
        ("object=5,void=1-9", "5 is object and void 1-9 too"),
        ("classes,object=3", "classes makes a target of each level"),
        ("object=1,background=0", "background= goes with classes or instances"),
        ("classes,instances", "expected object=15"),
        ("classes,15", "expected object=15"),
    ],
)
def test_mistakes(text: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        MaskValues.parse(text)


levels = st.integers(0, 65535)
ranges = st.one_of(
    levels.map(lambda level: LevelRange(level, level)),
    st.tuples(levels, levels).map(lambda pair: LevelRange(min(pair), max(pair))),
    st.integers(0, 0xFFFFFF).map(lambda colour: LevelRange(colour, colour, is_colour=True)),
)


@given(
    targets=st.sampled_from([TargetsOf.CLASSES, TargetsOf.INSTANCES]),
    void=st.lists(ranges, max_size=3),
    background=st.none() | st.lists(ranges, max_size=3).map(tuple),
)
def test_parse_is_the_inverse_of_str(
    targets: TargetsOf, void: list[LevelRange], background: tuple[LevelRange, ...] | None
) -> None:
    values = MaskValues(targets, (), tuple(void), background)
    assert MaskValues.parse(str(values)) == values


@given(objects=st.lists(ranges, min_size=1, max_size=4))
def test_parse_is_the_inverse_of_str_for_objects(objects: list[LevelRange]) -> None:
    values = MaskValues(objects=tuple(objects))
    assert MaskValues.parse(str(values)) == values


def test_what_a_level_of_its_own_means() -> None:
    values = MaskValues.parse("classes,void=255")
    assert str(values.of_level("13")) == "object=13,void=255"
    assert str(values.of_level("#C00000")) == "object=#C00000,void=255"
