"""Option classes: the type, default, range and help text of every setting, each declared once.

A class decorated with `options` is a frozen dataclass whose fields are checked on construction.
The command line, recipes, JSON Schemas and fingerprints read the same declarations, by `declared`.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

import pydantic
from pydantic.fields import FieldInfo

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.suggestions import did_you_mean

Class = TypeVar("Class", bound=type)
Kind = Literal["int", "float", "bool", "text", "choice", "other"]

REQUIRED: Any = object()
"""Stands for the default of a setting that has none."""

_CONFIG = pydantic.ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False, extra="forbid")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def setting(
    *,
    help: str,
    default: Any = dataclasses.MISSING,
    default_factory: Any = dataclasses.MISSING,
    metavar: str | None = None,
    in_fingerprint: bool = True,
    choices: Callable[[], Sequence[str]] | None = None,
    **limits: Any,
) -> Any:
    """Declare a field of an option class.

    Args:
        help: one line, without the default.
        default: the value where none is given; without one the setting must be given.
        default_factory: makes the default.
        metavar: stands for the value in help texts.
        in_fingerprint: whether another value makes another result. False for where things are
            and how fast they run.
        choices: names that the value must be one of, where they are not in the type.
        limits: `ge`, `gt`, `le`, `lt`, `pattern` or `min_length`, as in `pydantic.Field`.
    """
    given: dict[str, Any] = {}
    if default is not dataclasses.MISSING:
        given["default"] = default
    if default_factory is not dataclasses.MISSING:
        given["default_factory"] = default_factory
    extra: dict[str, Any] = {
        "metavar": metavar,
        "in_fingerprint": in_fingerprint,
        "choices": choices,
    }
    return pydantic.Field(description=help, json_schema_extra=extra, **given, **limits)


@dataclass_transform(frozen_default=True, field_specifiers=(setting,))
def options(cls: Class) -> Class:
    """Make an option class: a frozen dataclass that checks its fields.

    A method `conflicts` may yield what is wrong with several values together, as a sentence with
    fields in braces: ``"{low} is above {high}; swap them"``. Constructing the class raises an
    `OptionsError` with every problem.
    """
    made = pydantic.dataclasses.dataclass(frozen=True, config=_CONFIG)(cls)
    validate = made.__init__

    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            validate(self, *args, **kwargs)
        except pydantic.ValidationError as error:
            issues = list(_issues(made, error))
            found = {issue.field for issue in issues}
            others = {name: value for name, value in kwargs.items() if name not in found}
            raise OptionsError(made, [*issues, *_unknown_names(made, others)]) from None
        issues = list(_unknown_names(made, vars(self)))
        if not issues and hasattr(self, "conflicts"):
            issues = [Issue(None, sentence, vars(self)) for sentence in self.conflicts()]
        if issues:
            raise OptionsError(made, issues)

    made.__init__ = checked  # type: ignore[misc]
    return typing.cast("Class", made)


class HiddenValueError(ValueError):
    """A value is wrong that may hold a secret, so that no message repeats it."""


@dataclasses.dataclass(frozen=True)
class Issue:
    """One thing that is wrong with an option class's values.

    Attributes:
        field: whose value it is; None where several do not go together.
        text: what was expected; with several fields a sentence that names them in braces.
        value: what was given; with several fields all values by name.
        shows_value: whether the value is worth repeating.
    """

    field: str | None
    text: str
    value: Any
    shows_value: bool = True

    def worded(self, label: Callable[[str], str]) -> str:
        """Return the problem as a sentence.

        Args:
            label: gives what a field is called where its value was given.
        """
        if self.field is None:
            return _PLACEHOLDER.sub(lambda m: f"{label(m[1])} {shown(self.value[m[1]])}", self.text)
        value = f" {self.value!r}" if isinstance(self.value, str) else f" {shown(self.value)}"
        return f"{label(self.field)}{value if self.shows_value else ''}: {self.text}"


class OptionsError(ConfigError, ValueError):
    """Values that an option class does not accept, all of them at once."""

    def __init__(self, owner: type, issues: Sequence[Issue]) -> None:
        self.owner = owner
        self.issues = tuple(issues)
        super().__init__(
            [issue.worded(lambda name: f"{owner.__name__}.{name}") for issue in issues]
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return ConfigError, (self.problems,)


@dataclasses.dataclass(frozen=True)
class Declared:
    """What is declared of a field.

    Attributes:
        kind: of the value, or of each where there are many.
        choices: the names that it can have.
        low, high: the range, both included unless `low_open` or `high_open`.
        is_optional: whether it may be None.
        is_many: whether it holds any number of values.
        default: `REQUIRED` for none.
    """

    name: str
    kind: Kind
    help: str
    default: Any
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    low: float | None = None
    low_open: bool = False
    high: float | None = None
    high_open: bool = False
    is_optional: bool = False
    is_many: bool = False
    in_fingerprint: bool = True

    @property
    def expectation(self) -> str:
        """What a value must be, as a noun phrase."""
        match self.kind:
            case "int" | "float":
                noun = "a whole number" if self.kind == "int" else "a number"
                if self.low is None and self.high is None:
                    return noun
                if self.high is None and not self.low_open:
                    return f"{noun} of at least {_number(self.low)}"
                return f"{noun} {self._range()}"
            case "choice":
                return f"one of {', '.join(self.choices)}"
            case "bool":
                return "true or false"
            case _:
                return "text"

    @property
    def bounds(self) -> str:
        """What the range demands, as the end of a sentence."""
        if self.high is None and not self.low_open:
            return f"must be at least {_number(self.low)}"
        return f"must be {self._range()}"

    def _range(self) -> str:
        if self.high is None:
            return f"above {_number(self.low)}"
        if self.low is None:
            return f"{'below' if self.high_open else 'of at most'} {_number(self.high)}"
        if self.low_open and self.high_open:
            return f"between {_number(self.low)} and {_number(self.high)}"
        if self.low_open:
            return f"above {_number(self.low)} and at most {_number(self.high)}"
        return f"from {_number(self.low)} to {_number(self.high)}"


def _number(value: float | None) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


@cache
def declared(owner: type) -> Mapping[str, Declared]:
    """Return what an option class declares, by field."""
    fields: Mapping[str, FieldInfo] = owner.__pydantic_fields__  # type: ignore[attr-defined]
    return {name: _declared(name, info) for name, info in fields.items()}


def parse_value(owner: type, field: str, value: Any) -> Any:
    """Return a field's value from a text or a number.

    Raises:
        OptionsError: it is not what is declared.
    """
    try:
        parsed = _adapter(owner, field).validate_python(value)
    except pydantic.ValidationError as error:
        raise OptionsError(owner, list(_issues(owner, error, field=field))) from None
    if issues := list(_unknown_names(owner, {field: parsed})):
        raise OptionsError(owner, issues)
    return parsed


def shown(value: Any) -> str:
    """Return a value as it is written on a command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "none"
    if isinstance(value, tuple | list):
        return ",".join(map(shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def fingerprint_values(values: Any) -> dict[str, Any]:
    """Return those values of an option class that can change a result, as plain JSON."""
    return {
        name: _plain(getattr(values, name))
        for name, declaration in declared(type(values)).items()
        if declaration.in_fingerprint
    }


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _unknown_names(owner: type, values: Mapping[str, Any]) -> Iterator[Issue]:
    """Yield the values that are none of their field's names."""
    for name, declaration in declared(owner).items():
        if declaration.kind == "choice" and name in values:
            for value in _each(values[name]):
                if value is not None and value not in declaration.choices:
                    yield Issue(name, _not_a_choice(value, declaration), value)


def _each(value: Any) -> Sequence[Any]:
    return value if isinstance(value, tuple) else (value,)


@cache
def _adapter(owner: type, field: str) -> pydantic.TypeAdapter[Any]:
    info: FieldInfo = owner.__pydantic_fields__[field]  # type: ignore[attr-defined]
    annotation: Any = info.annotation
    for limit in info.metadata:
        annotation = Annotated[annotation, limit]
    return pydantic.TypeAdapter(annotation, config=_CONFIG)


def _declared(name: str, info: FieldInfo) -> Declared:
    extra: Mapping[str, Any] = typing.cast("Any", info.json_schema_extra) or {}
    annotation, is_optional = _without_none(info.annotation)
    is_many = typing.get_origin(annotation) is tuple and typing.get_args(annotation)[1:] == (...,)
    if is_many:
        annotation = typing.get_args(annotation)[0]
    inner = typing.get_args(annotation)[1:] if typing.get_origin(annotation) is Annotated else ()
    annotation = _without_none(annotation)[0]
    choices: tuple[str, ...] = ()
    kind: Kind = "other"
    if typing.get_origin(annotation) is Literal:
        kind, choices = "choice", tuple(map(str, typing.get_args(annotation)))
    elif isinstance(annotation, type) and issubclass(annotation, StrEnum):
        kind, choices = "choice", tuple(map(str, annotation))
    elif annotation in (int, float, bool, str):
        kind = "text" if annotation is str else typing.cast("Kind", annotation.__name__)
    if extra.get("choices") is not None:
        kind, choices = "choice", tuple(extra["choices"]())
    limits = {
        key: getattr(limit, key) for limit in (*info.metadata, *inner) for key in _limits_of(limit)
    }
    return Declared(
        name=name,
        kind=kind,
        help=info.description or "",
        default=REQUIRED if info.is_required() else info.get_default(call_default_factory=True),
        metavar=extra.get("metavar"),
        choices=choices,
        low=limits.get("ge", limits.get("gt")),
        low_open="gt" in limits,
        high=limits.get("le", limits.get("lt")),
        high_open="lt" in limits,
        is_optional=is_optional,
        is_many=is_many,
        in_fingerprint=extra.get("in_fingerprint", True),
    )


def _limits_of(limit: Any) -> Iterator[str]:
    return (key for key in ("ge", "gt", "le", "lt") if getattr(limit, key, None) is not None)


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        inner = [each for each in typing.get_args(annotation) if each is not type(None)]
        if len(inner) < len(typing.get_args(annotation)) and len(inner) == 1:
            return _without_none(inner[0])[0], True
    return annotation, False


def _issues(
    owner: type, error: pydantic.ValidationError, *, field: str | None = None
) -> Iterator[Issue]:
    """Word pydantic's errors as those of the command line are worded."""
    seen = set()
    fields: Mapping[str, FieldInfo] = owner.__pydantic_fields__  # type: ignore[attr-defined]
    positional = [name for name, info in fields.items() if not info.kw_only]
    for each in error.errors(include_url=False):
        place = each["loc"][0] if each["loc"] else ""
        if each["type"] == "unexpected_positional_argument":
            raise TypeError(
                f"{owner.__name__} takes at most {len(positional)} values without names"
            )
        if each["type"] == "multiple_argument_values":
            raise TypeError(f"{owner.__name__} got two values for {place}")
        # Values without names are counted.
        name = field or (positional[place] if isinstance(place, int) else place)
        if name in seen:
            continue
        seen.add(name)
        declaration = declared(owner).get(name)
        value = each["input"]
        match each["type"]:
            case "missing" | "missing_argument":
                yield Issue(name, "is missing", None, shows_value=False)
            case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal" if (
                declaration is not None
            ):
                number = int(value) if declaration.kind == "int" else float(value)
                yield Issue(name, declaration.bounds, number)
            case "literal_error" | "enum" if declaration is not None:
                yield Issue(name, _not_a_choice(value, declaration), value)
            case "unexpected_keyword_argument":
                known = declared(owner)
                yield Issue(
                    name,
                    f"is not a setting; {did_you_mean(name, known)}choose from {', '.join(known)}",
                    None,
                    shows_value=False,
                )
            case "string_pattern_mismatch" | "string_too_short" if declaration is not None:
                yield Issue(name, f"expected {declaration.help}", value)
            case "value_error":
                cause = each.get("ctx", {})["error"]
                is_secret = isinstance(cause, HiddenValueError)
                yield Issue(name, str(cause), value, shows_value=not is_secret)
            case _:
                expected = each["msg"] if declaration is None else declaration.expectation
                yield Issue(name, f"expected {expected}", value)


def _not_a_choice(value: Any, declaration: Declared) -> str:
    names = declaration.choices
    return f"{did_you_mean(str(value), names)}choose from {', '.join(names)}"
