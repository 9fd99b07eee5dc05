"""Checking settings: problems are collected and reported together."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

from hlmat.transforms.core.errors import ConfigError

Built = TypeVar("Built")


class ArgumentParser(argparse.ArgumentParser):
    """A parser that reports a wrong command line as a `ConfigError` instead of exiting."""

    def error(self, message: str) -> NoReturn:
        """Raise what `argparse` would print before exiting."""
        raise ConfigError([f"{message}; see {self.prog} --help"])


class Check:
    """Collects every problem, to report all of them at once."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def note(self, problem: str) -> None:
        """Add a problem."""
        self.problems.append(problem)

    def maybe(self, problem: str | None) -> None:
        """Add a problem if there is one."""
        if problem is not None:
            self.note(problem)

    def note_all(self, problems: Sequence[str]) -> None:
        """Add several problems."""
        self.problems.extend(problems)

    def built(self, build: Callable[[], Built]) -> Built | None:
        """Return the result of `build`, or None if it finds a problem."""
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
            raise ConfigError(list(dict.fromkeys(self.problems)))
