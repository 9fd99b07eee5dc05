"""Batches of one kind: every request is in one of them, beside its like alone, none too large."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.protocols import Request
from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.segmenters.request_batches import batches_of_one_kind

requests = st.builds(
    Request,
    clicks=st.lists(
        st.builds(Click, st.integers(0, 9), st.integers(0, 9), st.booleans()), max_size=3
    ).map(tuple),
    box=st.none() | st.just(Box(0, 0, 5, 5)),
    feedback=st.none() | st.integers(),
)


def kind(request: Request) -> tuple[int, bool, bool]:
    return len(request.clicks), request.box is not None, request.feedback is not None


@given(st.lists(requests, max_size=9), st.integers(1, 4))
def test_every_request_is_in_one_batch_with_its_like(asked: list[Request], at_most: int):
    batches = list(batches_of_one_kind(asked, at_most=at_most))
    assert sorted(index for batch in batches for index in batch) == list(range(len(asked)))
    assert all(batch == sorted(batch) and len(batch) <= at_most for batch in batches)
    assert all(len({kind(asked[i]) for i in batch}) == 1 for batch in batches)
    needed = Counter(kind(request) for request in asked)
    assert len(batches) == sum(-(-count // at_most) for count in needed.values())
