"""The cut is a minimum cut, checked against SciPy's maximum flow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import maximum_flow

from hlmat.transforms.segmenters.graphcut.max_flow import HARD, GridCut

# Row and column slices of the two ends of each kind of edge, in the order of the weights.
_ENDS = (
    (np.s_[:, :-1], np.s_[:, 1:]),
    (np.s_[:-1], np.s_[1:]),
    (np.s_[:-1, :-1], np.s_[1:, 1:]),
    (np.s_[:-1, 1:], np.s_[1:, :-1]),
)


def cost(unary: NDArray[np.int32], pairwise: NDArray[np.int32], labels: NDArray[np.bool_]) -> int:
    """Return the cost of a labelling, by definition."""
    total = int(np.where(labels, np.maximum(-unary, 0), np.maximum(unary, 0)).sum())
    for weights, (a, b) in zip(pairwise, _ENDS, strict=True):
        total += int(weights[a][labels[a] != labels[b]].sum())
    return total


def flow_by_scipy(unary: NDArray[np.int32], pairwise: NDArray[np.int32]) -> int:
    """Return the maximum flow of the same graph, built edge by edge."""
    nodes = np.arange(unary.size).reshape(unary.shape)
    source, sink = unary.size, unary.size + 1
    starts, ends, weights = [], [], []

    def add(a: NDArray[np.intp], b: NDArray[np.intp], capacity: NDArray[np.int32]) -> None:
        starts.append(a.ravel())
        ends.append(b.ravel())
        weights.append(capacity.ravel())

    for capacity, (a, b) in zip(pairwise, _ENDS, strict=True):
        add(nodes[a], nodes[b], capacity[a])
        add(nodes[b], nodes[a], capacity[a])
    add(np.full_like(nodes, source), nodes, np.maximum(unary, 0))
    add(nodes, np.full_like(nodes, sink), np.maximum(-unary, 0))
    graph = coo_matrix(
        (np.concatenate(weights), (np.concatenate(starts), np.concatenate(ends))),
        shape=(unary.size + 2, unary.size + 2),
    )
    return int(maximum_flow(graph.tocsr(), source, sink).flow_value)


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    unary_limit=st.sampled_from([1, 6, 200]),
    pairwise_limit=st.sampled_from([1, 5, 90]),
    undecided=st.sampled_from([0.0, 0.7, 0.95]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_cut_is_as_cheap_as_the_maximum_flow(
    shape: tuple[int, int],
    unary_limit: int,
    pairwise_limit: int,
    undecided: float,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    unary = rng.integers(-unary_limit, unary_limit + 1, shape).astype(np.int32)
    unary[rng.random(shape) < undecided] = 0
    pairwise = rng.integers(0, pairwise_limit + 1, (4, *shape)).astype(np.int32)
    labels = GridCut(pairwise).cut(unary)
    assert cost(unary, pairwise, labels) == flow_by_scipy(unary, pairwise)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    limits=st.lists(st.sampled_from([1, 6, 200, HARD]), min_size=2, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_earlier_cuts_do_not_show(shape: tuple[int, int], limits: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairwise = rng.integers(0, 12, (4, *shape)).astype(np.int32)
    used = GridCut(pairwise)
    for limit in limits:
        unary = rng.integers(-limit, limit + 1, shape).astype(np.int32)
        assert np.array_equal(used.cut(unary), GridCut(pairwise).cut(unary))


def test_a_larger_grid_is_cut_as_cheaply_as_the_maximum_flow() -> None:
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[:40, :60]
    unary = (40 - 4 * np.hypot(rows - 20, columns - 30) + rng.normal(0, 40, (40, 60))).astype(
        np.int32
    )
    pairwise = rng.integers(0, 60, (4, 40, 60)).astype(np.int32)
    labels = GridCut(pairwise).cut(unary)
    assert cost(unary, pairwise, labels) == flow_by_scipy(unary, pairwise)


def test_costs_are_not_changed() -> None:
    unary = np.array([[5, -5]], np.int32)
    pairwise = np.full((4, 1, 2), 3, np.int32)
    GridCut(pairwise).cut(unary)
    assert unary.tolist() == [[5, -5]]
    assert (pairwise == 3).all()


def test_a_seed_takes_its_neighbours_along_until_an_edge_is_weak() -> None:
    unary = np.array([[HARD, 0, 0, 0, -HARD]], np.int32)
    pairwise = np.zeros((4, 1, 5), np.int32)
    pairwise[0] = [[9, 9, 1, 9, 0]]
    assert GridCut(pairwise).cut(unary).tolist() == [[True, True, True, False, False]]


def test_undecided_pixels_go_to_the_object() -> None:
    assert GridCut(np.zeros((4, 2, 3), np.int32)).cut(np.zeros((2, 3), np.int32)).all()


def test_costs_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 3\), expected the grid's \(3, 2\)"):
        GridCut(np.zeros((4, 3, 2), np.int32)).cut(np.zeros((2, 3), np.int32))
