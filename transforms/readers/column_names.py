"""Names of a table's columns, as given by `--columns`."""

from __future__ import annotations

KEYS = ("image", "mask", "segmentation", "text", "objects")
"""The keys of `--columns`."""


def check_columns(text: str | None) -> str | None:
    """Check a `--columns` value and return it.

    Raises:
        ValueError: it is none.
    """
    if text is not None:
        parse_columns(text)
    return text


def parse_columns(text: str) -> dict[str, str]:
    """Return the columns that a `--columns` value names.

    Raises:
        ValueError: it is none.

    >>> parse_columns("image=img,mask=label")
    {'image': 'img', 'mask': 'label'}
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        key, equals, name = part.partition("=")
        if key not in KEYS or not equals or not name or key in found:
            raise ValueError(f"expected KEY=COLUMN with commas, of the keys {', '.join(KEYS)}")
        found[key] = name
    return found
