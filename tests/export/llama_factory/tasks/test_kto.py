from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hlmat.export.llama_factory.samples import Case
from hlmat.export.llama_factory.tasks import kto
from hlmat.export.llama_factory.tasks.registry import training_task
from hlmat.export.llama_factory.writer import export_task
from hlmat.transforms.core.errors import OutputError
from hlmat.transforms.core.records import Click
from trajectory_cases import HALF, TRUTH, make_trajectory, thousandths

EMPTY = np.zeros_like(TRUTH)


def test_a_click_is_good_if_it_raised_the_iou_and_not_if_it_left_or_lowered_it() -> None:
    trajectory = make_trajectory(
        clicks=(
            (Click(100, 50, True), HALF),
            (Click(101, 50, True), HALF),
            (Click(60, 50, False), EMPTY),
            (Click(61, 50, True), TRUTH),
        )
    )
    samples = list(kto.samples(Case(trajectory), thousandths()))
    assert [s.columns for s in samples] == [
        {"raised_iou": True, "step": 0, "gain": 0.5},
        {"raised_iou": False, "step": 1, "gain": 0.0},
        {"raised_iou": False, "step": 2, "gain": -0.5},
        {"raised_iou": True, "step": 3, "gain": 1.0},
    ]
    assert [s.kind for s in samples] == ["raised", "not raised", "not raised", "raised"]
    assert samples[2].turns[0].answer == "Negative point: (302, 505)"
    assert samples[2].turns[0].shown.mask == trajectory.steps[1].mask


def test_neither_an_initial_box_nor_the_end_is_judged() -> None:
    options = thousandths(turn_format={"with_finish": True})
    samples = list(kto.samples(Case(make_trajectory(boxed=True)), options))
    # the first click after the box leaves the mask as it is
    assert [(s.columns["step"], s.columns["raised_iou"]) for s in samples] == [
        (1, False),
        (2, True),
    ]


@pytest.mark.parametrize(
    ("task", "mask", "kind", "cure"),
    [
        ("kto", HALF, "not raised", "--no-stop-on-no-gain"),
        ("kto", EMPTY, "raised", "--policy oracle"),
    ],
)
def test_a_data_set_with_one_kind_of_click_is_refused_with_what_to_do(
    task: str, mask: Any, kind: str, cure: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    trajectory = make_trajectory(clicks=((Click(100, 50, True), mask),))

    def load_image(image_path: str, *, size_hw: tuple[int, int]) -> Any:
        return np.zeros((*size_hw, 3), np.uint8)

    with pytest.raises(OutputError, match=f"is of the kind `{kind}`: .*{cure}.* not written"):
        export_task(
            training_task(task), [Case(trajectory)], load_image, str(out), options=thousandths()
        )
    assert not out.exists()
