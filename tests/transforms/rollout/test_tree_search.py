"""Tree search: one candidate is the greedy rollout; of several the model's score chooses."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders
from hlmat.transforms.core.protocols import PolicyAction, State
from hlmat.transforms.core.records import (
    Answer,
    Click,
    Finish,
    InvalidAction,
    StopReason,
    Trajectory,
)
from hlmat.transforms.rollout.loop import Episode, ImageEpisodes, Limits, roll_out_all
from hlmat.transforms.rollout.tree_search import SearchOptions, search_all

SIZE = (4, 8)
TRUTH = builders.columns(6, size_hw=SIZE)
SEGMENTER = builders.ColumnSegmenter(SIZE, fails_at=7)
IMAGE = np.zeros((*SIZE, 3), dtype=np.uint8)
PROVENANCE = builders.provenance("columns", "scripted")
LIMITS = Limits(max_clicks=3, target_iou=None, stop_on_no_gain=False)


def column(x: int, score: float | None = None) -> Answer:
    return Answer(f"column {x}", Click(x, 0, True), score)


class Scripted(builders.ScriptedPolicy):
    """Says what a table says about the columns clicked so far; draws come from another table."""

    def __init__(
        self,
        likeliest: dict[tuple[int, ...], Answer],
        draws: dict[tuple[int, ...], list[Answer]] | None = None,
    ) -> None:
        super().__init__(lambda state: likeliest[tuple(c.x for c in state.clicks)])
        self.draws = draws or {}

    def sample_actions(
        self, states: Sequence[State], *, count: int, temperature: float
    ) -> list[list[PolicyAction]]:
        return [[*self.draws[tuple(c.x for c in state.clicks)][:count]] for state in states]


def image(count: int = 1, *, begins: int = 0) -> ImageEpisodes:
    """Targets of one image; their rollouts begin with the first so many columns."""
    first = builders.columns(begins, size_hw=SIZE)

    def episode(index: int) -> Episode:
        target = builders.target(TRUTH, f"t{index}", object_id=index)
        return Episode(target, TRUTH, initial_mask=first)

    return ImageEpisodes(IMAGE, [episode(index) for index in range(count)])


def search(policy: Any, *, limits: Limits = LIMITS, **options: Any) -> Trajectory:
    found = search_all(
        [image()],
        segmenter=SEGMENTER,
        policy=policy,
        limits=limits,
        provenance=PROVENANCE,
        options=SearchOptions(**options),
    )[0][0]
    assert isinstance(found, Trajectory), found
    return found


def clicked(trajectory: Trajectory) -> list[int]:
    return [step.action.x for step in trajectory.steps if isinstance(step.action, Click)]


class Hashed(Scripted):
    """Says something about every state, decided by a seed: clicks, ends, nonsense, scores."""

    def __init__(self, seed: int) -> None:
        super().__init__({})
        self.seed = seed

    def decide(self, state: State) -> PolicyAction:
        return self.said(state, draw=0)

    def sample_actions(
        self, states: Sequence[State], *, count: int, temperature: float
    ) -> list[list[PolicyAction]]:
        return [[self.said(state, draw=d + 1) for d in range(count)] for state in states]

    def said(self, state: State, *, draw: int) -> PolicyAction:
        key = f"{self.seed} {draw} {state.target.ref.target_id} {state.clicks}"
        value = zlib.crc32(key.encode())
        score = None if value % 5 == 0 else (value >> 8) % 100 / 100
        if value % 11 == 0:
            return Answer("stop", Finish(), score)
        if value % 13 == 0:
            return Answer("hm", InvalidAction("hm", "no action"), score)
        return column((value >> 16) % 9, score)


@given(
    seed=st.integers(0, 10_000),
    score_last=st.booleans(),
    stop_at_score=st.sampled_from([None, 0.5]),
    count=st.integers(1, 3),
    begins=st.integers(0, 8),
    limits=st.sampled_from([{}, {"max_clicks": 0}, {"max_clicks": 1, "target_iou": 0.5}]),
)
def test_one_candidate_is_the_greedy_rollout(
    seed: int,
    score_last: bool,
    stop_at_score: float | None,
    count: int,
    begins: int,
    limits: dict[str, Any],
):
    settings: dict[str, Any] = {
        "segmenter": SEGMENTER,
        "policy": Hashed(seed),
        "limits": replace(LIMITS, score_last=score_last, stop_at_score=stop_at_score, **limits),
        "provenance": PROVENANCE,
    }
    images = [image(count, begins=begins), image(1)]
    greedy = roll_out_all(images, **settings)
    searched = search_all(images, options=SearchOptions(candidates=1), **settings)
    for a, b in zip(chain(*greedy), chain(*searched), strict=True):
        assert a == b or str(a) == str(b)


@given(seed=st.integers(0, 10_000), candidates=st.integers(2, 4), beam=st.integers(1, 3))
def test_a_target_s_result_does_not_depend_on_its_company(seed: int, candidates: int, beam: int):
    settings: dict[str, Any] = {
        "segmenter": SEGMENTER,
        "policy": Hashed(seed),
        "limits": LIMITS,
        "provenance": PROVENANCE,
        "options": SearchOptions(candidates=candidates, beam=beam),
    }
    alone = search_all([image(1)], **settings)[0][0]
    first = search_all([image(3)], **settings)[0][0]
    assert first == alone or str(first) == str(alone)


def test_the_best_scored_mask_is_gone_on_with():
    policy = Scripted(
        {
            (): column(1),
            (1,): column(2, 0.2),
            (4,): column(5, 0.6),
            (5,): column(0, 0.9),
            (4, 5): column(0, 0.8),
            (5, 3): Answer("stop", Finish(), 0.5),
            (5, 0): Answer("stop", Finish(), 0.1),
        },
        {(): [column(4), column(5)], (5,): [column(3), column(3)]},
    )
    trajectory = search(policy, candidates=3, limits=replace(LIMITS, max_clicks=2))
    # All children of the second state are worse than 0.9, but one of them has to be taken.
    assert clicked(trajectory) == [5, 3]
    assert [step.predicted_iou for step in trajectory.steps] == [None, None]
    assert trajectory.last_predicted_iou == 0.5
    # 1 + 2 draws, 3 masks scored, 2 draws, 2 masks scored; column 3 was drawn twice.
    assert trajectory.model_calls == 1 + 2 + 3 + 2 + 2
    assert trajectory.decoder_calls == 3 + 2


def test_a_beam_keeps_what_pays_later():
    said = {
        (): column(1),
        (1,): column(2, 0.6),
        (4,): column(5, 0.5),
        (1, 2): Answer("stop", Finish(), 0.3),
        (4, 5): Answer("stop", Finish(), 0.9),
    }
    draws = {(): [column(4)], (1,): [column(2)], (4,): [column(5)]}
    draws |= {(1, 2): [column(2)], (4, 5): [column(5)]}
    said |= {(1, 2, 2): column(0, 0.1), (4, 5, 5): column(0, 0.1)}
    assert clicked(search(Scripted(said, draws), candidates=2, beam=1)) == [1, 2]
    best = search(Scripted(said, draws), candidates=2, beam=2)
    assert clicked(best) == [4, 5]
    assert best.stop_reason is StopReason.FINISHED


def test_an_end_competes_with_the_score_of_the_mask_it_leaves():
    said = {(): column(5), (5,): Answer("stop", Finish(), 0.7), (5, 1): column(2, 0.6)}
    draws = {(): [column(5)], (5,): [column(1)]}
    trajectory = search(Scripted(said, draws), candidates=2)
    assert (clicked(trajectory), trajectory.last_answer) == ([5], "stop")
    said[(5, 1)] = column(2, 0.8)
    said[(5, 1, 2)] = column(0, 0.0)
    draws[(5, 1)] = [column(2)]
    assert clicked(search(Scripted(said, draws), candidates=2))[:2] == [5, 1]


def test_draws_that_cannot_be_read_are_left_out_while_others_are_left():
    nonsense = Answer("hm", InvalidAction("hm", "no action"))
    limits = replace(LIMITS, max_clicks=1)
    said = {(): nonsense, (3,): column(0, 0.5)}
    readable = search(Scripted(said, {(): [column(3)]}), candidates=2, limits=limits)
    assert (clicked(readable), readable.stop_reason) == ([3], StopReason.MAX_CLICKS)
    unreadable = search(Scripted(said, {(): [nonsense]}), candidates=2, limits=limits)
    assert unreadable.stop_reason is StopReason.INVALID_ACTION


def test_a_segmenter_s_failure_costs_a_candidate_alone():
    limits = replace(LIMITS, max_clicks=1)
    policy = Scripted({(): column(7), (3,): column(0, 0.5)}, {(): [column(3)]})
    assert clicked(search(policy, candidates=2, limits=limits)) == [3]
    with pytest.raises(AssertionError, match="column 7"):
        search(Scripted({(): column(7)}, {(): [column(7)]}), candidates=2, limits=limits)


def test_a_policy_with_one_answer_cannot_search():
    with pytest.raises(TypeError, match="policy 'single' gives one answer to a state"):
        search(builders.ScriptedPolicy(name="single"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": 0}, "candidates 0: must be at least 1"),
        ({"beam": 0}, "beam 0: must be at least 1"),
        ({"temperature": 0}, "temperature 0: must be above 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        SearchOptions(**options)
