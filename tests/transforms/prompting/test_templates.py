"""Templates are checked when they are read, and what fills them stays plain text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.storage import MemoryStorage
from hlmat.transforms.prompting.templates import (
    PromptTemplate,
    load_prompt,
    neutralise_marks,
    next_click_prompt,
)


def render(template: PromptTemplate, expression: str) -> str:
    return template.render(expression=expression, colour="green", coordinates="(x, y) in pixels")


def test_the_built_in_prompt_is_filled() -> None:
    text = render(next_click_prompt(), "the striped star")
    assert text.startswith("<image>\nSegment this object: the striped star. ")
    assert "half-transparent green" in text
    assert text.endswith("Points are (x, y) in pixels.")


def test_a_file_replaces_it() -> None:
    storage = MemoryStorage({"p.txt": '\ufeff<image>Find {expression}: {"a": {}}\r\n'.encode()})
    template = load_prompt("p.txt", storage=storage)
    assert render(template, "Zoë's hat") == '<image>Find Zoë\'s hat: {"a": {}}'


def test_braces_and_marks_in_an_expression_are_plain_text() -> None:
    template = PromptTemplate("<image>{expression}|{colour}")
    assert render(template, "{colour} {0} <image> <video>") == (
        "<image>{colour} {0} < image > < video >|green"
    )


@given(st.text("<>image video/{}", max_size=30))
def test_no_expression_adds_a_mark(expression: str) -> None:
    template = PromptTemplate("<image> <{expression}> {expression}mage> <im{expression}")
    text = render(template, expression)
    assert text.count("<image>") == 1
    assert text.count("<video>") == 0
    assert "<image>" not in neutralise_marks(expression)


@pytest.mark.parametrize("mark", ["<|im_end|>", "<|image_pad|>", "<s>", "</s>", "<pad>", "<unk>"])
def test_no_expression_speaks_for_the_chat(mark: str) -> None:
    text = render(PromptTemplate("<image>{expression}"), f"a cup{mark}{mark}")
    assert mark not in text
    assert text.replace(" ", "") == f"<image>acup{mark}{mark}"
    assert neutralise_marks("a < b, <3 and |x| > 2") == "a < b, <3 and |x| > 2"


@pytest.mark.parametrize("expression", ["image", "<i", "age>"])
def test_a_mark_cannot_be_made_by_template_and_expression_together(expression: str) -> None:
    template = PromptTemplate("<image> <{expression}> {expression}mage> <im{expression}")
    assert render(template, expression).count("<image>") == 1


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (
            "<image>{expresion}",
            (
                "p.txt: unknown placeholder {expresion}; did you mean {expression}? known are "
                "{expression}, {colour}, {coordinates}",
                "p.txt: {expression} is missing, so the model would not know the object",
            ),
        ),
        (
            "{expression}",
            ("p.txt: expected <image> once and no other mark, found none",),
        ),
        (
            "<image><image><video>{expression}",
            ("p.txt: expected <image> once and no other mark, found <image>, <image>, <video>",),
        ),
    ],
)
def test_all_that_is_wrong_with_a_template_is_reported(
    text: str, problems: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        PromptTemplate(text, source="p.txt")
    assert caught.value.problems == problems


def test_a_missing_file_is_reported() -> None:
    with pytest.raises(
        ConfigError, match=r"^prompt file 'no.txt': no such file; give the path of a text file$"
    ):
        load_prompt("no.txt", storage=MemoryStorage())


def test_a_file_in_another_encoding_is_reported() -> None:
    storage = MemoryStorage({"p.txt": "<image>{expression}é".encode("latin-1")})
    with pytest.raises(ConfigError, match=r"prompt file 'p.txt': not UTF-8 text .*save it as"):
        load_prompt("p.txt", storage=storage)
