"""Batches of requests whose prompts have one shape, so that none has to be padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hlmat.transforms.core.protocols import Request


def batches_of_one_kind(requests: Sequence[Request], *, at_most: int) -> Iterator[list[int]]:
    """Yield the indices of requests that agree in number of clicks, box and feedback.

    Args:
        requests: of any kinds.
        at_most: how many may be in a batch.

    >>> from hlmat.transforms.core.records import Click
    >>> one, two = Request((Click(0, 0, True),)), Request((Click(0, 0, True),) * 2)
    >>> list(batches_of_one_kind([one, two, one, one], at_most=2))
    [[0, 2], [3], [1]]
    """
    kinds: dict[tuple[int, bool, bool], list[int]] = {}
    for index, request in enumerate(requests):
        kind = (len(request.clicks), request.box is not None, request.feedback is not None)
        kinds.setdefault(kind, []).append(index)
    for indices in kinds.values():
        for start in range(0, len(indices), at_most):
            yield indices[start : start + at_most]
