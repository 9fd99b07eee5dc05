from __future__ import annotations

import pytest

from hlmat.export.llama_factory.tasks import kto, preference, star_plus
from hlmat.export.llama_factory.tasks.registry import DEFAULT_TASK, TASKS, training_task
from hlmat.transforms.core.errors import ConfigError


def test_tasks_go_by_their_names() -> None:
    assert list(TASKS) == [
        "next-click",
        "prm",
        "refine",
        "filter",
        "preference",
        "kto",
        "multi-turn",
        "star-plus",
    ]
    assert all(training_task(name).name == name for name in TASKS)
    assert DEFAULT_TASK in TASKS


def test_an_unknown_task_is_reported_with_the_likely_one() -> None:
    with pytest.raises(ConfigError) as caught:
        training_task("multiturn")
    assert str(caught.value) == (
        "--task 'multiturn' is unknown; did you mean 'multi-turn'? choose from next-click, prm, "
        "refine, filter, preference, kto, multi-turn, star-plus"
    )


def test_the_columns_are_those_that_the_tasks_write() -> None:
    assert set(TASKS["preference"].columns) == {preference.CHOSEN, preference.REJECTED}
    assert TASKS["kto"].columns == {"kto_tag": kto.TAG}
    assert TASKS["star-plus"].rows_beside == star_plus.FIRST_DATA
