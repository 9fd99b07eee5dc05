"""What the page shows of one target or reject: masks, steps, texts, training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hlmat.export.llama_factory.images import image_name
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.rows import sample_rows
from hlmat.export.llama_factory.samples import Case, Shown
from hlmat.export.llama_factory.tasks.registry import TrainingTask
from hlmat.transforms.core.errors import ConfigError, DataError
from hlmat.transforms.core.records import Trajectory
from hlmat.transforms.dataset_io.arrow import Row, row_to_trajectory
from hlmat.transforms.prompting.templates import PromptTemplate

_LEFT_OUT = ("schema_version", "image_digest", "config_fingerprint")


@dataclass(frozen=True)
class TrainingRows:
    """The training rows of a target.

    Attributes:
        rows: each with what its images show.
        problem: why the task refuses the target, or None.
    """

    rows: Sequence[tuple[Row, list[Shown]]]
    problem: str | None = None


@dataclass(frozen=True)
class TrainingView:
    """How to make the rows that a training would see.

    Attributes:
        task: the data set's task.
        options: options of its samples; only rows of the first expression are shown.
    """

    task: TrainingTask
    options: LlamaFactoryOptions = field(default_factory=LlamaFactoryOptions)

    def rows(self, trajectory: Trajectory) -> TrainingRows:
        """Make a target's rows for its first expression.

        An export of the run would end at a target that the task refuses; the page shows why.
        """
        options = replace(self.options, expressions="first")
        found: list[tuple[Row, list[Shown]]] = []
        try:
            for sample in self.task.samples(Case(trajectory), options):
                shown = [turn.shown for turn in sample.turns]
                target, suffix = trajectory.target, options.image_format
                names = [image_name(target, each, suffix=suffix) for each in shown]
                found += [(row, shown) for row in sample_rows(sample, target, names, options)]
        except DataError as error:
            return TrainingRows([], str(error))
        return TrainingRows(found)


def target_details(
    row: Row, *, training: TrainingView | None, asked: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return a trajectory for the page.

    Args:
        row: a row of `TRAJECTORY_SCHEMA`.
        training: how its training rows are made; None leaves them out.
        asked: the settings of the model that acted, as the run recorded them.
    """
    details = {name: value for name, value in row.items() if name not in _LEFT_OUT}
    details["question"] = _question(asked, training, next(iter(row["expressions"]), ""))
    if training is not None:
        made = training.rows(row_to_trajectory(row))
        details["rows"] = [
            {**row, "masks": [None if s.mask is None else s.mask.counts for s in shown]}
            for row, shown in made.rows
        ]
        details["rows_problem"] = made.problem
    return details


def _question(
    asked: Mapping[str, Any] | None, training: TrainingView | None, expression: str
) -> str | None:
    """Return the question that the model got about a target; None if the run did not record it."""
    template = (asked or {}).get("prompt")
    if asked is None or not isinstance(template, str):
        return None
    coordinates = "{coordinates}"
    if training is not None:
        codec = training.options.turn_format.codec
        if codec.identity() == asked.get("codec"):
            coordinates = codec.description
    view = asked.get("view")
    colour = view.get("colour") if isinstance(view, dict) else None
    try:
        return PromptTemplate(template).render(
            expression=expression, colour=str(colour or "{colour}"), coordinates=coordinates
        )
    except ConfigError:
        return template
