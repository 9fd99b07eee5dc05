"""Expressions of data files, cleaned: no blanks, line breaks or repetitions."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

_KEYS = ("sentences", "expressions", "captions", "caption", "expression", "sent", "raw")
_KEY_SET = frozenset(_KEYS)


def clean_expressions(values: Iterable[object]) -> tuple[str, ...]:
    """Return the non-empty texts among some values, without repetitions, in order.

    Leading and trailing blanks are removed; inner blanks, line breaks and control characters become
    single blanks.

    >>> clean_expressions(["  red box ", "red box", "   ", None, "a\\nb"])
    ('red box', 'a b')
    """
    texts = (_clean(value) for value in values if isinstance(value, str))
    return tuple(dict.fromkeys(text for text in texts if text))


def sentences_of(content: object) -> tuple[str, ...]:
    """Return the expressions of a list of sentences: texts, or objects with `sent` or `raw`.

    >>> sentences_of([{"sent": "left one", "raw": "Left one!"}, {"sent": " ", "raw": "Red"}, "cup"])
    ('left one', 'Red', 'cup')
    """
    sentences = content if isinstance(content, list | tuple) else [content]
    found = (
        clean_expressions([s.get("sent"), s.get("raw")])[:1]
        if isinstance(s, Mapping)
        else clean_expressions([s])
        for s in sentences
    )
    return clean_expressions(text for texts in found for text in texts)


def expressions_of(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the expressions of an entry of a data file; () if it has none.

    The first of `sentences`, `expressions`, `captions`, `caption`, `expression`, `sent` and
    `raw` that is not empty is read: a text or a list of texts.
    """
    if _KEY_SET.isdisjoint(entry):
        return ()
    found = (sentences_of(entry[key]) for key in _KEYS if entry.get(key) is not None)
    return next((texts for texts in found if texts), ())


def _clean(text: str) -> str:
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    if text.isascii():
        return " ".join(text.split())
    # Joiners and direction marks alone are no text.
    says = any(unicodedata.category(c) not in ("Cf", "Mn", "Zs") for c in text)
    return " ".join(text.split()) if says else ""
