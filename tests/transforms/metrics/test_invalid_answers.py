from __future__ import annotations

import numpy as np

from builders import target, trajectory
from hlmat.transforms.core.records import StopReason
from hlmat.transforms.metrics.invalid_answers import (
    answer_form,
    invalid_causes,
    invalid_forms,
    remark_on_invalid,
)


def test_causes_are_counted_by_kind():
    details = [
        "x is 1000, expected 0 to 999",
        "the answer is empty",
        "x is 1007, expected 0 to 999",
        "'a b' is not a whole number",
        "'c' is not a whole number",
        "x is 2000, expected 0 to 999",
        None,
    ]
    of = target(np.ones((2, 2), bool))
    ended = [
        trajectory(of, stop_reason=StopReason.INVALID_ACTION, stop_detail=detail)
        for detail in details
    ]
    others = [trajectory(of, stop_reason=StopReason.NO_GAIN, stop_detail="x")]
    causes = invalid_causes([*others, *ended])
    assert causes == {
        "x is 1000, expected 0 to 999": 3,
        "'a b' is not a whole number": 2,
        "the answer is empty": 1,
        "not recorded": 1,
    }
    assert next(iter(causes)) == "x is 1000, expected 0 to 999"


def test_few_are_not_worth_a_remark():
    assert remark_on_invalid({"a": 1}, rollouts=11) is None
    assert remark_on_invalid({}, rollouts=11) is None
    assert remark_on_invalid({"a": 1, "b": 1}, rollouts=20) == (
        "2 of 20 rollouts ended at an invalid answer; most frequent cause (1): a"
    )


def test_the_most_frequent_forms_are_listed_without_numbers_and_reasoning():
    said = [
        *[f"Click at ({k}, {10 * k})!" for k in range(5)],
        "<think>left</think> Stop",
        "<think>right\n</think>\nStop",
        *[f"form {letter}" for letter in "abcdefghijkl"],
    ]
    of = target(np.ones((2, 2), bool))
    ended = [trajectory(of, stop_reason=StopReason.INVALID_ACTION, last_answer=s) for s in said]
    others = [
        trajectory(of, stop_reason=StopReason.FINISHED, last_answer="Finish"),
        trajectory(of, stop_reason=StopReason.INVALID_ACTION),
    ]
    forms = invalid_forms([*others, *reversed(ended)])
    assert list(forms.items())[:3] == [
        ("Click at (#, #)!", 5),
        ("<think>...</think> Stop", 2),
        ("form a", 1),
    ]
    assert len(forms) == 10


def test_starts_without_an_end_stay_and_take_one_pass():
    assert answer_form("<think>a</think>b<think>c") == "<think>...</think>b<think>c"
    assert answer_form("<think>" * 300_000) == ("<think>" * 23)[:160] + "..."


def test_a_long_form_is_cut_off():
    assert answer_form("9" * 500) == "#"
    assert answer_form("a" * 500) == "a" * 160 + "..."
