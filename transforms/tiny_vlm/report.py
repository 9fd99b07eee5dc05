"""How far the pre-training of the small model has come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PretrainingReport:
    """What the model does on held-out images.

    Attributes:
        step: updates made.
        seen: shares of right answers about patches with an object, by question, in [0, 1].
        answered: by name, shares of right answers to texts, in [0, 1]: `click`, the click lies in
            the named object; `action`, with a mask shown, the action is the oracle's. Empty as
            long as no texts were read.
    """

    step: int
    seen: dict[str, float]
    answered: dict[str, float]
