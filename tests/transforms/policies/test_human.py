"""Where the policy `human` clicks, with which label, and what decides it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import builders
from hlmat.transforms.clickability.click_model import ClickModel, built_in_click_model
from hlmat.transforms.core.errors import ConfigError, DataError
from hlmat.transforms.core.protocols import Mask, State
from hlmat.transforms.core.records import Click, Finish, StopReason
from hlmat.transforms.oracle.distance import deepest_pixel
from hlmat.transforms.policies.human import HumanPolicy
from hlmat.transforms.policies.human_options import HumanClicks, load_click_model
from hlmat.transforms.policies.registry import PolicyOptions

ROWS, COLUMNS = np.mgrid[:80, :120]
DISC: Mask = (ROWS - 40) ** 2 + (COLUMNS - 60) ** 2 < 35**2


def clicks_of(policy: HumanPolicy, *, count: int) -> list[Click]:
    actions = policy.next_actions([builders.state(DISC, f"t{i}") for i in range(count)])
    return [action for action in actions if isinstance(action, Click)]


def mean_distance(clicks: list[Click]) -> float:
    return float(np.mean([np.hypot(c.x - 60, c.y - 40) for c in clicks]))


def test_target_seed_and_click_count_decide_the_click() -> None:
    policy = PolicyOptions("human", 3)()
    state = builders.state(DISC, "a")
    later = builders.state(DISC, "a", clicks=(Click(0, 0, False),))
    assert policy.next_actions([state, state]) == PolicyOptions("human", 3)().next_actions(
        [state, state]
    )
    others = [
        policy.next_actions([builders.state(DISC, "b")])[0],
        PolicyOptions("human", 4)().next_actions([state])[0],
        policy.next_actions([later])[0],
    ]
    assert policy.next_actions([state])[0] not in others


def test_a_pixel_is_not_clicked_twice_and_the_last_one_ends_the_rollout() -> None:
    truth = np.array([[False, True, True, False]])
    policy = HumanPolicy(HumanClicks(built_in_click_model()), seed=0)
    made: tuple[Click, ...] = ()
    for _ in range(2):
        action = policy.next_action(builders.state(truth, clicks=made))
        assert isinstance(action, Click)
        made += (action,)
    assert {(c.x, c.y) for c in made} == {(1, 0), (2, 0)}
    end = policy.next_action(builders.state(truth, clicks=made))
    assert end == Finish(StopReason.NO_ERROR_LEFT)


def test_an_included_pixel_gets_a_negative_click_and_ignored_pixels_none() -> None:
    truth = np.array([[True, False, False]])
    mask = np.array([[True, True, True]])
    ignore = np.array([[False, False, True]])
    policy = HumanPolicy(HumanClicks(built_in_click_model()), seed=0)
    assert policy.next_action(builders.state(truth, mask=mask, ignore=ignore)) == Click(1, 0, False)


def test_likelier_deciles_are_deeper_and_all_of_them_inside() -> None:
    model = built_in_click_model()
    distances = []
    for decile in (1, 5, 10):
        clicks = clicks_of(HumanPolicy(HumanClicks(model, decile), seed=0), count=60)
        assert all(DISC[c.y, c.x] and c.is_positive for c in clicks)
        distances.append(mean_distance(clicks))
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 10 < 20 < distances[0]


def test_a_model_that_only_sees_depth_clicks_where_the_oracle_does() -> None:
    deepest = deepest_pixel(DISC)
    assert deepest is not None
    (click,) = clicks_of(
        HumanPolicy(HumanClicks(ClickModel({"depth": 100.0}, "t"), 10), seed=0), count=1
    )
    assert np.hypot(click.x - deepest.x, click.y - deepest.y) < 3


@pytest.mark.parametrize("is_baseline", [False, True])
def test_the_identity_names_the_weights_and_the_decile(is_baseline: bool) -> None:
    model = ClickModel({"depth": 1.5}, source="a test")
    options = PolicyOptions("human", is_baseline=is_baseline, human=HumanClicks(model, 4))
    assert options.identity() == {
        "initial_clicks": 4,
        "click_model": {**dict.fromkeys(model.weights, 0.0), "depth": 1.5},
        "click_decile": 4,
    }
    assert PolicyOptions("oracle").identity() == {"initial_clicks": 4}


def test_a_model_is_read_from_a_file(tmp_path: Path) -> None:
    model = ClickModel({"depth": 1.5}, source="a test")
    (tmp_path / "m.json").write_bytes(model.to_json())
    assert load_click_model(str(tmp_path / "m.json")) == model
    assert load_click_model(None) == built_in_click_model()
    with pytest.raises(ConfigError, match=r"--click-model .*none.json: No such file"):
        load_click_model(str(tmp_path / "none.json"))
    (tmp_path / "m.json").write_text("[]")
    with pytest.raises(DataError, match=r"m\.json is not a click model: \"format\" is not"):
        load_click_model(str(tmp_path / "m.json"))


def test_a_state_without_a_known_part_gives_the_same_click() -> None:
    policy = HumanPolicy(HumanClicks(built_in_click_model()), seed=0)
    state = builders.state(DISC, "a")
    with_part = State(**{**vars(state), "part": (slice(2, 79), slice(20, 100))})
    assert policy.next_action(state) == policy.next_action(with_part)
