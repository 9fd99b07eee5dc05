from __future__ import annotations

import pytest

from hlmat.export.llama_factory.samples import Case, OtherRun
from hlmat.export.llama_factory.tasks.registry import DEFAULT_TASK, TASKS, training_task
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.records import Click
from trajectory_cases import TRUTH, make_trajectory, thousandths

# The other run's first click finds all, the first run's only half.
CASE = Case(
    make_trajectory(),
    also=(OtherRun(make_trajectory(clicks=((Click(60, 30, True), TRUTH),)), 1, "model-1"),),
)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_looked_up_by_its_name(name: str) -> None:
    assert training_task(name) is TASKS[name]
    assert training_task(name).name == name


def test_the_default_is_a_task_of_single_turns_trained_by_imitation() -> None:
    assert training_task(DEFAULT_TASK).stages == ("sft",)


def test_an_unknown_task_is_reported_with_the_likely_one() -> None:
    with pytest.raises(ConfigError) as caught:
        training_task("multiturn")
    assert str(caught.value) == (
        f"--task 'multiturn' is unknown; did you mean 'multi-turn'? choose from {', '.join(TASKS)}"
    )


@pytest.mark.parametrize("name", TASKS)
def test_every_sample_has_the_columns_that_its_task_declares(name: str) -> None:
    task = training_task(name)
    samples = list(task.samples(CASE, thousandths()))
    assert samples != []
    for sample in samples:
        assert set(task.columns.values()) | set(task.rows_beside) <= set(sample.columns)


def test_beside_rows_of_a_rollout_the_others_are_the_first_data() -> None:
    samples = training_task("next-click,star-plus").samples(CASE, thousandths())
    origins = {(s.columns["origin"], s.columns["round"], s.columns["model"]) for s in samples}
    assert origins == {("first_data", 0, None), ("kept", 1, "model-1")}
