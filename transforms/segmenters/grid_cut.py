"""The minimum cut of an 8-connected grid, by augmenting paths in two search trees."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

HARD = 1 << 24
"""A unary that no sum of pairwise costs around a pixel outweighs."""

_TERMINAL = 8
_ORPHAN = 9
_NONE = 10
_FREE, _OBJECT, _BACKGROUND = 0, 1, 2


def grid_cut(unary: NDArray[np.int32], pairwise: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Label a grid object or background at the least total cost.

    A pixel labelled against the sign of its unary costs the unary's absolute value; two
    neighbours with different labels cost their pairwise weight. Ties go to the object.

    Args:
        unary: int32, positive where object is preferred. Shape: (H, W).
        pairwise: int32, at least 0; the weights from (y, x) to its right, lower, lower right and
            lower left neighbour. Weights that lead out of the grid are ignored.
            Shape: (4, H, W).

    Returns:
        True for object. Shape: (H, W).
    """
    return cut_with_value(unary, pairwise)[0]


def cut_with_value(
    unary: NDArray[np.int32], pairwise: NDArray[np.int32]
) -> tuple[NDArray[np.bool_], int]:
    """Return the labels of `grid_cut` and the cost of the cut."""
    height, width = unary.shape
    if pairwise.shape != (4, height, width):
        raise ValueError(
            f"pairwise weights must have the shape {(4, height, width)} that belongs to unary "
            f"costs of shape {(height, width)}, got {pairwise.shape}"
        )
    # A frame of nodes without edges: no neighbour needs a bounds check.
    terminal = np.zeros((height + 2, width + 2), np.int32)
    terminal[1:-1, 1:-1] = unary
    capacity = np.zeros((height + 2, width + 2, 8), np.int32)
    inner = capacity[1:-1, 1:-1]
    right, down, down_right, down_left = pairwise
    inner[:, :-1, 0] = inner[:, 1:, 1] = right[:, :-1]
    inner[:-1, :, 2] = inner[1:, :, 3] = down[:-1]
    inner[:-1, :-1, 4] = inner[1:, 1:, 5] = down_right[:-1, :-1]
    inner[:-1, 1:, 6] = inner[1:, :-1, 7] = down_left[:-1, 1:]
    side = np.empty(terminal.size, np.uint8)
    value = _maximum_flow(terminal.ravel(), capacity.ravel(), width + 2, side)
    labels = side.reshape(height + 2, width + 2)[1:-1, 1:-1] != _BACKGROUND
    return labels, int(value)


# Boykov and Kolmogorov, "An Experimental Comparison of Min-Cut/Max-Flow Algorithms for Energy
# Minimization in Vision", PAMI 2004, with the distance and time marks that the paper describes.
# Two trees grow, one from the object's terminal and one from the background's; where they touch,
# flow is pushed from terminal to terminal; what a saturated edge cuts off seeks a new parent.
#
# Edge d of node i is capacity[8 * i + d], a residual; offset[d] leads to its other end, and d ^ 1
# is the opposite direction. terminal[i] > 0 is what the object's terminal can still give to i,
# terminal[i] < 0 what the background's can still take. side[i] is the tree that holds i, parent[i]
# the direction of its parent.


@njit(
    "int64(int32[::1], int32[::1], int64[::1], uint8[::1], int32[::1], int64, int64, int64)",
    cache=True,
)
def _augment(  # pragma: no cover - compiled
    terminal: NDArray[np.int32],
    capacity: NDArray[np.int32],
    offset: NDArray[np.int64],
    parent: NDArray[np.uint8],
    orphans: NDArray[np.int32],
    a: int,
    b: int,
    bridge: int,
) -> int:
    """Push flow along object root -> a -> b -> background root; orphans[0] counts the cut off."""
    bottleneck = capacity[8 * a + bridge]
    k = a
    while parent[k] != _TERMINAL:
        d = np.int64(parent[k])
        k += offset[d]
        bottleneck = min(bottleneck, capacity[8 * k + (d ^ 1)])
    bottleneck = min(bottleneck, terminal[k])
    k = b
    while parent[k] != _TERMINAL:
        d = np.int64(parent[k])
        bottleneck = min(bottleneck, capacity[8 * k + d])
        k += offset[d]
    bottleneck = min(bottleneck, -terminal[k])
    capacity[8 * a + bridge] -= bottleneck
    capacity[8 * b + (bridge ^ 1)] += bottleneck
    count = 0
    for start, sign in ((a, 1), (b, -1)):
        k = start
        while parent[k] != _TERMINAL:
            d = np.int64(parent[k])
            p = k + offset[d]
            capacity[8 * k + d] += sign * bottleneck
            capacity[8 * p + (d ^ 1)] -= sign * bottleneck
            if (capacity[8 * p + (d ^ 1)] if sign > 0 else capacity[8 * k + d]) == 0:
                parent[k] = _ORPHAN
                count += 1
                orphans[count] = k
            k = p
        terminal[k] -= sign * bottleneck
        if terminal[k] == 0:
            parent[k] = _ORPHAN
            count += 1
            orphans[count] = k
    orphans[0] = count
    return int(bottleneck)


@njit("int64(int32[::1], int32[::1], int64, uint8[::1])", cache=True)
def _maximum_flow(  # pragma: no cover - compiled
    terminal: NDArray[np.int32], capacity: NDArray[np.int32], width: int, side: NDArray[np.uint8]
) -> int:
    """Push the maximum flow; `side` becomes the tree of each node."""
    count = terminal.size
    offset = np.array([1, -1, width, -width, width + 1, -width - 1, width - 1, 1 - width])
    parent = np.full(count, _NONE, np.uint8)
    stamp = np.zeros(count, np.int32)
    distance = np.zeros(count, np.int32)
    # The nodes that may still grow: a ring in which each stands once at most.
    queued = np.zeros(count, np.bool_)
    queue = np.empty(count, np.int32)
    queue_head, queue_length = 0, 0
    roots = np.empty(count + 1, np.int32)
    orphans = np.empty(count, np.int32)
    side[:] = _FREE
    for i in range(count):
        if terminal[i] != 0:
            side[i] = _OBJECT if terminal[i] > 0 else _BACKGROUND
            parent[i] = _TERMINAL
            distance[i] = 1
            queued[i] = True
            queue[queue_length] = i
            queue_length += 1
    flow = np.int64(0)
    time = 0
    current = -1
    while True:
        if current < 0 or side[current] == _FREE:
            current = -1
            while queue_length > 0:
                i = queue[queue_head]
                queue_head = queue_head + 1 if queue_head + 1 < count else 0
                queue_length -= 1
                queued[i] = False
                if side[i] != _FREE:
                    current = i
                    break
            if current < 0:
                return int(flow)
        i = np.int64(current)
        mine = side[i]
        meeting = -1
        for d in range(8):
            j = i + offset[d]
            residual = capacity[8 * i + d] if mine == _OBJECT else capacity[8 * j + (d ^ 1)]
            if residual == 0:
                continue
            if side[j] == _FREE:
                side[j] = mine
                parent[j] = d ^ 1
                stamp[j] = stamp[i]
                distance[j] = distance[i] + 1
                if not queued[j]:
                    queued[j] = True
                    tail = queue_head + queue_length
                    queue[tail if tail < count else tail - count] = j
                    queue_length += 1
            elif side[j] != mine:
                meeting = d
                break
            elif stamp[j] <= stamp[i] and distance[j] > distance[i]:
                parent[j] = d ^ 1
                stamp[j] = stamp[i]
                distance[j] = distance[i] + 1
        time += 1
        if meeting < 0:
            current = -1
            continue
        j = i + offset[meeting]
        if mine == _OBJECT:
            flow += _augment(terminal, capacity, offset, parent, roots, i, j, meeting)
        else:
            flow += _augment(terminal, capacity, offset, parent, roots, j, i, meeting ^ 1)
        # Each subtree that was cut off seeks new parents, the last first; breadth first within.
        for root in range(roots[0], 0, -1):
            orphans[0] = roots[root]
            head, length = 0, 1
            while length > 0:
                i = np.int64(orphans[head])
                head = head + 1 if head + 1 < count else 0
                length -= 1
                mine = side[i]
                best, best_distance = -1, np.int32(2147483647)
                for d in range(8):
                    j = i + offset[d]
                    if side[j] != mine or parent[j] == _NONE:
                        continue
                    towards, edge = (j, d ^ 1) if mine == _OBJECT else (i, d)
                    residual = capacity[8 * towards + edge]
                    if residual == 0:
                        continue
                    steps = np.int32(0)
                    k = j
                    rooted = True
                    while stamp[k] != time:
                        steps += 1
                        if parent[k] == _TERMINAL:
                            stamp[k] = time
                            distance[k] = 1
                            break
                        if parent[k] == _ORPHAN:
                            rooted = False
                            break
                        k = k + offset[parent[k]]
                    else:
                        steps += distance[k]
                    if not rooted:
                        continue
                    if steps < best_distance:
                        best, best_distance = d, steps
                    k = j
                    while stamp[k] != time:
                        stamp[k] = time
                        distance[k] = steps
                        steps -= 1
                        k = k + offset[parent[k]]
                if best >= 0:
                    parent[i] = best
                    stamp[i] = time
                    distance[i] = best_distance + 1
                    continue
                for d in range(8):
                    j = i + offset[d]
                    if side[j] != mine:
                        continue
                    towards, edge = (j, d ^ 1) if mine == _OBJECT else (i, d)
                    residual = capacity[8 * towards + edge]
                    if residual != 0 and not queued[j]:
                        queued[j] = True
                        tail = queue_head + queue_length
                        queue[tail if tail < count else tail - count] = j
                        queue_length += 1
                    if parent[j] == (d ^ 1):
                        parent[j] = _ORPHAN
                        tail = head + length
                        orphans[tail if tail < count else tail - count] = j
                        length += 1
                side[i] = _FREE
                parent[i] = _NONE
