"""A score is the expected value over the probabilities of its digits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from hlmat.transforms.policies.backends.checkpoint.expected_score import (
    NumberLogits,
    NumberTokens,
)

torch = pytest.importorskip("torch")

PIECES = ["Current IOU: ", *"0123456789", ".", ", ", "Finish", " 43", "100", "4th"]
ID = {piece: i for i, piece in enumerate(PIECES)}
DIGITS = NumberTokens(PIECES[:14])
ALL = NumberTokens(PIECES)


def logits(tokens: NumberTokens, **chances: float) -> np.ndarray:
    """Return logits of number tokens that are likely by their chances, given as `d7=0.3`."""
    found = np.full(len(tokens.texts), -np.inf)
    for name, chance in chances.items():
        found[tokens.texts.index(name[1:])] = np.log(chance)
    return found


def place(tokens: NumberTokens, text: str) -> int:
    return tokens.texts.index(text)


def test_numbers_of_up_to_three_digits_are_found_with_their_spaces() -> None:
    assert ALL.texts == (*"0123456789", "43", "100")
    assert ALL.ids.tolist() == [*range(1, 11), ID[" 43"], ID["100"]]


@pytest.mark.parametrize(
    ("first", "second", "written", "expected"),
    [
        ({"d0": 1.0}, None, "0", 0.0),
        # A first digit is the middle of its ten numbers where another one is written.
        ({"d0": 0.4, "d7": 0.3, "d8": 0.3}, None, "0", 0.3 * 75 + 0.3 * 85),
        # The written one's are weighed by the second digit.
        ({"d9": 1.0}, {"d0": 0.5, "d8": 0.5}, "9", 0.5 * 90.5 + 0.5 * 98.5),
        ({"d9": 0.5, "d0": 0.5}, {"d2": 1.0}, "9", 0.5 * 92.5),
    ],
)
def test_the_expected_value_of_digits(
    first: dict[str, float], second: dict[str, float] | None, written: str, expected: float
) -> None:
    after = None if second is None else logits(DIGITS, **second)
    found = DIGITS.expected(logits(DIGITS, **first), after, place(DIGITS, written))
    assert found == pytest.approx(expected)


def test_numbers_of_one_token_stand_for_themselves() -> None:
    first = logits(ALL, d43=0.5, d100=0.5)
    assert ALL.expected(first, None, place(ALL, "43")) == pytest.approx(0.5 * 43.5 + 50)


def decode(tokens: Sequence[int]) -> str:
    return "".join(PIECES[t] for t in tokens)


def kept(rows: list[dict[str, float]]) -> NumberLogits:
    """Return the logits of one answer's places; scores pass through unchanged."""
    made = NumberLogits(DIGITS)
    for chances in rows:
        scores = torch.full((1, 14), -1e9)
        for name, chance in chances.items():
            scores[0, ID[name]] = float(np.log(chance))
        assert made(None, scores) is scores
    return made


def test_a_score_is_replaced_in_the_text_of_the_answer() -> None:
    spelled = ["Current IOU: ", "0", ".", "0", ", ", "Finish"]
    chances = [{"Current IOU: ": 1.0}, {"0": 0.6, "8": 0.4}, {".": 1.0}, {"0": 1.0}, {}, {}]
    text = "".join(spelled)
    found = kept(chances).rescored(text, 0, [ID[p] for p in spelled], decode)
    assert found == "Current IOU: 34.0, Finish"


def test_one_hundred_is_not_taken_for_a_number_of_two_digits() -> None:
    spelled = ["Current IOU: ", "1", "0", "0", ".", "0"]
    chances: list[dict[str, float]] = [{}, {"1": 1.0}, {"0": 1.0}, {"0": 1.0}, {}, {}]
    found = kept(chances).rescored("Current IOU: 100.0", 0, [ID[p] for p in spelled], decode)
    assert found == "Current IOU: 100.0"


@pytest.mark.parametrize("text", ["Finish", "Current IOU: , Finish"])
def test_an_answer_without_a_score_stays_as_it_is(text: str) -> None:
    assert kept([{}]).rescored(text, 0, [ID["Finish"]], decode) == text
