"""Parts of messages: what a mistyped name may have meant, how a setting differs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any


def closest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known name that is spelled most like `name`, whatever the case of its letters.

    Args:
        name: what was given.
        known: what it can be.
        cutoff: the least likeness, from 0 for any name to 1 for the same.

    >>> closest("refcocoo", ["coco", "refcoco", "RefCOCO+"])
    'refcoco'
    """
    by_folded = {each.casefold(): each for each in known}
    found = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=cutoff)
    return by_folded[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a suggestion to put before the list of known names, or nothing.

    >>> did_you_mean("orcale", ["oracle", "random"])
    "did you mean 'oracle'? "
    >>> did_you_mean("zzz", ["oracle", "random"])
    ''
    """
    found = closest(name, known)
    return "" if found is None else f"did you mean {found!r}? "


def setting_change(key: str, before: Any, now: Any) -> str:
    """Return how a setting of a run differs from that of an earlier one.

    >>> setting_change("limit", None, 5)
    'limit: it was not set, now 5'
    """
    shown = ("not set" if value is None else json.dumps(value) for value in (before, now))
    return "{}: it was {}, now {}".format(key, *shown)
