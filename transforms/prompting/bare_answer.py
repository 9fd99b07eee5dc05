"""Extract the answer from a model's text, without what chat models wrap around it."""

from __future__ import annotations

import re

_REASONING_STARTS, _REASONING_ENDS = "<think>", "</think>"
_FENCE = re.compile(r"```[A-Za-z]*\n(.*)\n```", re.DOTALL)
_MARKS = (("<|begin_of_box|>", "<|end_of_box|>"), ("**", "**"), ("`", "`"), ("*", "*"))
"""Those of GLM-4.5V around its answer, and Markdown's."""
_MOST_WRAPPERS = 5
"""A box, a fence, bold letters, a code mark and a full stop."""


def bare_answer(text: str) -> str:
    """Strip reasoning, GLM-4.5V's box, code fence, bold marks, full stop and white space.

    Reasoning ends at the last `</think>`; its start is part of the prompt for some models.

    Raises:
        ValueError: reasoning that does not end.

    >>> bare_answer("<think>It is red.</think>\\n\\n**Finish**.")
    'Finish'
    """
    _, mark, rest = text.rpartition(_REASONING_ENDS)
    if not mark and text.lstrip().startswith(_REASONING_STARTS):
        raise ValueError(f"reasoning without an end: expected {_REASONING_ENDS} and the answer")
    answer = rest.strip()
    for _ in range(_MOST_WRAPPERS):
        inner = _unwrapped(answer)
        if inner == answer:
            break
        answer = inner
    return answer


def _unwrapped(text: str) -> str:
    if (fenced := _FENCE.fullmatch(text)) is not None:
        return fenced[1].strip()
    for start, end in _MARKS:
        if len(text) > len(start + end) and text.startswith(start) and text.endswith(end):
            return text[len(start) : -len(end)].strip()
    return text.removesuffix(".").rstrip()
