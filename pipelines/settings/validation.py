"""Checking a command line: values are read one by one, problems are told all at once."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.metrics.target_results import StepChoice

Built = TypeVar("Built")


class ArgumentParser(argparse.ArgumentParser):
    """A parser that reports a wrong command line as a `ConfigError` instead of exiting."""

    def error(self, message: str) -> NoReturn:
        """Raise what `argparse` would print before exiting."""
        raise ConfigError([f"{message}; see {self.prog} --help"])


class Check:
    """Collects what is wrong, so that a user sees everything at once."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def note(self, problem: str) -> None:
        """Take down a problem."""
        self.problems.append(problem)

    def maybe(self, problem: str | None) -> None:
        """Take down a problem if there is one."""
        if problem is not None:
            self.note(problem)

    def note_all(self, problems: Sequence[str]) -> None:
        """Take down several problems."""
        self.problems.extend(problems)

    def integer(self, flag: str, text: str | None, *, at_least: int) -> int | None:
        """Return a flag's whole number; None if it was not given or is wrong."""
        if text is None:
            return None
        try:
            value = int(text)
        except ValueError:
            self.note(f"{flag} {text!r}: expected a whole number of at least {at_least}")
            return None
        if value < at_least:
            self.note(f"{flag} {value}: must be at least {at_least}")
            return None
        return value

    def number(self, flag: str, text: str, *, at_least: float) -> float | None:
        """Return a flag's number; None if it is wrong."""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if math.isfinite(value) and value >= at_least:
            return value
        self.note(f"{flag} {text!r}: expected a number of at least {at_least:g}")
        return None

    def fraction(self, flag: str, text: str) -> float | None:
        """Return a flag's number from 0 to 1; None if it is wrong."""
        try:
            value = float(text)
        except ValueError:
            self.note(f"{flag} {text!r}: expected a number from 0 to 1")
            return None
        if not 0 <= value <= 1:
            self.note(f"{flag} {text}: must lie between 0 and 1")
            return None
        return value

    def choice(self, flag: str, text: str, choices: Sequence[str]) -> str | None:
        """Return a flag's value if it is one of the choices, else None."""
        if text in choices:
            return text
        self.note(f"{flag} {text!r}: choose from {', '.join(choices)}")
        return None

    def built(self, build: Callable[[], Built]) -> Built | None:
        """Return what `build` makes, None if its constructor finds fault."""
        try:
            return build()
        except ConfigError as error:
            self.note_all(error.problems)
        except ValueError as error:
            self.note(str(error))
        return None

    def done(self) -> None:
        """Raise a `ConfigError` with all problems, if there are any."""
        if self.problems:
            raise ConfigError(self.problems)


def read_step_choice(text: str, check: Check) -> StepChoice:
    """Return which mask of a rollout `--step` asks for; a problem goes to `check`."""
    if text == "last" or text == "best-scored":
        return text
    if re.fullmatch(r"[1-9][0-9]{0,5}", text):
        return int(text)
    check.note(f"--step {text!r}: expected last, best-scored, or the number of a click from 1 on")
    return "last"
