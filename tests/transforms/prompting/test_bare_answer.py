from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.prompting.bare_answer import bare_answer

ANSWER = "Positive point: (0.332, 0.444)"


@pytest.mark.parametrize(
    "text",
    [
        ANSWER,
        f"  {ANSWER}\n",
        f"{ANSWER}.",
        f"**{ANSWER}**",
        f"**{ANSWER}.**",
        f"**{ANSWER}**.",
        f"`{ANSWER}`",
        f"```\n{ANSWER}\n```",
        f"<|begin_of_box|>{ANSWER}<|end_of_box|>",
        f"<think>a</think>\n<|begin_of_box|>\n```\n**`{ANSWER}`.**\n```\n<|end_of_box|>",
        f"```text\n{ANSWER}\n```\n",
        f"<think>The box is left.</think>\n\n{ANSWER}",
        f"The box is on the left, so I click it.</think>\n{ANSWER}",
        f"<think>a</think>b</think>```\n**{ANSWER}.**\n```",
    ],
)
def test_what_stands_around_an_answer_is_left_out(text: str):
    assert bare_answer(text) == ANSWER


@pytest.mark.parametrize("text", ["", ".", "**", "a. b", "so: **Finish**", "**a"])
def test_other_texts_lose_at_most_an_end(text: str):
    assert bare_answer(text) in (text, text.removesuffix("."))


def test_reasoning_that_does_not_end():
    with pytest.raises(ValueError, match="reasoning without an end"):
        bare_answer(f"<think>I click. {ANSWER}")


@given(st.text(alphabet="a.*`\n<think>/ ", max_size=40))
def test_what_is_left_is_part_of_the_text(text: str):
    if text.lstrip().startswith("<think>") and "</think>" not in text:
        return
    assert bare_answer(text) in text
