"""The tokens around a picture and a text: the conversation that fine-tuning will use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.records import Click, Finish
from hlmat.transforms.prompting.coordinates import CoordinateCodec
from hlmat.transforms.prompting.dialogues.segagent import render_action
from hlmat.transforms.prompting.predicted_iou import PREDICTED_IOU_MARK
from hlmat.transforms.tiny_vlm.scenes import FINISH, NEGATIVE, POSITIVE

DIGITS = 4
"""Digits of a click: two decimals of x, then two of y."""

_SIZE = (100, 100)
"""Of an image in which pixel (12, 34) is written (0.12, 0.34)."""


@dataclass(frozen=True)
class Conversation:
    """Tokens of a question with the picture first, and of its answers.

    Attributes:
        before: what stands before the picture's tokens.
        after: the token after them; the expression follows.
        between: what stands between expression and answer.
        answers: by action, with `places` still to be filled in.
        places: where an answer's digits stand.
        digits: the tokens of "0" to "9".
        padding: stands after the end.
        score_mark: what a score begins with.
        point: the decimal point of a score.
        score_end: what stands between a score and an action.
    """

    before: tuple[int, ...]
    after: int
    between: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]
    places: tuple[int, ...]
    digits: tuple[int, ...]
    padding: int
    score_mark: tuple[int, ...]
    point: tuple[int, ...]
    score_end: tuple[int, ...]

    def answer(self, action: int, written: Sequence[int] | NDArray[np.int64]) -> list[int]:
        """Return an answer's tokens; `written` are its four digits."""
        ids = list(self.answers[action])
        if action != FINISH:
            for place, digit in zip(self.places, written, strict=True):
                ids[place] = self.digits[digit]
        return ids

    def score(self, iou: float) -> list[int]:
        """Return the tokens of a score and of what stands between it and an action."""
        whole, tenths = f"{100 * iou:.1f}".split(".")
        digits = [self.digits[int(d)] for d in whole]
        return [*self.score_mark, *digits, *self.point, self.digits[int(tenths)], *self.score_end]

    @property
    def longest_score(self) -> int:
        """The most tokens that `score` returns."""
        return len(self.score(1.0))

    @property
    def longest_answer(self) -> int:
        """The most tokens of an answer."""
        return max(map(len, self.answers))


def build_conversation(tokenizer: Any, codec: CoordinateCodec, *, end: str) -> Conversation:
    """Take the chat template apart at the picture, the expression and the answer.

    Args:
        tokenizer: with the chat template of the small model.
        codec: writes two decimals per axis.
        end: the mark after an answer.
    """

    def ids(text: str) -> tuple[int, ...]:
        return tuple(tokenizer(text)["input_ids"])

    content = [{"type": "image"}, {"type": "text", "text": "EXPRESSION"}]
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    before, _, rest = asked.partition("<|image_pad|>")
    after, _, between = rest.partition("EXPRESSION")
    actions = {
        POSITIVE: Click(12, 34, is_positive=True),
        NEGATIVE: Click(12, 34, is_positive=False),
        FINISH: Finish(),
    }
    texts = [render_action(actions[a], size_hw=_SIZE, codec=codec) + end for a in range(3)]
    answers = tuple(ids(text) for text in texts)
    digits = tuple(ids(d)[0] for d in "0123456789")
    written = [digits[d] for d in (1, 2, 3, 4)]
    places = tuple(i for i, token in enumerate(answers[POSITIVE]) if token in written)
    if len(places) != DIGITS:
        raise ValueError(f"expected four digits in {texts[POSITIVE]!r}")
    return Conversation(
        before=ids(before),
        after=ids(after)[0],
        between=ids(between),
        answers=answers,
        places=places,
        digits=digits,
        padding=tokenizer.pad_token_id,
        score_mark=ids(PREDICTED_IOU_MARK),
        point=ids("."),
        score_end=ids("0, Positive")[1:-1],
    )
