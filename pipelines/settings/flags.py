"""Flags: names for declared settings, on a command line and in a recipe's YAML.

A `Flag` names the declaration of a setting, which gives its type, default, range and help text.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.options import (
    REQUIRED,
    Declared,
    Issue,
    OptionsError,
    declared,
    parse_value,
    shown,
)

_DECLARED: Any = object()
_PATHS = frozenset({"OUT", "DIR", "FILE", "PATH"})
_NAMED_PATH = "NAME=OUT"


@dataclass(frozen=True)
class Pair:
    """Two numbers that are written as one text, such as ``240x320``.

    Attributes:
        names: what the numbers are called.
        separator: between the numbers.
        example: a text of that form.
    """

    names: tuple[str, str]
    separator: str
    example: str

    @property
    def form(self) -> str:
        """The form shown in help texts."""
        return self.separator.join(self.names)

    @property
    def pattern(self) -> str:
        """A regular expression for such texts."""
        return rf"^[0-9]*\.?[0-9]+{self.separator}[0-9]*\.?[0-9]+$"

    def split(self, text: str) -> tuple[str, str] | None:
        """Return both numbers as texts, or None if the text has another form."""
        first, separator, second = text.partition(self.separator)
        return (first, second) if separator and first and second else None

    def join(self, values: Sequence[Any]) -> str:
        """Write two numbers."""
        return self.separator.join(map(shown, values))


@dataclass(frozen=True)
class Flag:
    """A name for a declared setting.

    Attributes:
        name: without dashes.
        owner: the option class that declares the setting.
        field: of the owner; by default the name with underscores.
        second: the second field, if `pair` writes two.
        pair: how two numbers are written as one text.
        default: the command's default, if it differs.
        help: the command's help text, if it differs.
        default_text: the default as shown in the help.
        metavar: the value's placeholder in the help; by default that of the declaration.
        dest: the attribute of the parsed arguments.
        alias: another name of the flag.
        is_positional: a positional argument.
        is_key: a key of a file, which has no dashes.
        is_joined: several values in one text, separated by commas.
        names: accepted by this command, if the declaration accepts any text.
        is_open: whether module:Class is accepted too.
        at_least: the command's lower bound, if it differs.
    """

    name: str
    owner: type
    field: str = ""
    second: str | None = None
    pair: Pair | None = None
    default: Any = _DECLARED
    help: str | None = None
    default_text: str | None = None
    metavar: str | None = None
    dest: str = ""
    alias: str | None = None
    is_positional: bool = False
    is_key: bool = False
    is_joined: bool = False
    names: tuple[str, ...] = ()
    is_open: bool = False
    at_least: int | None = None

    def __post_init__(self) -> None:
        for attribute in ("field", "dest"):
            if not getattr(self, attribute):
                object.__setattr__(self, attribute, self.name.replace("-", "_"))

    @property
    def declaration(self) -> Declared:
        """The declaration of the setting, or of the first of two."""
        declaration = declared(self.owner)[self.field]
        return declaration if self.at_least is None else replace(declaration, low=self.at_least)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the owner that the flag fills."""
        return (self.field,) if self.second is None else (self.field, self.second)

    @property
    def spelled(self) -> str:
        """The flag as typed."""
        return self.name if self.is_positional or self.is_key else f"--{self.name}"

    @property
    def spellings(self) -> list[str]:
        """Every spelling of the flag."""
        names = [self.spelled, *([] if self.alias is None else [f"--{self.alias}"])]
        return [*names, f"--no-{self.name}"] if self.is_switch and self.default_value else names

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value."""
        return self.declaration.kind == "bool"

    @property
    def expand(self) -> Callable[[str], str]:
        """What replaces `~` in a path: a shell leaves it as it is after `--out=`, YAML always."""
        metavar = self.metavar or self.declaration.metavar
        if metavar == _NAMED_PATH:
            return _expand_named
        return os.path.expanduser if metavar in _PATHS else str

    @property
    def is_mapping(self) -> bool:
        """Whether each value is KEY=JSON."""
        return isinstance(self.declaration.default, Mapping)

    @property
    def is_repeatable(self) -> bool:
        """Whether it can be repeated."""
        return self.is_mapping or (self.declaration.is_many and not self.is_joined)

    @property
    def default_value(self) -> Any:
        """The default; two values for two fields."""
        if self.default is not _DECLARED:
            return self.default
        if self.second is None:
            return self.declaration.default
        return tuple(declared(self.owner)[name].default for name in self.fields)

    @property
    def is_in_fingerprint(self) -> bool:
        """Whether the value can change a result."""
        return self.declaration.in_fingerprint

    def parse(self, raw: Any) -> dict[str, Any]:
        """Parse a text, or the texts of a repeated flag, into the values of the fields.

        Raises:
            OptionsError: the text does not fit the declaration.
        """
        if self.pair is not None:
            return self._parse_pair(str(raw), self.pair)
        if self.is_mapping:
            return {self.field: self._parse_mapping(raw)}
        if self.declaration.is_many:
            raw = tuple(raw.split(",") if self.is_joined and isinstance(raw, str) else raw)
        elif raw == "none" and self._can_be_none:
            raw = None
        value = parse_value(self.owner, self.field, raw)
        if self.at_least is not None and value < self.at_least:
            raise OptionsError(self.owner, [Issue(self.field, self.declaration.bounds, value)])
        return {self.field: value}

    def write(self, values: Any) -> str:
        """Write the owner's value as on a command line; the inverse of `parse`."""
        found = [getattr(values, name) for name in self.fields]
        if self.pair is not None:
            return self.pair.join(found[0] if self.second is None else found)
        return shown(found[0])

    @property
    def _can_be_none(self) -> bool:
        return self.declaration.is_optional and self.default_value is not None

    def _parse_pair(self, text: str, pair: Pair) -> dict[str, Any]:
        parts = pair.split(text)
        try:
            if parts is None:
                raise ValueError
            numbers = [float(part) if "." in part else int(part) for part in parts]
        except ValueError:
            expected = f"expected {pair.form}, as {pair.example}"
            raise OptionsError(self.owner, [Issue(self.field, expected, text)]) from None
        if self.second is None:
            return {self.field: parse_value(self.owner, self.field, tuple(numbers))}
        return {
            name: parse_value(self.owner, name, number)
            for name, number in zip(self.fields, numbers, strict=True)
        }

    def _parse_mapping(self, texts: Iterable[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        issues = []
        for text in texts:
            key, equals, value = text.partition("=")
            if not equals or not key.isidentifier():
                expected = "expected KEY=JSON, as scale=0.5 or name='\"x\"'"
                issues.append(Issue(self.field, expected, text))
                continue
            try:
                found[key] = json.loads(value)
            except ValueError:
                found[key] = value
        if issues:
            raise OptionsError(self.owner, issues)
        return found


@dataclass(frozen=True)
class Group:
    """Flags shown together in a help text."""

    title: str
    flags: tuple[Flag, ...]

    def without(self, *names: str) -> Group:
        """Return the group without some of its flags."""
        return Group(self.title, tuple(f for f in self.flags if f.name not in names))


def flags_in(groups: Iterable[Group]) -> dict[str, Flag]:
    """Return the flags of groups by name."""
    return {flag.name: flag for group in groups for flag in group.flags}


def spellings_in(groups: Iterable[Group]) -> list[str]:
    """Return the spelling of every flag of groups."""
    return [name for flag in flags_in(groups).values() for name in flag.spellings]


def add_flags(
    parser: argparse.ArgumentParser, groups: Sequence[Group], *, first: Sequence[str] = ()
) -> None:
    """Declare flags to a parser. Values stay texts, or None if not given.

    Args:
        parser: receives the flags.
        groups: in the order of the help.
        first: names of the flags that most people need; the help begins with them.
    """
    known = flags_in(groups)
    if first:
        _add_group(parser, Group("flags that most runs need", tuple(known[n] for n in first)))
    for group in groups:
        _add_group(parser, group.without(*first))


def _add_group(parser: argparse.ArgumentParser, group: Group) -> None:
    positional = [flag for flag in group.flags if flag.is_positional]
    for flag in positional:
        nargs: Any = "+" if flag.declaration.is_many else None
        parser.add_argument(
            flag.dest, metavar=flag.name, nargs=nargs, type=flag.expand, help=_help(flag)
        )
    named = [flag for flag in group.flags if not flag.is_positional]
    if not named:
        return
    section = parser.add_argument_group(group.title)
    for flag in named:
        names = [flag.spelled, *([] if flag.alias is None else [f"--{flag.alias}"])]
        common: dict[str, Any] = {"dest": flag.dest, "default": None, "help": _help(flag)}
        if flag.is_switch:
            action: Any = argparse.BooleanOptionalAction if flag.default_value else "store_true"
            section.add_argument(*names, action=action, **common)
        else:
            action = "append" if flag.is_repeatable else "store"
            section.add_argument(
                *names, action=action, metavar=_metavar(flag), type=flag.expand, **common
            )


def _expand_named(text: str) -> str:
    name, equals, path = text.rpartition("=")
    return name + equals + os.path.expanduser(path)


def _metavar(flag: Flag) -> str:
    if flag.metavar or flag.declaration.metavar:
        return flag.metavar or flag.declaration.metavar or ""
    if flag.pair is not None:
        return flag.pair.form
    return {"int": "N", "float": "X", "choice": "NAME"}.get(flag.declaration.kind, "TEXT")


def _help(flag: Flag) -> str:
    declaration = flag.declaration
    text = declaration.help if flag.help is None else flag.help
    if flag.help is None and declaration.kind == "choice" and not declaration.is_many:
        text = f"{text}: {', '.join(declaration.choices)}"
    if flag.names:
        text = f"{text}: {', '.join(flag.names)}" + (
            ", module:Class of your own, or the address of a server" if flag.is_open else ""
        )
    default = flag.default_text
    value = flag.default_value
    if default is None and value is not REQUIRED and value not in (None, False, ()):
        if flag.pair is not None:
            default = flag.pair.join(cast("Sequence[Any]", value))
        elif not flag.is_mapping and not declaration.is_many:
            default = {"true": "yes"}.get(shown(value), shown(value))
    text = text if default in (None, "") else f"{text} ({default})"
    return text.replace("%", "%%")


def arguments_of(flag: Flag, value: Any) -> list[str]:
    """Write a YAML value as arguments.

    Raises:
        ConfigError: the flag cannot have this value.
    """
    if flag.is_switch:
        if not isinstance(value, bool):
            raise ConfigError([f"{flag.name} is {value!r}, expected true or false"])
        if value:
            return [flag.spelled]
        return [f"--no-{flag.name}"] if flag.default_value else []
    if isinstance(value, list) and not flag.is_repeatable:
        raise ConfigError([f"{flag.name} is a list, expected one value"])
    values = value if isinstance(value, list) else [value]
    for each in values:
        if each is None or isinstance(each, bool | dict | list):
            raise ConfigError(
                [
                    f"{flag.name} is {each!r}, expected text or a number; put quotes around a text "
                    "that YAML reads otherwise"
                ]
            )
    return [f"{flag.spelled}={each}" for each in values]
