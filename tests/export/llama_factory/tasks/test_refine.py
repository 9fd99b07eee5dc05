from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import builders
from hlmat.export.llama_factory.sample_options import FOREIGN_MASKS
from hlmat.export.llama_factory.samples import Case, Sample, cases_of
from hlmat.export.llama_factory.tasks import refine
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.masks.rle import decode_rle, mask_iou
from hlmat.transforms.oracle.click import oracle_click
from hlmat.transforms.prompting.dialogues.segagent import parse_action
from trajectory_cases import TRUTH, make_trajectory, thousandths


def round_mask(x: int) -> Mask:
    rows, columns = np.ogrid[:100, :200]
    return ((columns - x) / 40) ** 2 + ((rows - 50) / 30) ** 2 <= 1


ROUND = make_trajectory("round", truth=round_mask(80))
OTHER = make_trajectory("other", truth=round_mask(130))


def refined(case: Case, **options: object) -> dict[str, Sample]:
    samples = list(refine.samples(case, thousandths(**options)))
    assert [s.kind for s in samples] == [s.columns["mask"] for s in samples]
    return {s.columns["mask"]: s for s in samples}


def shown_mask(sample: Sample) -> Mask:
    mask = sample.turns[0].shown.mask
    assert mask is not None
    return decode_rle(mask)


def test_each_foreign_mask_is_corrected_by_the_oracles_click() -> None:
    samples = refined(Case(ROUND, neighbours=(OTHER,)))
    assert list(samples) == list(FOREIGN_MASKS)
    truth = decode_rle(ROUND.target.truth)
    options = thousandths()
    for sample in samples.values():
        (turn,) = sample.turns
        mask = shown_mask(sample)
        click = oracle_click(mask, truth)
        assert click is not None
        assert turn.answer == options.turn_format.answer(click, size_hw=(100, 200))
        assert sample.columns["iou"] == mask_iou(mask, truth) < 1


def test_the_kinds_are_what_they_are_called() -> None:
    samples = refined(Case(ROUND, neighbours=(OTHER,)))
    truth = decode_rle(ROUND.target.truth)
    assert not (shown_mask(samples["shrunk"]) & ~truth).any()
    assert not (truth & ~shown_mask(samples["grown"])).any()
    assert samples["neighbour"].turns[0].shown.mask == OTHER.target.truth
    assert not (shown_mask(samples["cut"]) & ~truth).any()
    assert shown_mask(samples["shifted"]).sum() <= truth.sum()
    for kind in ("shrunk", "grown", "cut", "shifted"):
        assert 0.2 <= samples[kind].columns["iou"] < 0.95


def test_some_kinds_are_drawn_for_each_target() -> None:
    kinds = ("neighbour", "shrunk", "grown")
    drawn = []
    for i in range(60):
        case = Case(make_trajectory(f"t{i}", truth=round_mask(80)), neighbours=(OTHER,))
        drawn.append(tuple(refined(case, foreign_masks=kinds, foreign_count=2)))
        assert tuple(refined(case, foreign_masks=kinds, foreign_count=2)) == drawn[-1]
    assert all(len(set(names)) == 2 for names in drawn)
    for kind in kinds:
        assert 25 <= sum(kind in names for names in drawn) <= 55


def test_a_kind_that_gives_no_mask_is_replaced_by_one_that_was_not_drawn() -> None:
    options = {"foreign_masks": ("neighbour", "shrunk", "grown"), "foreign_count": 2}
    alone = Case(make_trajectory("alone", truth=round_mask(80)))
    assert set(refined(alone, **options)) == {"shrunk", "grown"}


def test_more_kinds_cannot_be_drawn_than_there_are() -> None:
    with pytest.raises(ConfigError, match="foreign_count 3: there are only 2 kinds to draw from"):
        thousandths(foreign_masks=("box", "cut"), foreign_count=3)


def test_the_score_of_the_mask_stands_before_the_click_if_the_turn_format_has_scores() -> None:
    samples = refined(Case(ROUND), turn_format={"with_score": True})
    for sample in samples.values():
        text = sample.turns[0].answer
        assert text is not None
        read = parse_action(text, size_hw=(100, 200), codec=thousandths().turn_format.codec)
        assert read.predicted_iou == pytest.approx(sample.columns["iou"], abs=0.0005)


def test_a_mask_that_would_be_the_truth_is_left_out() -> None:
    # this truth fills its box, and its neighbour is the same object once more
    same = make_trajectory("t@1")
    kinds = refined(Case(make_trajectory("t@0"), neighbours=(same,)))
    assert "box" not in kinds
    assert "neighbour" not in kinds
    assert "grown" in kinds


def test_masks_depend_on_seed_and_target_alone() -> None:
    alone = refined(Case(ROUND))
    (first, _) = cases_of([ROUND, OTHER])
    among = refined(first)
    assert {k: s.turns for k, s in among.items() if k != "neighbour"} == {
        k: s.turns for k, s in alone.items()
    }
    reseeded = dataclasses.replace(ROUND, provenance=dataclasses.replace(ROUND.provenance, seed=1))
    assert refined(Case(reseeded))["discs"].turns != alone["discs"].turns


def test_ignored_pixels_are_no_errors() -> None:
    target = builders.target(TRUTH, ignore=~TRUTH)
    trajectory = dataclasses.replace(make_trajectory(), target=target)
    samples = refined(Case(trajectory))
    # whatever is added lies on ignored pixels
    assert "grown" not in samples
    for sample in samples.values():
        assert sample.turns[0].answer is not None
        assert sample.turns[0].answer.startswith("Positive")
