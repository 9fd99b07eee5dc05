"""The samples of a data set as they stand between a trajectory and a file's rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from hlmat.transforms.core.records import Rle, Trajectory
from hlmat.transforms.prompting.actions import TurnFormat


@dataclass(frozen=True)
class OtherRun:
    """What another run did with the same target.

    Attributes:
        number: of the run, from 1, in the order in which they were named.
        model: what identifies the model that acted; None where none did.
    """

    trajectory: Trajectory
    number: int
    model: str | None = None


@dataclass(frozen=True)
class Case:
    """A target as a task meets it.

    Attributes:
        trajectory: of the target.
        also: what other runs did with it.
        neighbours: trajectories of the other targets of the same image.
    """

    trajectory: Trajectory
    also: tuple[OtherRun, ...] = ()
    neighbours: Sequence[Trajectory] = ()


@dataclass(frozen=True)
class Shown:
    """What an image shows: the image under a mask, or alone.

    Attributes:
        mask: laid over the image; None for the image alone, which all its targets share.
        label: tells apart the masks of one target; part of the image's name.
    """

    mask: Rle | None
    label: str


@dataclass(frozen=True)
class Turn:
    """A question about an image and its answer.

    Attributes:
        shown: what the image shows.
        turn_format: asks the question; None shows the image without repeating a question.
        answer: the text to learn; None where further columns of the sample hold the answers.
    """

    shown: Shown
    turn_format: TurnFormat | None
    answer: str | None


@dataclass(frozen=True)
class Sample:
    """What becomes a row for each expression of a target.

    Attributes:
        turns: questions and answers in order.
        columns: further columns of the row.
        kind: what samples of this sort are counted under; None where there is one sort.
    """

    turns: tuple[Turn, ...]
    columns: Mapping[str, Any] = field(default_factory=dict)
    kind: str | None = None


def shown_before(trajectory: Trajectory, step: int) -> Shown:
    """Return what step `step` saw; after the last step, the last mask."""
    return Shown(trajectory.mask_before(step), f"{step:02d}")


def iou_before(trajectory: Trajectory, step: int) -> float:
    """Return the IoU of the mask that step `step` saw; 0 for an empty one at the start."""
    return trajectory.iou_before(step)


def cases_of(trajectories: Iterable[Trajectory]) -> Iterator[Case]:
    """Group trajectories by image; those of one image stand one after another."""
    for _, group in groupby(trajectories, key=_image):
        together = tuple(group)
        for index, trajectory in enumerate(together):
            yield Case(trajectory, neighbours=together[:index] + together[index + 1 :])


def _image(trajectory: Trajectory) -> tuple[str, str, tuple[int, int]]:
    ref = trajectory.target.ref
    return ref.dataset, ref.image_path, trajectory.target.size_hw
