"""A model's score of a mask, read from the probabilities of its digits instead of the likeliest.

A model that writes a number puts probability on several digits, and the likeliest one hides the
others: 0.4 on 0 and 0.3 each on 7 and 8 is written as 0. The expected value of a rating over the
probabilities of its tokens is finer and agrees better with people's ratings (G-Eval, Liu et al.,
EMNLP 2023, arXiv 2303.16634, section 2.3).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.prompting.predicted_iou import find_predicted_iou, render_percent

_NUMBER = re.compile(r"[0-9]{1,3}")
_HIGHEST = 100.0


class NumberTokens:
    """The tokens of a vocabulary that are numbers of one to three digits.

    Args:
        pieces: the text of each token.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        texts = [piece.strip() for piece in pieces]
        found = [i for i, text in enumerate(texts) if _NUMBER.fullmatch(text)]
        self.ids: NDArray[np.int64] = np.array(found, np.int64)
        self.texts: tuple[str, ...] = tuple(texts[i] for i in found)
        self.place: Mapping[int, int] = {token: k for k, token in enumerate(found)}
        self._first = np.array([_centre(text) for text in self.texts])
        self._is_digit = np.array([len(text) == 1 for text in self.texts])
        self._value = np.array([int(text) for text in self.texts], float)

    def expected(self, first: NDArray[Any], second: NDArray[Any] | None, written: int) -> float:
        """Return the expected value of a percentage.

        A first digit stands for the middle of its ten numbers, 0 for less than one percent. Where
        the written first token is a digit, its numbers are weighed by the second one's
        probabilities. What is unknown is the second digit after another first one, so the result
        is at most 5 times the probability of those away from the expected value.

        Args:
            first: the logits of the number tokens at the place of the first. Shape: (N,).
            second: the same at the place after it; None if another first token is written.
            written: which number token is written first.

        Returns:
            In [0, 100].
        """
        weights, values = _softmax(first), self._first.copy()
        if second is not None and self._is_digit[written] and self._value[written] > 0:
            digits = _softmax(np.where(self._is_digit, second, -np.inf))
            tens = 10 * self._value[written]
            values[written] = float(digits @ np.where(self._is_digit, tens + self._value + 0.5, 0))
        return float(min(_HIGHEST, weights @ values))


class NumberLogits:
    """Keeps the logits of number tokens while a batch is generated, and changes none.

    A logits processor of transformers, to be the first of its list.
    """

    def __init__(self, tokens: NumberTokens) -> None:
        self._tokens = tokens
        self._kept: list[NDArray[np.float32]] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        self._kept.append(scores[:, self._tokens.ids].float().cpu().numpy())
        return scores

    def rescored(self, text: str, row: int, written: Sequence[int], decode: Decode) -> str:
        """Return an answer with the expected value in the place of its last predicted IoU.

        Args:
            text: the answer.
            row: its row in the batch.
            written: its tokens.
            decode: from tokens to the text that they are.
        """
        place = find_predicted_iou(text)
        if place is None:
            return text
        start, end = place
        tokens = self._tokens
        at = next(i for i in range(len(written)) if len(decode(written[: i + 1])) > start)
        token = tokens.place.get(written[at])
        if token is None:
            return text
        if float(text[start:end]) == _HIGHEST:
            # Its second digit is that of 10, and its third is past doubt.
            return text
        second = self._kept[at + 1][row] if at + 1 < len(self._kept) else None
        expected = tokens.expected(self._kept[at][row], second, token)
        return text[:start] + render_percent(expected / 100) + text[end:]


Decode = Callable[[Sequence[int]], str]


def _centre(text: str) -> float:
    """Return the middle of the percentages that begin with a token."""
    value = int(text)
    if len(text) == 1:
        return 10.0 * value + 5 if value else 0.0
    return min(_HIGHEST, value + 0.5)


def _softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    weights = np.exp(logits.astype(np.float64) - logits.max())
    return weights / weights.sum()
