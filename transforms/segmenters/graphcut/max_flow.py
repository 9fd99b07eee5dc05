"""Minimum cuts of an 8-connected grid by push-relabel, nearest drain first."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

HARD = 1 << 24
"""A unary cost above any sum of pairwise costs around a pixel."""

_FAR = 1 << 30
# Steps per node of the grid between two global relabellings; a step that relabels counts for more.
_EFFORT = 2
_RELABELLING = 4


class GridCut:
    """Label a grid as object or background at minimum total cost; reuses the flow between cuts.

    A pixel labelled against the sign of its unary costs the unary's absolute value; two
    neighbours with different labels cost their pairwise weight. Ties go to the object, so the
    result is unique, although each cut starts from the flow of the last, as in Kohli and Torr,
    "Dynamic Graph Cuts for Efficient Inference in Markov Random Fields", PAMI 2007.

    Args:
        pairwise: int32, at least 0; weights from (y, x) to its right, lower, lower right and lower
            left neighbour. Weights across the grid's edge are ignored. Shape: (4, H, W).
    """

    def __init__(self, pairwise: NDArray[np.int32]) -> None:
        _, height, width = pairwise.shape
        # A frame of nodes without edges: no neighbour needs a bounds check.
        self._capacity = np.zeros((height + 2, width + 2, 8), np.int32)
        _lay_out(pairwise, self._capacity)
        self._terminal = np.zeros((height + 2, width + 2), np.int32)
        self._unary = np.zeros((height, width), np.int32)

    def cut(self, unary: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Label the grid.

        Args:
            unary: int32, positive where object is preferred. Shape: (H, W).

        Returns:
            bool, True for object. Shape: (H, W).

        Raises:
            ValueError: a shape other than the grid's.
        """
        if unary.shape != self._unary.shape:
            raise ValueError(
                f"unary has shape {unary.shape}, expected the grid's {self._unary.shape}"
            )
        self._terminal[1:-1, 1:-1] += unary - self._unary
        self._unary[:] = unary
        distance = np.empty(self._terminal.shape, np.int32)
        _push(
            self._terminal.reshape(-1),
            self._capacity.reshape(-1, 8),
            self._terminal.shape[1],
            distance.reshape(-1),
        )
        return distance[1:-1, 1:-1] == _FAR


@njit("void(int32[:, :, :], int32[:, :, ::1])", cache=True, nogil=True)
def _lay_out(  # pragma: no cover - compiled
    pairwise: NDArray[np.int32], capacity: NDArray[np.int32]
) -> None:
    """Store each pixel's edge capacities in the order of `offset` below."""
    height, width = pairwise.shape[1:]
    for y in range(height):
        for x in range(width):
            for edge, (dy, dx) in enumerate(((0, 1), (1, 0), (1, 1), (1, -1))):
                if y + dy < height and 0 <= x + dx < width:
                    weight = pairwise[edge, y, x]
                    capacity[y + 1, x + 1, 2 * edge] = weight
                    capacity[y + 1 + dy, x + 1 + dx, 2 * edge + 1] = weight


# Goldberg and Tarjan, "A New Approach to the Maximum-Flow Problem", JACM 1988, first phase, with
# the global relabelling and the gap rule of Cherkassky and Goldberg, "On Implementing the
# Push-Relabel Method for the Maximum Flow Problem", Algorithmica 1997. Unlike there, the node
# nearest to a drain is processed first: much of the object terminal's excess ends up behind the cut
# and should not move before nearby excess has filled the drains.
#
# capacity[i, d] is the residual of edge d of node i; offset[d] leads to its other end, and d ^ 1 is
# the opposite direction. terminal[i] > 0 is the excess of i, terminal[i] < 0 the remaining capacity
# of its drain. distance[i] is a lower bound on the number of edges from i to a drain. Indices are
# unsigned so that none counts from the end; an offset of -1 becomes 2 ** 64 - 1.


@njit("void(int32[::1], int32[:, ::1], int64, int32[::1])", cache=True, nogil=True)
def _push(  # pragma: no cover - compiled
    terminal: NDArray[np.int32],
    capacity: NDArray[np.int32],
    width: int,
    distance: NDArray[np.int32],
) -> None:
    """Push until no node with excess can reach a drain; nodes that cannot end up `_FAR`."""
    count = terminal.size
    one = np.uint64(1)
    offset = np.array(
        [1, -1, width, -width, width + 1, -width - 1, width - 1, 1 - width], np.int64
    ).view(np.uint64)
    queue = np.empty(count, np.uint32)
    # A linked list of the nodes with excess for each distance; -1 ends it.
    first = np.empty(count, np.int32)
    following = np.empty(count, np.int32)
    population = np.empty(count, np.int32)
    while True:
        distance[:] = _FAR
        first[:] = -1
        population[:] = 0
        tail = 0
        for node in range(count):
            if terminal[node] < 0:
                distance[node] = 0
                queue[tail] = node
                tail += 1
        farthest = -1
        head = 0
        while head < tail:
            i = np.uint64(queue[head])
            head += 1
            steps = distance[i]
            population[steps] += 1
            if terminal[i] > 0:
                following[i] = first[steps]
                first[steps] = np.int32(i)
                farthest = steps
            for direction in range(8):
                d = np.uint64(direction)
                j = i + offset[d]
                if distance[j] == _FAR and capacity[j, d ^ one] != 0:
                    distance[j] = steps + 1
                    queue[tail] = np.uint32(j)
                    tail += 1
        if farthest < 0:
            return
        effort = _EFFORT * count
        nearest = 0
        while nearest <= farthest and effort > 0:
            node = first[nearest]
            if node < 0:
                nearest += 1
                continue
            i = np.uint64(node)
            first[nearest] = following[i]
            steps = np.int32(nearest)
            effort -= 1
            rest = terminal[i]
            fewest = np.int32(_FAR)
            for direction in range(8):
                d = np.uint64(direction)
                residual = capacity[i, d]
                if residual == 0:
                    continue
                j = i + offset[d]
                if distance[j] != steps - 1:
                    fewest = min(fewest, distance[j])
                    continue
                flow = min(residual, rest)
                capacity[i, d] = residual - flow
                capacity[j, d ^ one] += flow
                had = terminal[j]
                terminal[j] = had + flow
                if had <= 0 and had + flow > 0:
                    following[j] = first[steps - 1]
                    first[steps - 1] = np.int32(j)
                    nearest = min(nearest, steps - 1)
                rest -= flow
                if rest == 0:
                    break
            terminal[i] = rest
            if rest == 0:
                continue
            effort -= _RELABELLING
            population[steps] -= 1
            if fewest >= count - 1 or population[steps] == 0:
                distance[i] = _FAR
                continue
            steps = fewest + 1
            distance[i] = steps
            population[steps] += 1
            following[i] = first[steps]
            first[steps] = node
            farthest = max(farthest, steps)
