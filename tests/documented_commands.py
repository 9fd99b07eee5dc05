"""The commands in the `sh` blocks of the documentation, and of the headers of recipes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from repository import REPOSITORY

_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class DocumentedCommand:
    """A command as a reader pastes it.

    Attributes:
        place: file and number of the command in it, for messages.
        argv: its words, the program first.
    """

    place: str
    argv: tuple[str, ...]

    @property
    def program(self) -> str:
        """Return the program's name: `hlmat`, `make`, `pip`, `hf`, `curl`."""
        return self.argv[0].rpartition("/")[2]

    @property
    def is_in_checkout(self) -> bool:
        """Tell whether the program is called by its path in one of the checkout's environments."""
        return self.argv[0].startswith((".venv/bin/", ".venv-rl/bin/"))


def documents() -> list[Path]:
    """Return every Markdown file of the repository that users read."""
    patterns = ("*.md", "docs/**/*.md", "train_recipes/**/*.md")
    return sorted(path for pattern in patterns for path in REPOSITORY.glob(pattern))


def documented_commands() -> list[DocumentedCommand]:
    """Return all commands of all documents and recipe headers."""
    found = []
    for path in documents():
        text = path.read_text(encoding="utf-8")
        found += _commands(path, (line for block in _BLOCK.findall(text) for line in lines(block)))
    for path in sorted((REPOSITORY / "train_recipes").glob("*/train.yaml")):
        header = path.read_text(encoding="utf-8").partition("\n\n### ")[0]
        code = "\n".join(re.findall(r"^#   (.*)$", header, re.MULTILINE))
        # "make train RECIPE=mini or hlmat train --recipe mini" names two ways on one line.
        ways = (way for line in lines(code) for way in re.split(r"\s+or\s+", line))
        found += _commands(path, (way for way in ways if way.startswith(("make ", ".venv/"))))
    return found


def lines(block: str) -> Iterator[str]:
    """Yield the lines of a shell block, those that end in a backslash joined."""
    for line in block.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line


def _commands(path: Path, found: Iterator[str]) -> Iterator[DocumentedCommand]:
    name = path.relative_to(REPOSITORY).as_posix()
    for number, line in enumerate(found, start=1):
        yield DocumentedCommand(f"{name} {number}", tuple(shlex.split(line, comments=True)))
