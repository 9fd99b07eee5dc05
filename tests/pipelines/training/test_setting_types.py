"""Values of LLaMA-Factory's settings against the types that it declares."""

from __future__ import annotations

import dataclasses
import importlib.util
from enum import Enum
from typing import Any, Literal

import pytest

from hlmat.pipelines.training.process import check_settings
from hlmat.pipelines.training.requirements import settings_problems
from hlmat.pipelines.training.setting_types import settings_of, type_problems


class Schedule(Enum):
    LINEAR = "linear"
    COSINE = "cosine"


@dataclasses.dataclass
class Arguments:
    rate: float = 1e-4
    steps: int = -1
    name: str | None = None
    fast: bool = False
    kind: Literal["lora", "full"] = "lora"
    schedule: Schedule | str = "linear"
    options: dict[str, Any] | str | None = None
    betas: tuple[float, float] = (0.9, 0.99)
    made: int = dataclasses.field(init=False, default=0)


TYPES = settings_of([Arguments])


def test_every_setting_that_can_be_given_has_a_type() -> None:
    assert sorted(TYPES) == [
        "betas",
        "fast",
        "kind",
        "name",
        "options",
        "rate",
        "schedule",
        "steps",
    ]


def test_values_of_their_type_have_no_problem() -> None:
    settings = {
        "rate": 1,
        "steps": 3.0,
        "name": 7,
        "fast": True,
        "kind": "full",
        "schedule": "cosine",
        "options": {"a": 1},
        "betas": [0.9, 0.95],
        "other": object(),
    }
    assert type_problems(settings, TYPES) == {}
    assert type_problems(dict.fromkeys(TYPES), TYPES) == {}


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("rate", "fast", "expected a valid number"),
        ("rate", "1e-4", "expected a valid number"),
        ("rate", [1], "expected a valid number"),
        ("steps", "3", "expected a valid integer"),
        ("steps", True, "expected a valid integer"),
        ("fast", "yes", "expected a valid boolean"),
        ("kind", "freeze", "expected 'lora' or 'full'"),
        ("schedule", "cubic", "choose from linear, cosine"),
        ("options", [1], "expected a valid dictionary or a valid string"),
    ],
)
def test_what_was_expected_is_said(name: str, value: object, problem: str) -> None:
    assert type_problems({name: value}, TYPES) == {name: problem}


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("llamafactory") is None, reason="llamafactory is not installed"
)
def test_llama_factory_s_own_types() -> None:
    settings = {
        "learning_rate": "quick",
        "max_steps": "many",
        "lora_rank": 8,
        "bf16": "yes",
        "finetuning_type": "partly",
        "lr_scheduler_type": "cosine",
        "report_to": "none",
        "image_max_pixels": "200704",
        "warmup_steps": 150,
        "seed": 3,
        "learning_rat": 1,
    }
    assert set(check_settings(settings)[1]) == {
        "learning_rate",
        "max_steps",
        "bf16",
        "finetuning_type",
        "image_max_pixels",
    }
    problems = settings_problems({"learning_rat": 1, "max_steps": "many"})
    assert problems[0].startswith("setting learning_rat is unknown to LLaMA-Factory; did you mean")
    assert problems[1] == (
        "setting max_steps: 'many': expected a valid integer; see the recipe's train.yaml and --set"
    )
