"""Option classes: checked on construction, every problem at once, declarations that others read."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, asdict, replace
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge
from pydantic import AfterValidator

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.options import (
    REQUIRED,
    HiddenValueError,
    OptionsError,
    declared,
    fingerprint_values,
    options,
    parse_value,
    setting,
    shown,
)


class Way(StrEnum):
    FAST = "fast"
    SLOW = "slow"


def checked_secret(text: str) -> str:
    if text.startswith("x"):
        raise HiddenValueError("must not begin with an x")
    return text


@options
class Base:
    place: str = setting(help="a folder", in_fingerprint=False)
    count: int = setting(default=3, ge=1, le=10_000, help="how many")
    secret: Annotated[str, AfterValidator(checked_secret)] = setting(default="", help="a secret")


@options
class Tool(Base):
    share: float | None = setting(default=0.5, gt=0, le=1, help="a share")
    way: Way = setting(default=Way.FAST, help="how")
    mode: Literal["a", "b"] = setting(default="a", help="which")
    names: tuple[str, ...] = setting(default=(), choices=lambda: ("one", "two"), help="some names")
    steps: tuple[Annotated[int, Ge(1)], ...] = setting(default=(), help="some numbers")

    def conflicts(self) -> Iterator[str]:
        if self.count == 7:
            yield "{count} does not go with {mode}"


def test_an_option_class_is_a_frozen_dataclass() -> None:
    tool = Tool("here", 4, mode="b")
    assert (tool.place, tool.count, tool.mode, tool.way) == ("here", 4, "b", Way.FAST)
    assert replace(tool, count=5).count == 5
    assert pickle.loads(pickle.dumps(tool)) == tool
    assert asdict(tool)["share"] == 0.5
    with pytest.raises(FrozenInstanceError):
        tool.count = 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        ({"count": 0}, ["Tool.count 0: must be from 1 to 10,000"]),
        ({"count": "many"}, ["Tool.count 'many': expected a whole number from 1 to 10,000"]),
        ({"count": 2.5}, ["Tool.count 2.5: expected a whole number from 1 to 10,000"]),
        ({"share": 0}, ["Tool.share 0: must be above 0 and at most 1"]),
        ({"share": float("nan")}, ["Tool.share nan: expected a number above 0 and at most 1"]),
        ({"way": "fats"}, ["Tool.way 'fats': did you mean 'fast'? choose from fast, slow"]),
        ({"mode": "c"}, ["Tool.mode 'c': choose from a, b"]),
        ({"names": ("one", "tow")}, ["Tool.names 'tow': did you mean 'two'? choose from one, two"]),
        ({"steps": (2, 0)}, ["Tool.steps 0: must be at least 1"]),
        ({"secret": "xyz"}, ["Tool.secret: must not begin with an x"]),
        ({"cuont": 1}, None),
        ({"count": 7}, ["Tool.count 7 does not go with Tool.mode a"]),
        (
            {"count": 0, "mode": "c", "names": ("three",)},
            [
                "Tool.count 0: must be from 1 to 10,000",
                "Tool.mode 'c': choose from a, b",
                "Tool.names 'three': choose from one, two",
            ],
        ),
    ],
)
def test_every_problem_is_reported_with_value_and_expectation(
    values: dict[str, object], problems: list[str] | None
) -> None:
    with pytest.raises(ConfigError) as caught:
        Tool("here", **values)  # pyright: ignore[reportArgumentType]
    if problems is None:
        assert "Tool.cuont: is not a setting; did you mean 'count'?" in str(caught.value)
    else:
        assert list(caught.value.problems) == problems


def test_a_value_by_its_place_is_named_too() -> None:
    with pytest.raises(OptionsError, match=r"^Tool\.count 0: must be"):
        Tool("here", 0)


def test_too_many_values_and_one_given_twice_are_mistakes_of_the_caller() -> None:
    count = len(declared(Tool))
    values: Any = ["here"] * (count + 1)
    with pytest.raises(TypeError, match=f"^Tool takes at most {count} values without names$"):
        Tool(*values)
    with pytest.raises(TypeError, match=r"^Tool got two values for place$"):
        Tool("here", place="there")  # pyright: ignore[reportCallIssue]


def test_a_missing_value_is_named() -> None:
    with pytest.raises(OptionsError, match=r"^Tool\.place: is missing$"):
        Tool()  # pyright: ignore[reportCallIssue]


def test_an_error_reaches_the_caller_of_a_worker() -> None:
    with pytest.raises(ConfigError) as caught:
        Tool("here", count=0)
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems


def test_declarations_hold_kinds_defaults_and_limits() -> None:
    found = declared(Tool)
    assert found["place"].default is REQUIRED
    assert not found["place"].in_fingerprint
    count = found["count"]
    assert (count.kind, count.default, count.low, count.high) == ("int", 3, 1, 10_000)
    share = found["share"]
    assert (share.kind, share.is_optional, share.low_open, share.high_open) == (
        "float",
        True,
        True,
        False,
    )
    assert found["way"].choices == ("fast", "slow")
    assert (found["names"].is_many, found["names"].choices) == (True, ("one", "two"))
    assert (found["steps"].is_many, found["steps"].kind, found["steps"].low) == (True, "int", 1)


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("count", "12", 12),
        ("share", "0.25", 0.25),
        ("way", "slow", Way.SLOW),
        ("mode", "b", "b"),
        ("names", ("one",), ("one",)),
        ("steps", ["1", "2"], (1, 2)),
    ],
)
def test_a_text_becomes_a_value(field: str, text: object, value: object) -> None:
    assert parse_value(Tool, field, text) == value


@pytest.mark.parametrize(
    ("field", "text"), [("count", "0"), ("way", "slwo"), ("names", ("x",)), ("share", "2")]
)
def test_a_text_that_is_no_value_is_refused(field: str, text: object) -> None:
    with pytest.raises(OptionsError) as caught:
        parse_value(Tool, field, text)
    assert [issue.field for issue in caught.value.issues] == [field]


def test_the_fingerprint_holds_what_changes_a_result() -> None:
    values = fingerprint_values(Tool("here", names=("one",)))
    assert values == {
        "count": 3,
        "secret": "",
        "share": 0.5,
        "way": "fast",
        "mode": "a",
        "names": ["one"],
        "steps": [],
    }
    assert fingerprint_values(Tool("elsewhere", names=("one",))) == values


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (None, "none"), (0.5, "0.5"), (1.0, "1"), ((1, 2), "1,2"), ("a", "a")],
)
def test_values_are_shown_as_they_are_given(value: object, text: str) -> None:
    assert shown(value) == text
