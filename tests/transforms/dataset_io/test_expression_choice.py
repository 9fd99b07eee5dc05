"""One target per expression, and expressions that change owners."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

import builders
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.dataset_io.expression_choice import (
    ExpressionChoice,
    one_item_per_expression,
    shuffled_expressions,
)


def make_ref(name: str, *expressions: str) -> TargetRef:
    return builders.target_ref(name, *expressions)


def identities(choice: ExpressionChoice) -> list[tuple[str, ...]]:
    refs = [make_ref("a", "x", "y"), make_ref("b", "z")]
    items = one_item_per_expression(refs, choice, seed=0)
    return [(i.target_id, *i.expressions) for i in items if isinstance(i, TargetRef)]


def test_every_expression_is_a_target_of_its_own() -> None:
    assert identities(ExpressionChoice.EACH) == [("a@0", "x"), ("a@1", "y"), ("b@0", "z")]
    assert identities(ExpressionChoice.FIRST) == [("a@0", "x"), ("b@0", "z")]


def test_shuffled_targets_get_those_of_another() -> None:
    assert identities(ExpressionChoice.SHUFFLED) == [("a@0", "z"), ("b@0", "x"), ("b@1", "y")]


def test_rejects_pass() -> None:
    reject = Reject(make_ref("r", "x", "y"), RejectReason.EMPTY_MASK, "empty")
    assert list(one_item_per_expression([reject], ExpressionChoice.EACH, seed=0)) == [reject]


@given(st.integers(2, 60), st.integers(0, 5))
def test_shuffling_keeps_all_texts_and_leaves_none_with_its_owner(count: int, seed: int) -> None:
    refs = [make_ref(str(i), f"text {i}") for i in range(count)]
    shuffled = shuffled_expressions(refs, seed=seed)
    assert sorted(shuffled) == sorted(r.expressions for r in refs)
    assert all(new != ref.expressions for new, ref in zip(shuffled, refs, strict=True))
    assert shuffled == shuffled_expressions(refs, seed=seed)
