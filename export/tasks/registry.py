"""The training tasks by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from export.llama_factory_options import LlamaFactoryOptions
from export.tasks import kto, mask_filter, multi_turn, next_click, preference, prm, refine
from export.training_samples import Case, Sample
from transforms.errors import ConfigError


@dataclass(frozen=True)
class TrainingTask:
    """What is learnt from trajectories.

    Attributes:
        samples: from a target to its samples.
        stage: LLaMA-Factory's `stage` that trains it.
        why_none: why a trajectory may hold no sample.
        columns: LLaMA-Factory's columns beside `messages` and `images`, with the rows' names.
        options: those of the flags that belong to some tasks alone.
    """

    name: str
    samples: Callable[[Case, LlamaFactoryOptions], Iterator[Sample]]
    stage: Literal["sft", "dpo", "kto"]
    why_none: str
    columns: Mapping[str, str] = field(default_factory=dict)
    options: frozenset[str] = frozenset()


_NO_CLICK = "each ended before a click that gained"

_TASKS = (
    TrainingTask(
        "next-click", next_click.samples, "sft", _NO_CLICK, options=frozenset({"--first-box"})
    ),
    TrainingTask(
        "prm",
        prm.samples,
        "sft",
        _NO_CLICK,
        options=frozenset({"--first-box", "--score-prompt"}),
    ),
    TrainingTask("refine", refine.samples, "sft", "no mask other than the truth could be made"),
    TrainingTask(
        "filter",
        mask_filter.samples,
        "sft",
        "their objects are too small for a mask of the IoU asked for",
        options=frozenset({"--score-prompt", "--candidates"}),
    ),
    TrainingTask(
        "preference",
        preference.samples,
        "dpo",
        "no two runs took different clicks in the same state with a margin of at least "
        "--min-margin",
        columns={preference.CHOSEN: preference.CHOSEN, preference.REJECTED: preference.REJECTED},
        options=frozenset({"--also", "--min-margin"}),
    ),
    TrainingTask("kto", kto.samples, "kto", _NO_CLICK, columns={"kto_tag": kto.TAG}),
    TrainingTask("multi-turn", multi_turn.samples, "sft", _NO_CLICK),
)

TASKS: Mapping[str, TrainingTask] = {task.name: task for task in _TASKS}
"""What can be learnt from trajectories, by name."""

DEFAULT_TASK = "next-click"


def training_task(name: str) -> TrainingTask:
    """Return a task.

    Raises:
        ConfigError: none has this name.
    """
    if name not in TASKS:
        close = difflib.get_close_matches(name, TASKS, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ConfigError([f"task {name!r} is unknown; {hint}choose from {', '.join(TASKS)}"])
    return TASKS[name]
