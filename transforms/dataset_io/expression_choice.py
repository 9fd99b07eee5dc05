"""Which expressions stand for a target: all, the first, or, as a baseline, another target's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum

from hlmat.transforms.core.records import TargetRef
from hlmat.transforms.dataset_io.work_units import WorkItem


class ExpressionChoice(StrEnum):
    """Which expressions stand for a target."""

    EACH = "each"
    FIRST = "first"
    SHUFFLED = "shuffled"


def one_item_per_expression(
    items: Iterable[WorkItem], choice: ExpressionChoice, *, seed: int
) -> Iterator[WorkItem]:
    """Yield one target per expression, as benchmarks score them.

    The k-th expression of target T gets the id "T@k". With `SHUFFLED` each target first gets the
    expressions of another one. Rejects pass through.
    """
    if choice is ExpressionChoice.SHUFFLED:
        items = list(items)
        refs = [item for item in items if isinstance(item, TargetRef)]
        texts = iter(shuffled_expressions(refs, seed=seed))
        items = [
            replace(item, expressions=next(texts)) if isinstance(item, TargetRef) else item
            for item in items
        ]
    for item in items:
        if not isinstance(item, TargetRef):
            yield item
            continue
        count = 1 if choice is ExpressionChoice.FIRST else len(item.expressions)
        for k, text in enumerate(item.expressions[:count]):
            yield replace(item, target_id=f"{item.target_id}@{k}", expressions=(text,))


def shuffled_expressions(refs: Sequence[TargetRef], *, seed: int) -> list[tuple[str, ...]]:
    """Return each target's new expressions: those of another target, chosen at random.

    Sattolo's algorithm: one cycle through all targets, so none of two or more keeps its own.
    """
    # NumPy is heavy, and the settings need the names above alone.
    from hlmat.transforms.core.rng import target_rng

    rng = target_rng(seed, "all targets", "shuffled-expressions")
    order = list(range(len(refs)))
    for last in range(len(order) - 1, 0, -1):
        other = int(rng.integers(last))
        order[last], order[other] = order[other], order[last]
    return [refs[k].expressions for k in order]
