from __future__ import annotations

from typing import Any

import pytest

from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.samples import Case, OtherRun, Sample
from hlmat.export.llama_factory.tasks import preference
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Click, Trajectory
from hlmat.transforms.prompting.actions import TurnFormat
from hlmat.transforms.prompting.coordinates import build_codec
from hlmat.transforms.prompting.rendering import StateView
from trajectory_cases import HALF, TRUTH, make_trajectory, thousandths

QUARTER = HALF.copy()
QUARTER[:, :125] = False
A, B, C, D = (Click(x, 50, True) for x in (60, 80, 100, 120))


def clicked(*clicks: tuple[Click, Mask], **changes: Any) -> Trajectory:
    return make_trajectory(clicks=clicks, **changes)


def others(*trajectories: Trajectory) -> tuple[OtherRun, ...]:
    return tuple(OtherRun(t, number) for number, t in enumerate(trajectories, start=1))


def pairs(first: Trajectory, *also: Trajectory, **options: Any) -> list[Sample]:
    return list(preference.samples(Case(first, also=others(*also)), thousandths(**options)))


def listed(samples: list[Sample]) -> list[tuple[str, str, int, float]]:
    """List chosen and rejected click, step and margin."""
    return [
        (
            s.columns["chosen"]["content"],
            s.columns["rejected"]["content"],
            s.columns["step"],
            s.columns["margin"],
        )
        for s in samples
    ]


def test_the_better_of_two_first_clicks_is_chosen_whichever_run_took_it() -> None:
    good, poor = clicked((A, HALF)), clicked((B, QUARTER))
    expected = [("Positive point: (302, 505)", "Positive point: (402, 505)", 0, 0.25)]
    assert listed(pairs(good, poor)) == expected
    assert listed(pairs(poor, good)) == expected
    (sample,) = pairs(good, poor)
    (turn,) = sample.turns
    assert turn.answer is None
    assert turn.shown.mask is None
    assert sample.columns["chosen"]["role"] == sample.columns["rejected"]["role"] == "assistant"


def test_later_clicks_are_compared_only_after_the_same_clicks_and_mask() -> None:
    first = clicked((A, QUARTER), (C, TRUTH))
    same = clicked((A, QUARTER), (D, HALF))
    ((_, _, step, margin),) = listed(pairs(first, same))
    assert (step, margin) == (1, 0.5)
    (sample,) = pairs(first, same)
    assert sample.turns[0].shown.mask == first.steps[0].mask

    other_mask = clicked((A, HALF), (D, HALF))
    assert [s.columns["step"] for s in pairs(first, other_mask)] == []
    other_click = clicked((B, QUARTER), (D, HALF))
    assert [s.columns["step"] for s in pairs(first, other_click)] == []


def test_several_runs_give_every_pair_once() -> None:
    made = listed(pairs(clicked((A, HALF)), clicked((B, QUARTER)), clicked((C, TRUTH))))
    assert sorted(margin for *_, margin in made) == [0.25, 0.5, 0.75]
    # a run that repeats another one's click adds nothing
    assert listed(pairs(clicked((A, HALF)), clicked((A, HALF)), clicked((B, QUARTER)))) == [
        ("Positive point: (302, 505)", "Positive point: (402, 505)", 0, 0.25)
    ]


def test_states_of_other_runs_have_images_of_their_own() -> None:
    runs = [
        clicked((A, HALF), (C, TRUTH)),
        clicked((A, HALF), (D, HALF)),
        clicked((B, QUARTER), (C, TRUTH)),
        clicked((B, QUARTER), (D, HALF)),
    ]
    samples = [s for s in pairs(*runs) if s.columns["step"] == 1]
    shown = [s.turns[0].shown for s in samples]
    assert [each.mask for each in shown] == [runs[0].steps[0].mask, runs[2].steps[0].mask]
    assert shown[0].label != shown[1].label


@pytest.mark.parametrize(("min_margin", "count"), [(0.0, 1), (0.25, 1), (0.26, 0)])
def test_pairs_below_the_margin_are_left_out(min_margin: float, count: int) -> None:
    made = pairs(clicked((A, HALF)), clicked((B, QUARTER)), min_margin=min_margin)
    assert len(made) == count


def test_clicks_that_come_to_the_same_iou_are_no_pair() -> None:
    assert pairs(clicked((A, HALF)), clicked((B, HALF))) == []


def test_clicks_that_are_written_alike_are_no_pair() -> None:
    near = Click(A.x + 1, A.y, True)
    runs = clicked((A, HALF)), clicked((near, QUARTER))
    assert len(pairs(*runs)) == 1
    # five pixels of the image are one of the image that the model sees
    pixels = LlamaFactoryOptions(
        turn_format=TurnFormat(build_codec("pixels")), view=StateView(max_side=40)
    )
    assert list(preference.samples(Case(runs[0], also=others(*runs[1:])), pixels)) == []


def test_an_initial_box_is_part_of_the_state_and_no_click() -> None:
    boxed = clicked((A, TRUTH), boxed=True), clicked((B, QUARTER), boxed=True)
    assert [s.columns["step"] for s in pairs(*boxed)] == [1]
    assert pairs(boxed[0], clicked((B, QUARTER))) == []


def test_scores_are_alike_in_both_answers() -> None:
    runs = clicked((A, QUARTER), (C, TRUTH)), clicked((A, QUARTER), (D, HALF))
    ((chosen, rejected, _, _),) = listed(pairs(*runs, turn_format={"with_score": True}))
    assert chosen.startswith("Current IOU: 25.0, Positive")
    assert rejected.startswith("Current IOU: 25.0, Positive")
