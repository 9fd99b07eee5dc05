"""The formats of `hlmat export`, and the flags that only some of them have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Literal

ExportFormat = Literal[
    "trace", "llama-factory", "hub", "coco-results", "fiftyone", "trl", "verl", "ms-swift"
]

ImageChoice = Literal["auto", "all", "none"]

FLAGS_OF_FORMAT: Mapping[str, frozenset[str]] = {
    "trace": frozenset(),
    "llama-factory": frozenset(
        {
            *("task", "also", "min-margin", "candidates", "foreign-masks", "foreign-count"),
            *("score-prompt", "expressions", "first-box", "image-format", "name"),
        }
    ),
    "coco-results": frozenset(),
    "fiftyone": frozenset({"image-format"}),
    "trl": frozenset({"image-format", "name"}),
    "verl": frozenset({"image-format", "name"}),
    "ms-swift": frozenset({"expressions", "image-format", "name"}),
    "hub": frozenset({"also", "date", "images", "image-format", "license", "name"}),
}
"""The flags that only some formats have, by format."""


def flag_problems(given: Set[str], format: str | None) -> Iterator[str]:
    """Yield what is wrong with flags that belong to other formats than the one asked for.

    Args:
        given: names of the flags that are given.
        format: None if it is missing or unknown.
    """
    if format is None:
        return
    for flag in sorted(frozenset().union(*FLAGS_OF_FORMAT.values()) & given):
        if flag not in FLAGS_OF_FORMAT[format]:
            owners = [name for name, flags in FLAGS_OF_FORMAT.items() if flag in flags]
            yield (
                f"--{flag} belongs to --format {' or '.join(owners)}, not to {format}; leave it out"
            )
