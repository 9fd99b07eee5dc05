"""Rewards of texts, called as TRL and verl call them."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import builders
from hlmat.transforms.core.errors import ConfigError, DataError
from hlmat.transforms.core.protocols import TruthMasks
from hlmat.transforms.core.records import Click, TargetRef, Undo
from hlmat.transforms.envs.answer_reward import AnswerReward, text_of
from hlmat.transforms.envs.rewards import ClickDepthReward, IouGainReward
from hlmat.transforms.envs.state import (
    AnnotationState,
    TargetSource,
    click_all,
    first_state,
    list_targets,
    load_target,
)
from hlmat.transforms.envs.state_columns import write_clicks, write_mask
from hlmat.transforms.masks.rle import encode_mask
from hlmat.transforms.oracle.click import oracle_click
from hlmat.transforms.policies.model_policy import Conversation
from hlmat.transforms.prompting.actions import TurnFormat
from hlmat.transforms.prompting.coordinates import build_codec
from hlmat.transforms.prompting.dialogues.registry import load_dialogue
from hlmat.transforms.readers.shapes.reader import ShapesOptions, ShapesReader
from hlmat.transforms.segmenters.disc import DiscSegmenter
from hlmat.transforms.segmenters.graphcut.segmenter import GraphCutSegmenter
from hlmat.transforms.segmenters.registry import SegmenterOptions
from scene_reader import SceneReader

DISC = SegmenterOptions("hlmat.transforms.segmenters.disc:DiscSegmenter")
SOURCES = list_targets(SceneReader(2))[0]
CODEC = build_codec("decimal")
# The centre of the target 000#0, a corner of the image, both at 40 x 50 pixels.
CENTRE, CORNER = "Positive point: (0.350, 0.350)", "Positive point: (0.990, 0.990)"


@dataclass(frozen=True)
class CountingReader(SceneReader):
    """Scenes that keep the ids of the targets whose masks are read."""

    loads: tuple[list[str], ...] = ([],)

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        self.loads[0].append(ref.target_id)
        return super().load_truth(ref)


@dataclass(frozen=True)
class EmptyReader(SceneReader):
    """Scenes whose targets are no objects."""

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        return TruthMasks(np.zeros_like(super().load_truth(ref).truth))


def both() -> list[AnswerReward]:
    return [IouGainReward(SOURCES, DISC), ClickDepthReward(SOURCES)]


def state_after(source: TargetSource, clicks: Sequence[Click], segmenter: Any) -> AnnotationState:
    state = first_state(load_target(source, segmenter))
    for click in clicks:
        state = click_all([(state, click)], segmenter=segmenter)[0]
    return state


def chat(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text}]


def test_the_gain_is_the_iou_after_minus_before():
    source = list_targets(ShapesReader(ShapesOptions(count=1, height=64, width=80)))[0][0]
    reward = IouGainReward([source], SegmenterOptions("graphcut"))
    segmenter = GraphCutSegmenter()
    clicks: list[Click] = []
    for _ in range(3):
        state = state_after(source, clicks, segmenter)
        click = oracle_click(state.mask, state.target.truth, clicked=clicks)
        assert click is not None
        label = "Positive" if click.is_positive else "Negative"
        text = f"{label} point: {CODEC.render(click.x, click.y, size_hw=(64, 80))}"
        after = state_after(source, [*clicks, click], segmenter)
        found = reward([], [text], target_id=[source.ref.target_id], clicks=[write_clicks(clicks)])
        assert found == [after.iou - state.iou]
        clicks.append(click)
    assert state_after(source, clicks[:1], segmenter).iou > 0


def test_texts_of_a_group_are_scored_separately():
    completions = [CENTRE, CORNER, "Finish", "I am done", "Box: (0.1, 0.1), (0.5, 0.5)"]
    ids = ["000#0"] * 5
    gain = IouGainReward(SOURCES, DISC, invalid_reward=-0.5)([], completions, target_id=ids)
    assert gain[0] > 0.2
    assert gain[1:] == [0.0, 0.0, -0.5, -0.5]
    depth = ClickDepthReward(SOURCES, invalid_reward=-2)([], completions, target_id=ids)
    assert 0.5 < depth[0] <= 1
    assert depth[1:] == [0.0, 0.0, -2.0, -2.0]


def test_a_harmful_click_costs_its_loss():
    good = Click(17, 14, True)
    state = state_after(SOURCES[0], [good], DiscSegmenter())
    reward = IouGainReward(SOURCES, DISC)
    text = f"Negative point: {CODEC.render(17, 14, size_hw=(40, 50))}"
    assert reward([], [text], target_id=["000#0"], clicks=[write_clicks([good])]) == [-state.iou]


@pytest.mark.parametrize("reward", both(), ids=lambda r: r.__name__)
def test_chats_and_further_columns_are_taken_as_trl_gives_them(reward: AnswerReward):
    texts = [CENTRE, "Finish"]
    plain = reward([], texts, target_id=["000#0", "001#2"])
    # Names as in TRL 0.24.0.
    called = reward(
        prompts=[chat("Where?")] * 2,
        completions=[chat(text) for text in texts],
        completion_ids=[[1], [2, 3]],
        trainer_state=None,
        target_id=["000#0", "001#2"],
        clicks=["", None],
        mask=["", ""],
        expression=["a", "b"],
    )
    assert called == plain
    assert all(type(value) is float for value in called)
    assert plain[0] != plain[1]


@pytest.mark.parametrize("reward", both(), ids=lambda r: r.__name__)
def test_verl_gets_the_same_number_for_each_answer(reward: AnswerReward):
    state = state_after(SOURCES[0], [Click(10, 10, True)], DiscSegmenter())
    row = {"clicks": write_clicks(state.clicks), "mask": write_mask(encode_mask(state.mask))}
    batch = reward([], [CENTRE], target_id=["000#0"], clicks=[row["clicks"]], mask=[row["mask"]])
    score = reward.compute_score(
        data_source="scenes", solution_str=CENTRE, ground_truth="000#0", extra_info=row
    )
    assert [score] == batch
    assert score != reward.compute_score("scenes", CENTRE, "000#0")
    newer = reward.compute_score(
        "scenes", CENTRE, "000#0", row, reward_router_address=None, reward_model_tokenizer=None
    )
    assert newer == score


def test_several_threads_get_the_right_numbers():
    reward = IouGainReward(SOURCES, DISC)
    texts = [f"Positive point: (0.{i}50, 0.{i}50)" for i in range(10)] * 3
    ids = [source.ref.target_id for source in SOURCES] * 5
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda t, i: reward.compute_score("", t, i), texts, ids))
    assert found == IouGainReward(SOURCES, DISC)([], texts, target_id=ids)
    assert len(set(found)) > 3


def test_a_group_of_answers_replays_its_state_once():
    segmenter = builders.RecordingDiscs()
    reader = CountingReader(1)
    reward = IouGainReward(list_targets(reader)[0], segmenter)
    clicks = write_clicks([Click(10, 10, True), Click(12, 20, True), Click(40, 30, False)])
    columns = {"target_id": ["000#0"] * 4, "clicks": [clicks] * 4}
    reward([], [CENTRE] * 4, **columns)
    assert len(segmenter.asked) == 3 + 4
    reward([], [CORNER] * 4, **columns)
    assert len(segmenter.asked) == 3 + 4 + 4
    assert reader.loads[0] == ["000#0"]


def test_states_of_unequal_length_are_replayed_together():
    paths = [[], [Click(10, 10, True)], [Click(30, 20, True), Click(5, 5, False)]]
    reward = IouGainReward(SOURCES, DISC)
    ids = ["000#0", "001#1", "000#2"]
    found = reward([], [CENTRE] * 3, target_id=ids, clicks=[write_clicks(p) for p in paths])
    alone = [
        IouGainReward(SOURCES, DISC).compute_score("", CENTRE, i, {"clicks": write_clicks(p)})
        for i, p in zip(ids, paths, strict=True)
    ]
    assert found == alone


def test_more_states_than_are_kept_make_no_difference():
    sources = list_targets(SceneReader(10))[0]
    ids = [source.ref.target_id for source in sources]
    reward = IouGainReward(sources, DISC)
    first = reward([], [CENTRE] * 30, target_id=ids)
    assert reward([], [CENTRE] * 30, target_id=ids) == first
    assert len(set(first)) == 3


@pytest.mark.parametrize("reward", both(), ids=lambda r: r.__name__)
def test_rewards_can_be_pickled_even_after_use(reward: AnswerReward):
    before = reward.compute_score("", CENTRE, "000#0")
    assert pickle.loads(pickle.dumps(reward)).compute_score("", CENTRE, "000#0") == before


def test_the_oracles_click_is_deepest_and_a_finish_pays_when_nothing_is_left():
    reward = ClickDepthReward(SOURCES)
    truth = SOURCES[0].reader.load_truth(SOURCES[0].ref).truth
    oracle = oracle_click(np.zeros_like(truth), truth)
    assert oracle is not None
    text = f"Positive point: {CODEC.render(oracle.x, oracle.y, size_hw=(40, 50))}"
    assert reward.compute_score("", text, "000#0") == 1.0
    done = {"mask": write_mask(encode_mask(truth)), "clicks": "[[1, 1, true]]"}
    assert reward.compute_score("", "Finish", "000#0", done) == 1.0
    assert reward.compute_score("", text, "000#0", done) == 0.0


def test_geometry_needs_the_mask_after_clicks():
    with pytest.raises(DataError, match="000#0: click_depth needs the mask after 1 clicks"):
        ClickDepthReward(SOURCES).compute_score("", CENTRE, "000#0", {"clicks": "[[1, 1, true]]"})


@pytest.mark.parametrize("reward", both(), ids=lambda r: r.__name__)
@pytest.mark.parametrize(
    ("info", "problem"),
    [
        ({"clicks": "[[50, 0, true]]"}, "is outside the image of 50 x 40 pixels"),
        ({"clicks": "[[0, 40, true]]"}, "is outside the image"),
        ({"clicks": "[[0, 0]]"}, "expected JSON such as"),
        (
            {"mask": write_mask(encode_mask(np.zeros((50, 40), dtype=np.bool_)))},
            "the mask is 40 x 50 pixels, expected the image's 50 x 40",
        ),
    ],
)
def test_impossible_states_are_refused(reward: AnswerReward, info: dict[str, str], problem: str):
    with pytest.raises(DataError, match=problem):
        reward.compute_score("", CENTRE, "000#0", info)


@pytest.mark.parametrize("reward", both(), ids=lambda r: r.__name__)
def test_rows_of_other_data_are_refused(reward: AnswerReward):
    with pytest.raises(DataError, match=rf"{reward.__name__}: target '9#9' is not among its 6"):
        reward.compute_score("", CENTRE, "9#9")
    with pytest.raises(ConfigError, match="column target_id is missing, got mask, expression"):
        reward([], [CENTRE], mask=[""], expression=[""])
    with pytest.raises(ConfigError, match="column clicks has 1 values, expected 2"):
        reward([], [CENTRE] * 2, target_id=["000#0"] * 2, clicks=[""])


@pytest.mark.parametrize(
    ("targets", "invalid_reward", "problem"),
    [
        ([], 0.0, "targets is empty"),
        ([*SOURCES, SOURCES[0]], 0.0, "target '000#0' occurs twice"),
        (SOURCES, float("nan"), "invalid_reward nan: must be finite"),
    ],
)
def test_invalid_arguments_are_refused(targets: Any, invalid_reward: float, problem: str):
    with pytest.raises(ConfigError, match=problem):
        ClickDepthReward(targets, invalid_reward=invalid_reward)
    with pytest.raises(ConfigError, match=problem):
        IouGainReward(targets, DISC, invalid_reward=invalid_reward)


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("Finish", "Finish"),
        (chat("Finish"), "Finish"),
        ([*chat("Hm."), *chat("Finish")], "Finish"),
        (
            [{"content": [{"type": "text", "text": "Fin"}, {"type": "text", "text": "ish"}]}],
            "Finish",
        ),
    ],
)
def test_the_text_of_a_completion_is_that_of_its_last_message(completion: Any, text: str):
    assert text_of(completion) == text


@pytest.mark.parametrize("completion", [None, [], 3, [{"role": "assistant"}], {"content": "x"}])
def test_other_values_than_completions_are_refused(completion: Any):
    with pytest.raises(DataError, match="expected text or a list of messages"):
        text_of(completion)


@pytest.mark.parametrize("kind", ["gain", "depth"])
def test_saying_that_there_is_no_object_pays_where_it_is_right(kind: str) -> None:
    conversation = Conversation(TurnFormat(CODEC, with_finish=True, with_no_object=True))
    sources = [*SOURCES[:1], TargetSource(EmptyReader(1), SOURCES[0].ref)]
    for source, expected in zip(sources, (-1.0, 1.0), strict=True):
        made: AnswerReward = (
            IouGainReward([source], DISC, conversation=conversation)
            if kind == "gain"
            else ClickDepthReward([source], conversation=conversation)
        )
        assert made.compute_score("", "No object", "000#0", {}) == expected


def test_an_undo_earns_what_its_click_cost_and_nothing_by_geometry():
    dialogue = load_dialogue("tools")
    turn_format = TurnFormat(CODEC, with_undo=True, dialogue=dialogue)
    text = turn_format.answer(Undo(), size_hw=(40, 50))
    conversation = Conversation(turn_format)
    source = SOURCES[0]
    clicks = [Click(17, 14, True), Click(17, 14, False)]
    states = [state_after(source, clicks[:n], DiscSegmenter()) for n in (1, 2)]
    columns = {
        "target_id": [source.ref.target_id] * 2,
        "clicks": [write_clicks(clicks), write_clicks([])],
        "mask": [write_mask(encode_mask(states[1].mask)), ""],
    }
    gain = IouGainReward(SOURCES, DISC, conversation=conversation)
    assert gain([], [text, text], **columns) == [states[0].iou - states[1].iou, -1.0]
    assert states[0].iou > states[1].iou
    depth = ClickDepthReward(SOURCES, conversation=conversation)
    assert depth([], [text, text], **columns) == [0.0, -1.0]
