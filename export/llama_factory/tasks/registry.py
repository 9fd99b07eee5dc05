"""The training tasks by name. A task is imported when its samples are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.suggestions import did_you_mean

if TYPE_CHECKING:
    from hlmat.export.llama_factory.options import LlamaFactoryOptions
    from hlmat.export.llama_factory.samples import Case, Sample

_STAGES: Mapping[str, tuple[str, ...]] = {"sft": ("sft",), "dpo": ("dpo", "rm"), "kto": ("kto",)}


@dataclass(frozen=True)
class TrainingTask:
    """A training task.

    Attributes:
        samples: from a target to its samples.
        stage: LLaMA-Factory's `stage` for it.
        why_none: why a trajectory may give no sample.
        columns: LLaMA-Factory's columns besides `messages` and `images`, with the rows' names.
        options: its flags among those that only some tasks have.
        rows_beside: values of its columns in the rows of other tasks in the same data set.
        needed_kinds: kinds of samples without which nothing is learnt, and how to get each.
    """

    name: str
    samples: Callable[[Case, LlamaFactoryOptions], Iterator[Sample]]
    stage: Literal["sft", "dpo", "kto"]
    why_none: str
    columns: Mapping[str, str] = field(default_factory=dict)
    options: frozenset[str] = frozenset()
    rows_beside: Mapping[str, Any] = field(default_factory=dict)
    needed_kinds: Mapping[str, str] = field(default_factory=dict)

    @property
    def stages(self) -> tuple[str, ...]:
        """Every stage of LLaMA-Factory that accepts its rows."""
        return _STAGES[self.stage]


def _next_click(case: Case, options: LlamaFactoryOptions) -> Iterator[Sample]:
    from hlmat.export.llama_factory.tasks import next_click

    return next_click.samples(case, options)


def _prm(case: Case, options: LlamaFactoryOptions) -> Iterator[Sample]:
    from hlmat.export.llama_factory.tasks import prm

    return prm.samples(case, options)


def _refine(case: Case, options: LlamaFactoryOptions) -> Iterator[Sample]:
    from hlmat.export.llama_factory.tasks import refine

    return refine.samples(case, options)


def _mask_filter(case: Case, options: LlamaFactoryOptions) -> Iterator[Sample]:
    from hlmat.export.llama_factory.tasks import mask_filter

    return mask_filter.samples(case, options)


def _preference(case: Case, options: LlamaFactoryOptions) -> Iterator[Sample]:
    from hlmat.export.llama_factory.tasks import preference

    return preference.samples(case, options)


def _kto(case: Case, options: LlamaFactoryOptions) -> Iterator[Sample]:
    from hlmat.export.llama_factory.tasks import kto

    return kto.samples(case, options)


def _multi_turn(case: Case, options: LlamaFactoryOptions) -> Iterator[Sample]:
    from hlmat.export.llama_factory.tasks import multi_turn

    return multi_turn.samples(case, options)


def _star_plus(case: Case, options: LlamaFactoryOptions) -> Iterator[Sample]:
    from hlmat.export.llama_factory.tasks import star_plus

    return star_plus.samples(case, options)


STAR_PLUS = "star-plus"

_NO_CLICK = "each ended before a click that gained"

_TASKS = (
    TrainingTask("next-click", _next_click, "sft", _NO_CLICK, options=frozenset({"--first-box"})),
    TrainingTask(
        "prm",
        _prm,
        "sft",
        _NO_CLICK,
        options=frozenset({"--first-box", "--score-prompt"}),
    ),
    TrainingTask(
        "refine",
        _refine,
        "sft",
        "no mask other than the truth could be made",
        options=frozenset({"--foreign-masks", "--foreign-count"}),
    ),
    TrainingTask(
        "filter",
        _mask_filter,
        "sft",
        "their objects are too small for a mask of the IoU asked for",
        options=frozenset({"--score-prompt", "--candidates"}),
    ),
    TrainingTask(
        "preference",
        _preference,
        "dpo",
        "no two runs took different clicks in the same state with a margin of at least "
        "--min-margin; name runs of other policies over the same targets with --also, or lower "
        "--min-margin",
        columns={"chosen": "chosen", "rejected": "rejected"},
        options=frozenset({"--also", "--min-margin"}),
    ),
    TrainingTask(
        "kto",
        _kto,
        "kto",
        _NO_CLICK,
        columns={"kto_tag": "raised_iou"},
        needed_kinds={
            "raised": "make a run with better clicks, for example --policy oracle",
            "not raised": "make a run that keeps bad clicks: --no-stop-on-no-gain with --policy "
            "random, or hlmat evaluate with a model",
        },
    ),
    TrainingTask("multi-turn", _multi_turn, "sft", _NO_CLICK),
    TrainingTask(
        STAR_PLUS,
        _star_plus,
        "sft",
        "the model's rollouts hold none of their targets",
        options=frozenset({"--also", "--score-prompt"}),
        rows_beside={"origin": "first_data", "round": 0, "model": None},
    ),
)

TASKS: Mapping[str, TrainingTask] = {task.name: task for task in _TASKS}
"""The training tasks, by name."""

DEFAULT_TASK = "next-click"


def training_task(names: str) -> TrainingTask:
    """Return a task, or several as one, with a target's samples of each task in turn.

    Args:
        names: of one task, or of several, separated by commas.

    Raises:
        ConfigError: a task is unknown or named twice, or two are not trained in the same way.
    """
    tasks = []
    for name in names.split(","):
        if name not in TASKS:
            raise ConfigError(
                [
                    f"--task {name!r} is unknown; {did_you_mean(name, TASKS)}choose from "
                    f"{', '.join(TASKS)}"
                ]
            )
        tasks.append(TASKS[name])
    if len(set(names.split(","))) < len(tasks):
        raise ConfigError([f"--task {names}: a task is named twice; name each once"])
    for task in tasks[1:]:
        if (task.stage, task.columns) != (tasks[0].stage, tasks[0].columns):
            raise ConfigError(
                [
                    f"--task {names}: {task.name} is trained in another way (stage {task.stage}) "
                    f"than {tasks[0].name} (stage {tasks[0].stage}); export them one by one"
                ]
            )
    return tasks[0] if len(tasks) == 1 else _together(tasks)


def data_set_name(names: str) -> str:
    """Return the default name of the data set of some tasks.

    >>> data_set_name("next-click,refine")
    'next_click_refine'
    """
    return names.replace("-", "_").replace(",", "_")


def _together(tasks: Sequence[TrainingTask]) -> TrainingTask:
    beside: dict[str, Any] = {}
    for task in tasks:
        beside |= task.rows_beside

    def samples(case: Case, options: LlamaFactoryOptions) -> Iterator[Sample]:
        for task in tasks:
            for sample in task.samples(case, options):
                kind = task.name if sample.kind is None else f"{task.name} {sample.kind}"
                yield replace(sample, columns=beside | {**sample.columns}, kind=kind)

    return TrainingTask(
        name=",".join(task.name for task in tasks),
        samples=samples,
        stage=tasks[0].stage,
        why_none="; ".join(f"{task.name}: {task.why_none}" for task in tasks),
        columns=tasks[0].columns,
        options=frozenset().union(*(task.options for task in tasks)),
        rows_beside=beside,
        needed_kinds={
            f"{task.name} {kind}": cure
            for task in tasks
            for kind, cure in task.needed_kinds.items()
        },
    )
