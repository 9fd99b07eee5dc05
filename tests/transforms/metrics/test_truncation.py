"""Truncated rollouts equal real ones with fewer clicks allowed."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders
from hlmat.transforms.core.protocols import State
from hlmat.transforms.core.records import (
    Answer,
    Click,
    Finish,
    InvalidAction,
    Rle,
    StopReason,
    Trajectory,
)
from hlmat.transforms.masks.rle import encode_mask
from hlmat.transforms.metrics.target_results import (
    RolledOut,
    choose_mask,
    measure_rollout,
    rolled_out,
)
from hlmat.transforms.metrics.truncation import RolloutOverlaps, step_figures, truncated
from hlmat.transforms.rollout.loop import Episode, ImageEpisodes, Limits, roll_out_all

SIZE = (2, 10)
TRUTH = builders.columns(6, size_hw=SIZE)
PROVENANCE = builders.provenance("columns", "scripted")
LIMITS = Limits(max_clicks=6, target_iou=None, stop_on_no_gain=False, score_last=True)


class Model(builders.ScriptedPolicy):
    """Clicks, ends, nonsense and scores, decided by a seed and the clicks so far."""

    def __init__(self, seed: int, *, set_up: int = 0) -> None:
        super().__init__(name="model", initial=(Click(8, 0, True),) * set_up)
        self.seed = seed

    def decide(self, state: State) -> Answer:
        value = zlib.crc32(f"{self.seed} {[c.x for c in state.clicks]}".encode())
        # One in ten masks is not scored.
        score = None if value % 10 == 0 else (value >> 8) % 101 / 100
        stated = "" if score is None else f"Current IOU: {100 * score:.1f}, "
        if value % 17 == 0:
            return Answer(f"{stated}Finish", Finish(), score)
        if value % 19 == 0:
            return Answer(f"{stated}hm", InvalidAction("hm", "no action"), score)
        x = (value >> 16) % 10
        return Answer(f"{stated}Positive point: {x}", Click(x, 0, True), score)


def rolled(seed: int, *, limits: Limits, begins: int, set_up: int) -> RolledOut:
    first = builders.columns(begins, size_hw=SIZE)
    episode = Episode(builders.target(TRUTH), TRUTH, initial_mask=first)
    outcome = roll_out_all(
        [ImageEpisodes(np.zeros((*SIZE, 3), np.uint8), [episode])],
        segmenter=builders.ColumnSegmenter(SIZE),
        policy=Model(seed, set_up=set_up),
        limits=limits,
        provenance=PROVENANCE,
    )[0][0]
    assert isinstance(outcome, Trajectory), outcome
    return rolled_out(outcome)


@given(
    seed=st.integers(0, 100_000),
    clicks=st.integers(1, 6),
    begins=st.integers(0, 9),
    set_up=st.integers(0, 1),
    limits=st.sampled_from([{}, {"stop_at_score": 0.7}, {"target_iou": 0.9}]),
)
def test_a_truncated_rollout_is_the_one_that_was_allowed_no_more(
    seed: int, clicks: int, begins: int, set_up: int, limits: dict[str, Any]
) -> None:
    settings = replace(LIMITS, **limits)
    real_settings = replace(settings, max_clicks=clicks)
    whole = rolled(seed, limits=settings, begins=begins, set_up=set_up)
    real = rolled(seed, limits=real_settings, begins=begins, set_up=set_up)
    uncounted = {"model_calls": None, "decoder_calls": None}
    assert replace(truncated(whole, clicks=clicks), **uncounted) == replace(real, **uncounted)
    overlaps = RolloutOverlaps.of(whole)
    for step in ("last", "best-scored"):
        score = measure_rollout(real, step=step, max_clicks=clicks)
        expected = (score.intersection, score.union)
        assert overlaps.chosen(step, clicks=clicks) == expected


def columns(count: int) -> Rle:
    return encode_mask(builders.columns(count, size_hw=SIZE))


def scripted(
    *counts: int, scores: tuple[float | None, ...] = (), name: str = "t", first_click: int = 0
) -> RolledOut:
    """Masks of so many columns, six are true; a score before each step and of the last mask."""
    scores = scores or (None,) * (len(counts) + 1)
    return RolledOut(
        target_id=name,
        image=name,
        truth=columns(6),
        ignore=None,
        masks=tuple(map(columns, counts)),
        predicted_ious=scores[:-1],
        last_predicted_iou=scores[-1],
        first_click=first_click,
        stop_reason=StopReason.FINISHED,
    )


def test_the_last_mask_takes_its_score_from_the_next_answer() -> None:
    whole = scripted(3, 6, 9, scores=(None, 0.5, 0.9, 0.7))
    one = truncated(whole, clicks=2)
    assert (one.masks, one.predicted_ious) == (whole.masks[:2], (None, 0.5))
    assert one.last_predicted_iou == 0.9
    assert one.stop_reason is StopReason.MAX_CLICKS


def test_a_rollout_that_ended_keeps_its_last_mask() -> None:
    whole = scripted(3, 6)
    assert truncated(whole, clicks=3) is whole
    assert RolloutOverlaps.of(whole).chosen("last", clicks=5) == (12, 12)


def test_clicks_are_counted_from_the_policys_first() -> None:
    whole = scripted(9, 3, 6, first_click=1)
    assert truncated(whole, clicks=1).masks == whole.masks[:2]


def test_no_clicks_are_no_rollout() -> None:
    with pytest.raises(ValueError, match="clicks=0: must be at least 1"):
        truncated(scripted(3), clicks=0)


ROLLOUTS = st.lists(st.integers(0, 10), max_size=6).flatmap(
    lambda counts: st.builds(
        lambda scores: scripted(*counts, scores=tuple(scores)),
        st.lists(
            st.one_of(st.none(), st.floats(0, 1)),
            min_size=len(counts) + 1,
            max_size=len(counts) + 1,
        ),
    )
)


@given(whole=ROLLOUTS, clicks=st.integers(1, 6), column=st.integers(0, 10))
def test_no_later_mask_or_score_matters(whole: RolledOut, clicks: int, column: int) -> None:
    if len(whole.masks) <= clicks:
        return
    other = replace(
        whole,
        masks=(*whole.masks[:clicks], *[columns(column)] * (len(whole.masks) - clicks)),
        predicted_ious=(
            *whole.predicted_ious[: clicks + 1],
            *[1.0] * (len(whole.masks) - clicks - 1),
        ),
        last_predicted_iou=1.0,
    )
    a, b = RolloutOverlaps.of(whole), RolloutOverlaps.of(other)
    for step in ("last", "best-scored"):
        assert a.chosen(step, clicks=clicks) == b.chosen(step, clicks=clicks)
    assert a.best(clicks=clicks) == b.best(clicks=clicks)
    chosen = choose_mask(truncated(whole, clicks=clicks), "best-scored")
    assert chosen is not None
    assert chosen < clicks


@given(whole=ROLLOUTS, clicks=st.integers(1, 6))
def test_no_choice_is_better_than_a_perfect_scores(whole: RolledOut, clicks: int) -> None:
    overlaps = RolloutOverlaps.of(whole)

    def iou(pair: tuple[int, int]) -> float:
        return pair[0] / pair[1] if pair[1] else 1.0

    best = iou(overlaps.best(clicks=clicks))
    assert best >= iou(overlaps.chosen("best-scored", clicks=clicks))
    assert best >= iou(overlaps.chosen("last", clicks=clicks))
    assert iou(overlaps.best(clicks=clicks + 1)) >= best


def test_figures_by_hand() -> None:
    # The first target's second mask is perfect and is scored so; the second one ends at once.
    a = scripted(3, 6, 9, scores=(None, 0.5, 1.0, 0.2), name="a")
    b = scripted(3, scores=(None, 0.5), name="b")
    rollouts = [RolloutOverlaps.of(r) for r in (b, a)]
    figures = step_figures(rollouts, clicks=3)
    assert figures["clicks"] == 3
    assert figures["last"]["gIoU"]["value"] == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert figures["last"]["cIoU"]["value"] == pytest.approx((6 + 3) / (9 + 6))
    assert figures["best_scored"]["gIoU"]["value"] == pytest.approx((1 + 3 / 6) / 2)
    assert figures["best_scored"]["cIoU"]["value"] == pytest.approx((6 + 3) / (6 + 6))
    assert figures["difference"]["value"] == pytest.approx((1 / 3 + 0) / 2)
    assert figures["difference"]["targets"] == 2
    assert (figures["targets"], figures["images"]) == (2, 2)
    assert figures["perfect"]["value"] == figures["best_scored"]["gIoU"]["value"]
    first = step_figures(rollouts, clicks=1)
    assert first["last"] == first["best_scored"]
    assert first["difference"]["change"] == "no change shown"
    assert step_figures(rollouts[::-1], clicks=3) == figures
