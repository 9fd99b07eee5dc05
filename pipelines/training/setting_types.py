"""The types that LLaMA-Factory declares for its settings, and values that do not fit them."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

import pydantic

_CONFIG = pydantic.ConfigDict(arbitrary_types_allowed=True, coerce_numbers_to_str=True)


def settings_of(classes: Iterable[Any]) -> dict[str, Any]:
    """Return the declared type of each setting by name; `Any` if unknown.

    Args:
        classes: dataclasses.
    """
    found: dict[str, Any] = {}
    for cls in classes:
        try:
            hints = typing.get_type_hints(cls)
        # Hints are third-party code and may name things that are not imported.
        except Exception:
            hints = {}
        found |= {f.name: hints.get(f.name, Any) for f in dataclasses.fields(cls) if f.init}
    return found


def type_problems(settings: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, str]:
    """Return what was expected instead of each value that does not match its setting's type.

    A number is accepted as text, and null is always accepted.

    Args:
        settings: values by name.
        types: the result of `settings_of`.
    """
    problems = {}
    for name, value in settings.items():
        if value is None or name not in types:
            continue
        if (problem := _problem(value, types[name])) is not None:
            problems[name] = problem
    return problems


def _problem(value: Any, hint: Any) -> str | None:
    names = [e for e in typing.get_args(hint) or (hint,) if _is_enum(e)]
    if isinstance(value, str) and names:
        choices = [str(each.value) for each in names[0]]
        return None if value in choices else f"choose from {', '.join(choices)}"
    try:
        adapter = pydantic.TypeAdapter(hint, config=_CONFIG)
    # A type that pydantic does not know is left to LLaMA-Factory.
    except Exception:
        return None
    # Texts and booleans are not accepted as numbers; other values may be of a similar type.
    is_strict = isinstance(value, str | bool)
    try:
        adapter.validate_python(value, strict=is_strict)
    except pydantic.ValidationError as error:
        texts = dict.fromkeys(str(issue["msg"]) for issue in error.errors())
        return "expected " + " or ".join(
            text.removeprefix("Input should be ").partition(", unable")[0] for text in texts
        )
    except Exception:
        return None
    return None


def _is_enum(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)
