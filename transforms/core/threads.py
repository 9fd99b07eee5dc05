"""Map functions over items on several threads; results keep the order of the items."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """Count the cores that this process may use."""
    # Not every system can bind a process to cores.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Threads:
    """A pool of threads that maps functions over items.

    The functions should release Python's interpreter lock.

    Args:
        count: how many threads, at least 1.
    """

    def __init__(self, count: int = 1) -> None:
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        self.count = count
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="hlmat")

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Return each item's result, in order; a count of 1 uses the caller's thread.

        >>> Threads(2).map(abs, [-1, 2, -3])
        [1, 2, 3]
        """
        if self.count == 1 or len(items) < 2:
            return [function(item) for item in items]
        return list(self._pool.map(function, items))

    def map_ahead(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, ahead: int
    ) -> Iterator[Result]:
        """Yield each item's result in order; compute up to `ahead` items in advance.

        Args:
            ahead: how many results may wait; 0 computes an item when it is requested.
        """
        if self._pool is None or ahead < 1:
            yield from map(function, items)
            return
        source = iter(items)
        waiting: deque[Future[Result]] = deque(
            self._pool.submit(function, item) for item in islice(source, ahead)
        )
        try:
            while waiting:
                first = waiting.popleft()
                waiting.extend(self._pool.submit(function, item) for item in islice(source, 1))
                yield first.result()
        finally:
            for future in waiting:
                future.cancel()
