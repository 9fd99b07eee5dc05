"""The environment passes gymnasium's checks; rewards, ends of episodes, invalid input."""

from __future__ import annotations

import importlib
import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import builders
from hlmat.transforms.core.errors import ConfigError, DataError, TargetError
from hlmat.transforms.core.records import Click, Finish, RejectReason, Undo
from hlmat.transforms.envs.settings import default_conversation
from hlmat.transforms.envs.state import TargetSource, list_targets
from hlmat.transforms.masks.rle import encode_mask, mask_iou
from hlmat.transforms.oracle.click import oracle_click
from hlmat.transforms.policies.model_policy import Conversation
from hlmat.transforms.policies.oracle import OraclePolicy
from hlmat.transforms.prompting.actions import TurnFormat
from hlmat.transforms.prompting.coordinates import build_codec
from hlmat.transforms.prompting.dialogues.registry import load_dialogue
from hlmat.transforms.readers.shapes.reader import ShapesOptions, ShapesReader
from hlmat.transforms.rollout.loop import Episode, Limits, roll_out
from hlmat.transforms.segmenters.disc import DiscSegmenter
from hlmat.transforms.segmenters.graphcut.segmenter import GraphCutSegmenter
from hlmat.transforms.segmenters.registry import SegmenterOptions
from scene_reader import SceneReader

gymnasium = pytest.importorskip("gymnasium", reason="the extra rl is not installed")

from gymnasium.error import ResetNeeded  # noqa: E402
from gymnasium.utils.env_checker import check_env  # noqa: E402
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv  # noqa: E402

from hlmat.transforms.envs.gym_env import (  # noqa: E402
    ENVIRONMENT_ID,
    MaskAnnotationEnv,
)

DISC = SegmenterOptions("hlmat.transforms.segmenters.disc:DiscSegmenter")
MODES = ("click", "text")


def scenes(reader: SceneReader | None = None) -> list[TargetSource]:
    return list_targets(reader or SceneReader(2))[0]


def make_env(**changed: Any) -> MaskAnnotationEnv:
    """An environment on scenes of 40 x 50 pixels (height x width), answered with discs."""
    arguments = {"targets": scenes(), "segmenter": DISC, "observation_hw": (16, 24)} | changed
    return MaskAnnotationEnv(**arguments)


def text_of(click: Click | Finish, env: MaskAnnotationEnv) -> str:
    """Return the text that a model would write."""
    turn_format = env.settings.conversation.turn_format
    return turn_format.answer(click, size_hw=env.state.target.size_hw)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ends_on_invalid", [True, False])
def test_gymnasiums_checker_passes(mode: str, ends_on_invalid: bool):
    env = gymnasium.make(
        ENVIRONMENT_ID,
        targets=scenes(),
        segmenter=DISC,
        action_mode=mode,
        ends_on_invalid=ends_on_invalid,
        observation_hw=(16, 24),
        render_mode="rgb_array",
    )
    assert isinstance(env.unwrapped, MaskAnnotationEnv)
    check_env(env.unwrapped)


def test_spaces_are_fixed_by_the_observation():
    env = make_env(grid_hw=(4, 6))
    assert env.action_space == gymnasium.spaces.MultiDiscrete([3, 6, 4])
    shapes = {name: space.shape for name, space in env.observation_space.items()}  # pyright: ignore[reportAttributeAccessIssue]
    assert shapes == {"image": (16, 24, 3), "mask": (16, 24), "clicks": (16, 24, 2)}
    assert make_env().action_space == gymnasium.spaces.MultiDiscrete([3, 24, 16])


@settings(max_examples=30)
@given(st.data(), st.sampled_from([SceneReader(2, ignored_from=10), SceneReader(2)]))
def test_rewards_add_up_to_the_gain_and_observations_lie_in_their_space(
    data: st.DataObject, reader: SceneReader
):
    env = make_env(targets=scenes(reader), max_clicks=6, invalid_reward=0.0)
    observation, info = env.reset(options={"target": data.draw(st.integers(0, 5))})
    first_iou, total, ended = info["iou"], 0.0, False
    assert observation in env.observation_space
    while not ended:
        action = [data.draw(st.integers(0, n - 1)) for n in (3, 24, 16)]
        observation, reward, terminated, truncated, info = env.step(np.array(action))
        assert observation in env.observation_space
        assert info["iou"] == mask_iou(
            env.state.mask, env.state.target.truth, ignore=env.state.target.ignore
        )
        total += reward
        ended = terminated or truncated
    assert total == pytest.approx(info["iou"] - first_iou)


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.lists(st.integers(0, 3 * 24 * 16 - 1), min_size=1, max_size=4))
def test_the_same_seed_and_actions_give_the_same_observations(seed: int, numbers: list[int]):
    runs = []
    for already in (0, 2):
        env = make_env()
        # What was done before the seed must not matter.
        for _ in range(already):
            env.reset()
        seen = [env.reset(seed=seed)]
        for number in numbers:
            action = np.array(np.unravel_index(number, (3, 24, 16)))
            observation, reward, terminated, truncated, info = env.step(action)
            seen.append((observation, {**info, "reward": reward}))
            if terminated or truncated:
                seen.append(env.reset())
        runs.append(seen)
    for (one, one_info), (other, other_info) in zip(*runs, strict=True):
        assert one_info == other_info
        assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("segmenter", [DiscSegmenter, GraphCutSegmenter])
def test_the_oracles_clicks_give_the_masks_of_a_trajectory(mode: str, segmenter: Any):
    source = list_targets(ShapesReader(ShapesOptions(count=1, height=64, width=80)))[0][0]
    masks = source.reader.load_truth(source.ref)
    trajectory = roll_out(
        Episode(builders.target(masks.truth, source.ref), masks.truth),
        image=source.reader.load_image(source.ref.image_path, size_hw=(64, 80)),
        segmenter=segmenter(),
        policy=OraclePolicy(),
        limits=Limits(max_clicks=3, target_iou=None, stop_on_no_gain=False),
        provenance=builders.provenance(),
    )
    env = MaskAnnotationEnv(
        [source], segmenter(), max_clicks=3, action_mode=mode, observation_hw=(64, 80)
    )
    env.reset()
    for step in trajectory.steps:
        state = env.state
        click = oracle_click(state.mask, state.target.truth, clicked=state.clicks)
        assert click == step.action
        assert click is not None
        numbers = np.array([0 if click.is_positive else 1, click.x, click.y])
        _, reward, *_, info = env.step(text_of(click, env) if mode == "text" else numbers)
        assert encode_mask(env.state.mask) == step.mask
        assert (info["iou"], reward) == (step.iou, step.gain)
    assert len(trajectory.steps) > 1


@pytest.mark.parametrize("mode", MODES)
def test_a_finish_terminates_and_pays_nothing(mode: str):
    env = make_env(action_mode=mode, click_cost=0.5)
    env.reset(options={"target": 0})
    _, reward, terminated, truncated, info = env.step("Finish" if mode == "text" else [2, 0, 0])
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert info["stop_reason"] == "finished"
    assert info["clicks"] == 0


def test_saying_that_there_is_no_object_terminates_and_costs_where_it_is_wrong():
    conversation = Conversation(TurnFormat(build_codec("decimal"), with_no_object=True))
    env = make_env(action_mode="text", conversation=conversation)
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step("No object")
    assert (reward, terminated, truncated) == (-1.0, True, False)
    assert (info["stop_reason"], info["is_invalid"]) == ("no_object", False)


def test_every_click_costs():
    env, free = make_env(click_cost=0.25), make_env()
    rewards = []
    for one in (env, free):
        one.reset(options={"target": 0})
        rewards.append(one.step([0, 8, 5])[1])
    assert rewards[0] == rewards[1] - 0.25
    assert rewards[1] > 0.25


def test_reaching_the_iou_terminates_even_with_the_last_click():
    env = make_env(target_iou=0.1, max_clicks=1)
    env.reset(options={"target": 0})
    *_, terminated, truncated, info = env.step([0, 8, 5])
    assert (terminated, truncated, info["stop_reason"]) == (True, False, "reached_iou")
    assert info["iou"] >= 0.1


def test_the_last_turn_truncates():
    env = make_env(max_clicks=2)
    env.reset(options={"target": 0})
    assert env.step([0, 8, 5])[2:4] == (False, False)
    *_, terminated, truncated, info = env.step([1, 20, 12])
    assert (terminated, truncated, info["stop_reason"]) == (False, True, "max_clicks")
    assert info["clicks"] == 2


def test_an_invalid_text_ends_the_episode_with_its_reward():
    env = make_env(action_mode="text", invalid_reward=-0.3)
    env.reset(options={"target": 0})
    _, reward, terminated, truncated, info = env.step("I am done.")
    assert (reward, terminated, truncated) == (-0.3, True, False)
    assert info["is_invalid"] is True
    assert info["problem"] == "not an action: expected a point, a box or Finish"
    assert info["stop_reason"] == "invalid_action"


def test_an_invalid_text_can_leave_the_state_but_takes_a_turn():
    env = make_env(action_mode="text", ends_on_invalid=False, max_clicks=2)
    first, _ = env.reset(options={"target": 0})
    observation, reward, terminated, truncated, info = env.step("")
    assert (reward, terminated, truncated, info["clicks"]) == (-1.0, False, False, 0)
    assert all(np.array_equal(first[name], observation[name]) for name in first)
    *_, terminated, truncated, info = env.step("Positive point: (0.300, 0.300)")
    assert (terminated, truncated, info["is_invalid"], info["clicks"]) == (False, True, False, 1)


def test_info_names_the_target():
    env = make_env()
    observation, info = env.reset(options={"target": 4})
    assert info == {
        "target_id": "001#1",
        "expression": "rectangle 1",
        "iou": 0.0,
        "clicks": 0,
        "is_invalid": False,
        "problem": "",
        "stop_reason": "",
    }
    assert not observation["mask"].any()
    assert not observation["clicks"].any()


def test_every_target_is_drawn():
    env = make_env()
    env.reset(seed=0)
    assert len({env.reset()[1]["target_id"] for _ in range(60)}) == 6


def test_the_question_is_that_of_training():
    conversation = default_conversation()
    env = make_env(action_mode="text", conversation=conversation)
    env.reset(options={"target": 0})
    env.step("Positive point: (0.300, 0.300)")
    question = env.question()
    assert (question.target_id, question.turn) == ("000#0", 1)
    assert question.text == conversation.turn_format.question("rectangle 0")
    assert np.array_equal(
        question.image, conversation.view.draw(env.state.target.image, env.state.mask)
    )


def test_a_turn_format_without_finish_has_none():
    conversation = default_conversation()
    conversation = type(conversation)(TurnFormat(build_codec("decimal")))
    env = make_env(action_mode="text", conversation=conversation)
    env.reset()
    assert env.step("Finish")[4]["is_invalid"]


def test_rendering_shows_mask_and_click_at_the_observations_size():
    env = make_env(render_mode="rgb_array")
    env.reset(options={"target": 0})
    before = env.render()
    env.step([0, 8, 5])
    after = env.render()
    assert before is not None
    assert after is not None
    assert before.shape == after.shape == (16, 24, 3)
    assert not np.array_equal(before, after)
    assert make_env().render() is None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_vectorised_environments_do_what_each_does_alone(mode: str, kind: str):
    make = partial(make_env, action_mode=mode, max_clicks=2)
    if kind == "sync":
        vector = SyncVectorEnv([make] * 2)
    else:
        # Options and targets are pickled to new processes.
        vector = AsyncVectorEnv(
            [partial(MaskAnnotationEnv, scenes(), DISC, **SMALL[mode])] * 2, context="spawn"
        )
    actions: Any = CLICKS[mode]
    observations, infos = vector.reset(seed=[3, 4])
    after, rewards, *_ = vector.step(actions)
    vector.close()
    for i, seed in enumerate((3, 4)):
        alone = make()
        observation, info = alone.reset(seed=seed)
        assert infos["target_id"][i] == info["target_id"]
        assert np.array_equal(observations["image"][i], observation["image"])
        observation, reward, *_ = alone.step(actions[i])
        assert rewards[i] == reward
        for name, values in observation.items():
            assert np.array_equal(after[name][i], values)


SMALL: dict[str, dict[str, Any]] = {
    mode: {"action_mode": mode, "max_clicks": 2, "observation_hw": (16, 24)} for mode in MODES
}
CLICKS: dict[str, Any] = {
    "click": np.array([[0, 8, 5], [1, 3, 9]]),
    "text": ("Positive point: (0.300, 0.300)", "Finish"),
}


def test_one_segmenter_serves_several_environments_at_once():
    sources = list_targets(ShapesReader(ShapesOptions(count=2, height=64, width=80)))[0]
    last = len(sources) - 1
    shared = GraphCutSegmenter()
    together = [MaskAnnotationEnv(sources, shared, grid_hw=(6, 8)) for _ in range(2)]
    alone = [MaskAnnotationEnv(sources, GraphCutSegmenter(), grid_hw=(6, 8)) for _ in range(2)]
    for pair in (together, alone):
        pair[0].reset(options={"target": 0})
        pair[1].reset(options={"target": last})
    for action in ([0, 4, 3], [0, 2, 2]):
        for pair in (together, alone):
            for env in pair:
                env.step(action)
    for env, other in zip(together, alone, strict=True):
        assert np.array_equal(env.state.mask, other.state.mask)
    assert together[0].state.target.ref.image_path != together[1].state.target.ref.image_path


def test_targets_that_cannot_be_read_become_rejects():
    reader = SceneReader(1, bad_masks=frozenset({"000#0", "000#2"}))
    env = make_env(targets=scenes(reader))
    drawn = {env.reset(seed=seed)[1]["target_id"] for seed in range(20)}
    assert drawn == {"000#1"}
    assert {(r.ref.target_id, r.reason) for r in env.rejects} == {
        ("000#0", RejectReason.EMPTY_MASK),
        ("000#2", RejectReason.EMPTY_MASK),
    }
    assert len(env.rejects) == 2


def test_a_target_that_was_asked_for_must_be_readable():
    env = make_env(targets=scenes(SceneReader(1, bad_masks=frozenset({"000#0"}))))
    with pytest.raises(TargetError, match="000#0: the mask is empty"):
        env.reset(options={"target": 0})


def test_no_readable_target_at_all_is_an_error():
    env = make_env(targets=scenes(SceneReader(1, bad_images=frozenset({"000.png"}))))
    with pytest.raises(DataError, match=r"none of the 3 targets can be read; .*is truncated"):
        env.reset(seed=0)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"targets": []}, "targets is empty; list those of a data set with list_targets"),
        ({"targets": ["a.png"]}, "targets: expected TargetSource objects, got str"),
        ({"segmenter": "sam"}, "segmenter: expected a Segmenter or SegmenterOptions, got str"),
        ({"segmenter": DiscSegmenter}, "got the class DiscSegmenter"),
        ({"render_mode": "human"}, "render_mode 'human' is unknown"),
        ({"clicks": 3}, "setting 'clicks' is unknown; choose from max_clicks"),
        ({"max_clicks": -3}, "max_clicks -3: must be an integer of at least 1"),
        ({"observation_hw": (0, 3)}, "observation_hw (0, 3): must be (height, width)"),
        ({"action_mode": "speech"}, "action_mode 'speech' is unknown"),
    ],
)
def test_invalid_arguments_are_refused(changed: dict[str, Any], problem: str):
    with pytest.raises(ConfigError) as caught:
        make_env(**changed)
    assert len(caught.value.problems) == 1
    assert problem in str(caught.value)


def test_all_problems_are_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        make_env(targets=[], segmenter=None, max_clicks=0, action_mode="speech")
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"target": 6}, '"target" 6: must be an integer from 0 to 5'),
        ({"target": -1}, '"target" -1: must'),
        ({"target": "000#0"}, "\"target\" '000#0': must"),
        ({"image": 1}, 'unknown options image; the only one is "target"'),
    ],
)
def test_bad_reset_options_are_refused(options: dict[str, Any], problem: str):
    with pytest.raises(ValueError, match=problem):
        make_env().reset(options=options)


def test_actions_outside_the_space_are_refused_and_change_nothing():
    env = make_env()
    env.reset(options={"target": 0})
    with pytest.raises(ValueError, match=r"action \[0, 24, 0\]: .* below \(3, 24, 16\)"):
        env.step([0, 24, 0])
    assert env.step([0, 8, 5])[4]["clicks"] == 1


def test_no_step_without_an_episode():
    env = make_env()
    for use in (lambda: env.step([0, 0, 0]), env.question, lambda: env.state):
        with pytest.raises(ResetNeeded, match=r"call reset\(\)"):
            use()
    env.reset()
    env.step([2, 0, 0])
    with pytest.raises(ResetNeeded, match="no episode is running"):
        env.step([0, 0, 0])


def test_a_missing_gymnasium_is_reported_with_its_installation(monkeypatch: pytest.MonkeyPatch):
    name = "hlmat.transforms.envs.gym_env"
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(ConfigError, match=r"pip install 'hlmat\[rl\]'"):
        importlib.import_module(name)


def test_rewards_need_no_gymnasium():
    code = (
        "import sys; sys.modules['gymnasium'] = None; "
        "import hlmat.transforms.envs.rewards, hlmat.transforms.envs.settings"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_undo_gives_back_what_its_click_earned_and_takes_a_turn():
    env = make_env(with_undo=True, max_clicks=4)
    assert env.action_space == gymnasium.spaces.MultiDiscrete([4, 24, 16])
    env.reset(options={"target": 0})
    first, _, *_ = env.step([0, 8, 5])
    state = env.state
    _, lost, *_, after = env.step([1, 8, 5])
    observation, returned, *_, info = env.step([3, 0, 0])
    assert (returned, info["iou"]) == (-lost, state.iou)
    assert (after["clicks"], info["clicks"]) == (2, 1)
    assert all(np.array_equal(first[name], observation[name]) for name in first)
    assert env.state is state
    *_, truncated, info = env.step([3, 0, 0])
    assert (truncated, info["clicks"], info["iou"]) == (True, 0, 0.0)


@pytest.mark.parametrize("mode", MODES)
def test_nothing_to_undo_is_invalid(mode: str):
    tools = TurnFormat(build_codec("zero_to_1000"), with_undo=True, dialogue=load_dialogue("tools"))
    changed = {"with_undo": True} if mode == "click" else {"conversation": Conversation(tools)}
    env = make_env(action_mode=mode, **changed)
    env.reset(options={"target": 0})
    action = [3, 0, 0] if mode == "click" else tools.answer(Undo(), size_hw=(40, 50))
    _, reward, terminated, _, info = env.step(action)
    assert (reward, terminated, info["is_invalid"]) == (-1.0, True, True)
    assert info["problem"] == "nothing to undo: no click is in effect"


def test_texts_undo_by_their_conversation():
    with pytest.raises(ConfigError, match='with_undo needs action_mode="click"; for texts, give'):
        make_env(action_mode="text", with_undo=True)
