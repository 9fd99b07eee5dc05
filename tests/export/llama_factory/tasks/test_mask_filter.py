from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest

from hlmat.export.llama_factory.samples import Case, Sample
from hlmat.export.llama_factory.tasks.mask_filter import bin_name, bin_of, samples
from hlmat.transforms.core.records import Click
from hlmat.transforms.masks.rle import decode_rle, mask_iou
from hlmat.transforms.prompting.predicted_iou import render_predicted_iou
from hlmat.transforms.prompting.templates import PromptTemplate
from trajectory_cases import TRUTH, make_trajectory, thousandths


def candidates(target_id: str = "t", *, count: int = 10) -> list[Sample]:
    return list(samples(Case(make_trajectory(target_id)), thousandths(candidates=count)))


def test_each_candidate_comes_with_its_iou_as_text() -> None:
    for sample in candidates():
        (turn,) = sample.turns
        assert turn.shown.mask is not None
        iou = mask_iou(decode_rle(turn.shown.mask), TRUTH)
        assert sample.columns["iou"] == pytest.approx(iou)
        assert turn.answer == render_predicted_iou(sample.columns["iou"])
        assert sample.kind == bin_name(bin_of(iou))


def test_all_tenths_are_filled_alike() -> None:
    kinds = Counter(s.kind for k in range(20) for s in candidates(f"t{k}"))
    assert kinds == {bin_name(k): 20 for k in range(10)}


def test_fewer_candidates_are_spread_evenly_over_targets() -> None:
    kinds = Counter(s.kind for k in range(200) for s in candidates(f"t{k}", count=3))
    assert kinds.total() == 600
    # 60 are expected of each tenth, with a standard deviation of 6.5
    assert min(kinds[bin_name(k)] for k in range(10)) > 40
    assert max(kinds.values()) < 80


def test_masks_of_the_trajectory_come_first() -> None:
    made = {s.kind: s for s in candidates()}
    # the steps reach 0.5 and 1
    assert made["50-60"].columns == {"mask": "after step 0", "iou": 0.5}
    assert made["90-100"].columns == {"mask": "after step 1", "iou": 1.0}
    trajectory = make_trajectory("t")
    assert made["50-60"].turns[0].shown.mask == trajectory.steps[0].mask
    others = {s.columns["mask"] for kind, s in made.items() if kind not in ("50-60", "90-100")}
    assert others <= {"shrunk", "grown", "cut", "shifted"}


def test_candidates_depend_on_seed_and_target_alone() -> None:
    assert candidates() == candidates()
    assert candidates("t") != candidates("u")
    trajectory = make_trajectory("t")
    reseeded = dataclasses.replace(
        trajectory, provenance=dataclasses.replace(trajectory.provenance, seed=1)
    )
    assert list(samples(Case(reseeded), thousandths(candidates=10))) != candidates()


def test_labels_tell_the_images_of_a_target_apart() -> None:
    labels = [s.turns[0].shown.label for s in candidates()]
    assert len(set(labels)) == len(labels) == 10


def test_the_question_asks_for_nothing_but_the_score() -> None:
    options = thousandths(
        candidates=1,
        score_prompt=PromptTemplate("<image>how good is {expression}?"),
        turn_format={"with_score": True, "with_finish": True},
    )
    (sample,) = samples(Case(make_trajectory()), options)
    asking = sample.turns[0].turn_format
    assert asking is not None
    assert asking.question("cup") == "<image>how good is cup?"
    assert "," not in str(sample.turns[0].answer)


def test_an_object_of_one_pixel_leaves_tenths_empty() -> None:
    speck = np.zeros_like(TRUTH)
    speck[50, 100] = True
    trajectory = make_trajectory(truth=speck, clicks=((Click(0, 0, True), np.zeros_like(speck)),))
    made = list(samples(Case(trajectory), thousandths(candidates=10)))
    assert 1 <= len(made) < 10
    for sample in made:
        mask = sample.turns[0].shown.mask
        assert mask is not None
        assert decode_rle(mask).any()  # an empty mask is no candidate


@pytest.mark.parametrize(
    ("iou", "name"),
    [(0.0, "0-10"), (0.0999, "0-10"), (0.1, "10-20"), (0.7, "70-80"), (1.0, "90-100")],
)
def test_tenths_begin_at_their_lower_end_and_one_is_in_the_last(iou: float, name: str) -> None:
    assert bin_name(bin_of(iou)) == name
