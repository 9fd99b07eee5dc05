"""Groups of rollouts with answers from a script instead of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.questions import Question
from hlmat.transforms.core.records import TargetRef
from hlmat.transforms.policies.model_policy import Conversation
from hlmat.transforms.prompting.actions import TurnFormat
from hlmat.transforms.prompting.coordinates import build_codec
from hlmat.transforms.reinforcement.options import GrpoOptions, RewardOptions
from hlmat.transforms.reinforcement.recording import Turn
from hlmat.transforms.reinforcement.rollouts import (
    GroupRollouts,
    Round,
    choose_targets,
    round_figures,
)
from hlmat.transforms.reinforcement.rows import rows_of
from hlmat.transforms.rollout.options import Limits
from hlmat.transforms.segmenters.disc import DiscSegmenter
from scene_reader import SceneReader

CENTRE, CORNER = "Positive point: (0.350, 0.350)", "Positive point: (0.990, 0.990)"
PAD = 99


class Scripted:
    """Stands for a model that records: answers by a function, and notes letters as tokens."""

    def __init__(self, script: Callable[[Question], str]) -> None:
        self.round = 0
        self._script = script
        self._turns: list[Turn] = []

    def answer(self, questions: Sequence[Question]) -> list[str]:
        import torch

        texts = [self._script(question) for question in questions]
        for question, text in zip(questions, texts, strict=True):
            tokens = np.arange(1, 2 + len(text) % 3)
            self._turns.append(
                Turn(
                    target_id=question.target_id,
                    prompt=np.arange(10, 13 + question.turn),
                    answer=tokens,
                    is_action=tokens > 1,
                    patches=torch.zeros(4, 3),
                    grid=(1, 2, 2),
                )
            )
        return texts

    def take(self) -> list[Turn]:
        taken, self._turns = self._turns, []
        return taken

    def identity(self) -> Mapping[str, Any]:
        return {}


def roll_out(
    script: Callable[[Question], str], *, targets: int = 1, reader: Any = None, group: int = 2
) -> Round:
    reader = reader or SceneReader(2)
    refs = [item for item in reader.read_targets() if isinstance(item, TargetRef)]
    rollouts = GroupRollouts(
        refs=refs[:targets],
        reader=reader,
        segmenter=DiscSegmenter(),
        conversation=Conversation(TurnFormat(build_codec("decimal"), with_finish=True)),
        answerer=Scripted(script),  # pyright: ignore[reportArgumentType]
        limits=Limits(max_clicks=2, target_iou=None, stop_on_no_gain=False),
        grpo=GrpoOptions(targets=targets, group=group, parts=1, scale="none"),
        rewards=RewardOptions(click_price=0.0, overshoot_price=0.0),
    )
    return rollouts(0)


def is_first(question: Question) -> bool:
    """Whether a question is of the first rollout of its group."""
    return question.target_id.endswith("#0")


def test_the_rollouts_of_a_target_are_compared_with_each_other() -> None:
    made = roll_out(lambda q: "Finish" if q.turn else CENTRE if is_first(q) else CORNER, targets=2)
    assert len(made.rollouts) == 4
    assert [len(rollout.turns) for rollout in made.rollouts] == [2, 2, 2, 2]
    good, bad = made.rollouts[:2]
    assert good.group == bad.group
    assert good.trajectory.final_iou > 0 == bad.trajectory.final_iou
    assert good.advantage == pytest.approx(good.trajectory.final_iou / 2) == -bad.advantage
    figures = round_figures(made)
    assert (figures["clicks"], figures["finished"], figures["turns"]) == (1, 1, 8)
    assert figures["iou"] == figures["reward"] == figures["iou_after_first"]


def test_an_answer_that_is_no_action_ends_a_rollout_and_costs() -> None:
    made = roll_out(lambda q: "?" if is_first(q) else "Finish")
    assert [rollout.reward.total for rollout in made.rollouts] == [-0.5, 0.0]
    assert round_figures(made)["invalid"] == 0.5


def test_targets_that_cannot_be_read_are_reported() -> None:
    class Broken(SceneReader):
        def load_truth(self, ref: TargetRef) -> Any:
            from hlmat.transforms.core.errors import TargetError
            from hlmat.transforms.core.records import RejectReason

            raise TargetError(RejectReason.UNREADABLE_MASK, "the mask is damaged")

    with pytest.raises(DataError, match=r"none of the 1 targets of round 1 .* mask is damaged"):
        roll_out(lambda q: "Finish", reader=Broken(2))


def test_every_target_has_its_turn_before_one_comes_again() -> None:
    rounds = [choose_targets(k, targets=6, count=2, seed=3) for k in range(6)]
    for epoch in (rounds[:3], rounds[3:]):
        assert sorted(index for chosen in epoch for index in chosen) == list(range(6))
    assert rounds[:3] != rounds[3:]
    assert rounds == [choose_targets(k, targets=6, count=2, seed=3) for k in range(6)]


def test_a_row_is_a_turn_with_the_advantage_of_its_rollout() -> None:
    pytest.importorskip("torch")
    made = roll_out(lambda q: "Finish" if q.turn else CENTRE if is_first(q) else CORNER)
    rows = rows_of(made.rollouts, pad_id=PAD, multiple=3)
    good, bad = made.rollouts[0].advantage, made.rollouts[1].advantage
    # Four turns, filled up to six.
    assert rows["advantages"].tolist() == pytest.approx([good, good, bad, bad, good, good])
    assert rows["prompt_ids"].tolist()[:2] == [[PAD, 10, 11, 12], [10, 11, 12, 13]]
    assert rows["prompt_mask"].tolist()[:2] == [[0, 1, 1, 1], [1, 1, 1, 1]]
    widths = rows["completion_mask"].sum(dim=1).tolist()
    assert widths[:4] == [len(turn.answer) for r in made.rollouts for turn in r.turns]
    # Only the action is learned, and nothing of what fills up.
    assert rows["tool_mask"][:, 0].tolist() == [0] * 6
    assert rows["tool_mask"][4:].sum() == 0
    assert rows["num_items_in_batch"] == rows["tool_mask"].sum() == sum(widths[:4]) - 4
    assert rows["pixel_values"].shape == (6 * 4, 3)
    assert rows["image_grid_thw"].tolist() == [[1, 2, 2]] * 6
    assert rows["num_images"] == [1] * 6


def test_there_must_be_a_turn() -> None:
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match="no turn"):
        rows_of([], pad_id=PAD)
