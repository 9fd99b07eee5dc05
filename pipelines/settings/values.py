"""From parsed arguments to option classes; problems are worded with the flags' names."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

from hlmat.pipelines.settings.flags import Flag, Group, Pair, flags_in
from hlmat.pipelines.settings.validation import Check
from hlmat.transforms.core.options import REQUIRED, Issue, OptionsError, declared

Owner = TypeVar("Owner")


class Values:
    """The values of parsed arguments; problems are added to a `Check`.

    Args:
        arguments: parsed with all flags or some of them.
        groups: the flags.
        check: collects the problems, worded with the flags' names.
    """

    def __init__(
        self, arguments: argparse.Namespace, groups: Iterable[Group], check: Check
    ) -> None:
        self._arguments = arguments
        self._flags = flags_in(groups)
        self._check = check
        self._parsed: dict[str, dict[str, Any]] = {}
        self._wrong: set[str] = set()

    def read_given(self) -> None:
        """Read every given flag, to find wrong values even if they are unused."""
        for name in self._flags:
            self.has(name)

    def is_given(self, name: str) -> bool:
        """Whether a flag is given."""
        return self._raw(self._flags[name]) is not None

    def has(self, name: str) -> bool:
        """Whether a flag is given and valid."""
        return self.is_given(name) and not self._is_wrong(name)

    def get(self, name: str) -> Any:
        """Return a flag's value, its default if it is missing or wrong, or None."""
        flag = self._flags[name]
        values = tuple(self._fields(flag).values())
        if REQUIRED in values:
            return None
        return values[0] if flag.second is None else values

    def build(self, owner: type[Owner], **more: Any) -> Owner:
        """Build an instance of an option class from its flags.

        Args:
            owner: the class.
            more: values of fields without flags.

        Raises:
            ConfigError: with all problems so far, if no instance can be built.
        """
        flags = [flag for flag in self._flags.values() if flag.owner in owner.__mro__]
        values: dict[str, Any] = {}
        for flag in flags:
            found = self._fields(flag)
            # Without a default of the flag, the declared default applies.
            if self.is_given(flag.name) or flag.default is not None:
                values |= found
        known = declared(owner)
        values = {name: value for name, value in values.items() if name in known} | more
        values = {n: v for n, v in values.items() if v is not REQUIRED}
        try:
            return owner(**values)
        except OptionsError as error:
            labels = {name: flag for flag in flags for name in flag.fields}
            self._check.note_all([worded(issue, labels) for issue in error.issues])
        try:
            # Continue with defaults, to find further problems.
            return owner(**{n: v for n, v in values.items() if known[n].default is REQUIRED} | more)
        except OptionsError:
            self._check.done()
            raise

    def _is_wrong(self, name: str) -> bool:
        self._fields(self._flags[name])
        return name in self._wrong

    def _raw(self, flag: Flag) -> Any:
        return getattr(self._arguments, flag.dest, None)

    def _fields(self, flag: Flag) -> dict[str, Any]:
        if flag.name not in self._parsed:
            self._parsed[flag.name] = self._read(flag)
        return self._parsed[flag.name]

    def _read(self, flag: Flag) -> dict[str, Any]:
        default = flag.default_value
        defaults = dict(
            zip(flag.fields, default, strict=True) if flag.second else [(flag.field, default)]
        )
        raw = self._raw(flag)
        if raw is None:
            return defaults
        try:
            return flag.parse(raw)
        except OptionsError as error:
            self._wrong.add(flag.name)
            labels = dict.fromkeys(flag.fields, flag)
            self._check.note_all([worded(issue, labels, raw=raw) for issue in error.issues])
            return defaults


def worded(issue: Issue, flags: Mapping[str, Flag], *, raw: Any = None) -> str:
    """Word a problem with the flags' names.

    Args:
        issue: the problem.
        flags: by the field that they fill.
        raw: the text that was given.
    """
    if issue.field is not None:
        flag = flags.get(issue.field)
        if flag is None or flag.pair is None or raw is None:
            return issue.worded(lambda name: flags[name].spelled if name in flags else name)
        return f"{flag.spelled} {raw!r}: {issue.text}"
    named = [flags[name] for name in _names_in(issue.text) if name in flags]
    if named and named[0].second is not None and len(set(named)) == 1:
        flag = named[0]
        pair = cast("Pair", flag.pair)
        parts = dict(zip(flag.fields, pair.names, strict=True))
        text = pair.join([issue.value[name] for name in flag.fields])
        return f"{flag.spelled} {text}: {issue.worded(lambda name: parts.get(name, name))}"
    values = {
        name: flags[name].pair.join(value)  # type: ignore[union-attr]
        if name in flags and flags[name].pair is not None and value is not None
        else value
        for name, value in issue.value.items()
    }
    found = Issue(None, issue.text, values)
    return found.worded(lambda name: flags[name].spelled if name in flags else name)


def _names_in(text: str) -> Iterator[str]:
    return (part.partition("}")[0] for part in text.split("{")[1:])


def fingerprint_of_flags(arguments: argparse.Namespace, groups: Sequence[Group]) -> dict[str, Any]:
    """Return all flags that can change a result, with their values as plain JSON.

    Raises:
        ConfigError: with every wrong value.
    """
    check = Check()
    values = Values(arguments, groups, check)
    found = {
        name: values.get(name) for name, flag in flags_in(groups).items() if flag.is_in_fingerprint
    }
    check.done()
    return json.loads(json.dumps(found))
