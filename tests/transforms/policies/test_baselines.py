"""Baselines: where they click, and that they ignore the truth."""

from __future__ import annotations

from dataclasses import replace

import pytest

import builders
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.protocols import State
from hlmat.transforms.core.records import Click, Finish
from hlmat.transforms.policies.registry import PolicyOptions


def make_state(name: str = "t", clicks: tuple[Click, ...] = ()) -> State:
    return builders.state(builders.columns(10, size_hw=(30, 50)), name, clicks=clicks)


def test_the_centre_is_clicked_once() -> None:
    policy = PolicyOptions("centre", 0, is_baseline=True)()
    click = Click(25, 15, True)
    assert policy.next_actions([make_state(), make_state(clicks=(click,))]) == [click, Finish()]


def test_random_clicks_belong_to_target_turn_and_seed() -> None:
    states = [make_state(f"t{i}") for i in range(40)]
    policy = PolicyOptions("random", 0, is_baseline=True)()
    clicks = policy.next_actions(states)
    assert clicks == [policy.next_actions([s])[0] for s in states]
    assert len(set(clicks)) > 30
    assert all(isinstance(c, Click) and c.is_positive and c.x < 50 and c.y < 30 for c in clicks)
    assert clicks != PolicyOptions("random", 1, is_baseline=True)().next_actions(states)
    later = policy.next_actions([replace(s, clicks=(Click(0, 0, True),)) for s in states])
    assert later != clicks
    assert len({c.is_positive for c in later if isinstance(c, Click)}) == 2


@pytest.mark.parametrize("name", ["centre", "random"])
def test_baselines_ignore_the_truth(name: str) -> None:
    state = make_state()
    policy = PolicyOptions(name, 0, is_baseline=True)()
    assert policy.next_actions([state]) == policy.next_actions([replace(state, truth=~state.truth)])


def test_baselines_and_data_policies_are_separate() -> None:
    with pytest.raises(ConfigError, match="'centre' is unknown"):
        PolicyOptions("centre", 0)
    with pytest.raises(ConfigError, match="did you mean 'centre'"):
        PolicyOptions("center", 0, is_baseline=True)
