"""The samples of a data set, between trajectories and the rows of a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from hlmat.transforms.core.records import Rle, Trajectory
from hlmat.transforms.prompting.actions import TurnFormat


@dataclass(frozen=True)
class OtherRun:
    """Another run's trajectory of the same target.

    Attributes:
        number: of the run, from 1, in the order in which they were named.
        model: identity of the model that acted; None without a model.
    """

    trajectory: Trajectory
    number: int
    model: str | None = None


@dataclass(frozen=True)
class Case:
    """A target as the input of a task.

    Attributes:
        trajectory: of the target.
        also: its trajectories in other runs.
        neighbours: trajectories of the other targets of the same image.
    """

    trajectory: Trajectory
    also: tuple[OtherRun, ...] = ()
    neighbours: Sequence[Trajectory] = ()


@dataclass(frozen=True)
class Shown:
    """What an image shows: the image with a mask over it, or plain.

    Attributes:
        mask: drawn over the image; None for the plain image, which all its targets share.
        label: distinguishes the masks of one target; part of the image's name.
    """

    mask: Rle | None
    label: str


@dataclass(frozen=True)
class Turn:
    """A question about an image and its answer.

    Attributes:
        shown: what the image shows.
        turn_format: asks the question; None shows the image without repeating a question.
        answer: the text to learn; None if further columns of the sample hold the answers.
    """

    shown: Shown
    turn_format: TurnFormat | None
    answer: str | None


@dataclass(frozen=True)
class Sample:
    """A row for each expression of a target.

    Attributes:
        turns: questions and answers in order.
        columns: further columns of the row.
        kind: name under which such samples are counted; None if the task has one kind.
    """

    turns: tuple[Turn, ...]
    columns: Mapping[str, Any] = field(default_factory=dict)
    kind: str | None = None


def answer_message(answer: str, turn_format: TurnFormat) -> dict[str, str]:
    """Return an answer as a message of a row."""
    message = turn_format.dialogue.message(answer)
    return {"role": message.role, "content": message.content}


def shown_before(trajectory: Trajectory, step: int) -> Shown:
    """Return what step `step` saw, or the last mask after the last step."""
    return Shown(trajectory.mask_before(step), f"{step:02d}")


def iou_before(trajectory: Trajectory, step: int) -> float:
    """Return the IoU of the mask that step `step` saw; 0 for an empty one at the start."""
    return trajectory.iou_before(step)


def cases_of(trajectories: Iterable[Trajectory]) -> Iterator[Case]:
    """Group trajectories by image; those of one image are adjacent."""
    for _, group in groupby(trajectories, key=_image):
        together = tuple(group)
        for index, trajectory in enumerate(together):
            yield Case(trajectory, neighbours=together[:index] + together[index + 1 :])


def _image(trajectory: Trajectory) -> tuple[str, str, tuple[int, int]]:
    ref = trajectory.target.ref
    return ref.dataset, ref.image_path, trajectory.target.size_hw
