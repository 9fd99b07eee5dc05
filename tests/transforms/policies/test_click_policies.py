"""What each policy clicks, and that nothing but the target decides it."""

from __future__ import annotations

import numpy as np
import pytest

import builders
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Click, Finish, StopReason
from hlmat.transforms.oracle.click import oracle_click
from hlmat.transforms.policies.initial_clicks import GridPolicy, RandomClicksPolicy, grid_side
from hlmat.transforms.policies.oracle import OraclePolicy, RandomErrorPolicy
from hlmat.transforms.policies.registry import POLICIES, PolicyOptions, check_policy_name

SIZE = (40, 60)
ROWS, COLUMNS = np.mgrid[: SIZE[0], : SIZE[1]]
DISC: Mask = (ROWS - 20) ** 2 + (COLUMNS - 30) ** 2 < 100


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_clicks_inside_and_finishes_without_an_error(name: str) -> None:
    policy = PolicyOptions(name, seed=1)()
    assert policy.name == name
    start = builders.state(DISC)
    done = builders.state(DISC, mask=start.truth)
    click, finish = policy.next_actions([start, done])
    assert isinstance(click, Click)
    assert start.truth[click.y, click.x]
    assert click.is_positive
    assert finish == Finish(StopReason.NO_ERROR_LEFT)


@pytest.mark.parametrize("name", POLICIES)
def test_neighbours_in_a_batch_and_earlier_calls_change_nothing(name: str) -> None:
    states = [builders.state(DISC, f"t{i}") for i in range(4)]
    together = PolicyOptions(name, seed=1)().next_actions(states)
    policy = PolicyOptions(name, seed=1)()
    alone = [policy.next_actions([state])[0] for state in reversed(states)]
    assert together == alone[::-1]
    assert [policy.initial_clicks(s) for s in states] == [
        PolicyOptions(name, seed=1)().initial_clicks(s) for s in states
    ]


def test_the_oracle_clicks_as_the_oracle() -> None:
    state = builders.state(DISC, clicks=(Click(30, 20, True),))
    expected = oracle_click(state.mask, state.truth, clicked=state.clicks)
    assert OraclePolicy().next_actions([state]) == [expected]
    assert OraclePolicy().initial_clicks(state) == ()


def test_random_error_clicks_every_wrong_pixel_equally_and_no_other() -> None:
    truth = np.zeros((1, 6), dtype=np.bool_)
    truth[0, :3] = True
    mask = np.array([[True, False, False, True, True, False]])
    ignore = np.array([[False, False, False, False, True, False]])
    counts: dict[Click, int] = {}
    for seed in range(600):
        state = builders.state(truth, mask=mask, ignore=ignore)
        click = RandomErrorPolicy(seed=seed).next_actions([state])[0]
        assert isinstance(click, Click)
        counts[click] = counts.get(click, 0) + 1
    assert set(counts) == {Click(1, 0, True), Click(2, 0, True), Click(3, 0, False)}
    assert min(counts.values()) > 140


def test_random_error_draws_again_at_each_step_and_never_the_same_pixel() -> None:
    truth = np.ones((2, 5), dtype=np.bool_)
    policy = RandomErrorPolicy(seed=0)
    clicks: tuple[Click, ...] = ()
    for _ in range(10):
        action = policy.next_actions([builders.state(truth, clicks=clicks)])[0]
        assert isinstance(action, Click)
        clicks = (*clicks, action)
    assert len(set(clicks)) == 10
    last = policy.next_actions([builders.state(truth, clicks=clicks)])
    assert last == [Finish(StopReason.NO_ERROR_LEFT)]
    assert policy.initial_clicks(builders.state(DISC)) == ()


def test_random_points_are_half_inside_half_around() -> None:
    ignore = np.zeros(SIZE, dtype=np.bool_)
    ignore[:, :25] = True
    seen = set()
    for i in range(40):
        state = builders.state(DISC, f"t{i}", ignore=ignore & ~DISC)
        clicks = RandomClicksPolicy(seed=0, num_clicks=5, then=OraclePolicy()).initial_clicks(state)
        assert [c.is_positive for c in clicks] == [True, False, True, False, True]
        assert len({(c.x, c.y) for c in clicks}) == 5
        for click in clicks:
            assert bool(state.truth[click.y, click.x]) is click.is_positive
            assert state.ignore is not None
            assert not state.ignore[click.y, click.x]
            # The truth's box is columns 21 to 39, rows 11 to 29; enlarged by a quarter each way.
            assert 16 <= click.x <= 44
            assert 6 <= click.y <= 34
        seen.add(clicks)
    assert len(seen) == 40


def test_random_points_are_fewer_where_there_are_fewer_pixels() -> None:
    truth = np.zeros((3, 3), dtype=np.bool_)
    truth[1, 1] = True
    policy = RandomClicksPolicy(seed=0, num_clicks=6, then=OraclePolicy())
    clicks = policy.initial_clicks(builders.state(truth))
    assert [c.is_positive for c in clicks] == [True, False, False, False]
    everything = np.ones((1, 1), dtype=np.bool_)
    assert policy.initial_clicks(builders.state(everything)) == (Click(0, 0, True),)


def test_a_share_of_the_targets_begins_with_a_wrong_click() -> None:
    policy = PolicyOptions("oracle", seed=1, wrong_clicks=0.4)()
    ignore = np.zeros(SIZE, dtype=np.bool_)
    ignore[:, :20] = True
    begun = []
    for i in range(200):
        state = builders.state(DISC, f"t{i}", ignore=ignore)
        begun.append(policy.initial_clicks(state))
        for click in begun[-1]:
            assert click.is_positive
            assert not DISC[click.y, click.x]
            assert click.x >= 20
        mask = state.mask | (~DISC if begun[-1] else False)
        answered = builders.state(DISC, f"t{i}", mask=mask, clicks=begun[-1])
        assert policy.next_actions([answered]) == OraclePolicy().next_actions([answered])
    assert {len(clicks) for clicks in begun} == {0, 1}
    assert 60 <= sum(map(len, begun)) <= 100
    everything = builders.state(np.ones((2, 2), dtype=np.bool_))
    assert PolicyOptions("oracle", wrong_clicks=1.0)().initial_clicks(everything) == ()


def test_a_wrong_click_may_be_on_another_object_each_equally_likely() -> None:
    policy = PolicyOptions("oracle", seed=1, wrong_clicks=1.0, wrong_clicks_on="object")()
    small = (ROWS == 5) & (COLUMNS == 3)
    large = (ROWS > 30) & (COLUMNS < 20)
    ignore = (ROWS == 35) & large
    touching = DISC | large
    counts = {"small": 0, "large": 0}
    for i in range(200):
        truths = (small, DISC, touching)
        (click,) = policy.initial_clicks(
            builders.state(DISC, f"t{i}", ignore=ignore, image_truths=truths)
        )
        assert click.is_positive
        assert (large & ~ignore)[click.y, click.x] or (click.x, click.y) == (3, 5)
        counts["small" if click.y == 5 else "large"] += 1
    assert 70 <= counts["small"] <= 130


def test_a_wrong_click_is_outside_where_the_image_has_no_other_object() -> None:
    on_object = PolicyOptions("oracle", seed=1, wrong_clicks=0.5, wrong_clicks_on="object")()
    outside = PolicyOptions("oracle", seed=1, wrong_clicks=0.5)()
    for i in range(20):
        alone = builders.state(DISC, f"t{i}", image_truths=(DISC,))
        assert on_object.initial_clicks(alone) == outside.initial_clicks(alone)


def test_wrong_clicks_change_what_identifies_a_run_and_need_the_oracle() -> None:
    assert PolicyOptions("oracle").identity() == {"initial_clicks": 4}
    assert PolicyOptions("oracle", wrong_clicks=0.5).identity()["wrong_clicks"] == 0.5
    with pytest.raises(ConfigError, match=r"wrong_clicks 0.5 needs .*name uniform.* to be oracle"):
        PolicyOptions("uniform", wrong_clicks=0.5)


def test_where_wrong_clicks_are_changes_what_identifies_a_run_and_needs_a_share() -> None:
    anywhere = PolicyOptions("oracle", wrong_clicks=0.5).identity()
    on_object = PolicyOptions("oracle", wrong_clicks=0.5, wrong_clicks_on="object").identity()
    assert "wrong_clicks_on" not in anywhere
    assert on_object == {**anywhere, "wrong_clicks_on": "object"}
    with pytest.raises(ConfigError, match=r"wrong_clicks 0: .*|wrong_clicks 0.0: .*|needs a share"):
        PolicyOptions("oracle", wrong_clicks_on="object")


def test_grid_points_are_labelled_by_the_truth_in_row_major_order() -> None:
    truth = np.zeros(SIZE, dtype=np.bool_)
    truth[10:30, 20:50] = True
    truth[10:20, 20:35] = False
    truth[10, 49] = truth[29, 20] = True
    policy = GridPolicy(points_per_side=2, then=OraclePolicy())
    assert policy.initial_clicks(builders.state(truth)) == (
        Click(27, 15, False),
        Click(42, 15, True),
        Click(27, 25, True),
        Click(42, 25, True),
    )
    ignore = np.zeros(SIZE, dtype=np.bool_)
    ignore[15, 27] = True
    state = builders.state(truth, ignore=ignore, clicks=(Click(42, 25, True),))
    assert policy.initial_clicks(state) == (Click(42, 15, True), Click(27, 25, True))


def test_grid_points_that_fall_together_count_once() -> None:
    truth = np.zeros(SIZE, dtype=np.bool_)
    truth[5, 7:9] = True
    policy = GridPolicy(points_per_side=4, then=OraclePolicy())
    assert policy.initial_clicks(builders.state(truth)) == (Click(7, 5, True), Click(8, 5, True))


def test_a_number_of_points_gives_the_grid_that_fits() -> None:
    assert [grid_side(n) for n in (1, 3, 4, 8, 9)] == [1, 1, 2, 2, 3]
    nine = PolicyOptions("grid", seed=0, num_initial_clicks=9)()
    assert len(nine.initial_clicks(builders.state(DISC))) == 9


def test_an_unknown_policy_names_the_nearest() -> None:
    message = (
        "--policy 'orcale' is unknown; did you mean 'oracle'? "
        "choose from oracle, uniform, human, random, grid"
    )
    assert check_policy_name("orcale") == message
    assert check_policy_name("grid") is None
    with pytest.raises(ConfigError) as caught:
        PolicyOptions("orcale", seed=0)
    assert caught.value.problems == (message,)
    with pytest.raises(
        ConfigError, match=r"PolicyOptions.num_initial_clicks 0: must be at least 1"
    ):
        PolicyOptions("grid", seed=0, num_initial_clicks=0)
