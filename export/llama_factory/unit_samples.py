"""What a unit of an export becomes: rows as text, counts and rejects; its images are written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

from hlmat.export.llama_factory.images import StateImages, image_name
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.rows import sample_rows
from hlmat.export.llama_factory.samples import Case
from hlmat.export.llama_factory.tasks.registry import TrainingTask
from hlmat.transforms.core.errors import OutputError, TargetError
from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.records import Reject

BETWEEN_ROWS = ",\n"


@dataclass(frozen=True)
class SampleCounts:
    """The counts of a unit.

    Attributes:
        samples: its rows.
        kinds: rows by kind; empty for a task with one kind.
        targets: trajectories with a sample.
        without: trajectories that give no sample.
        images: images that no other unit has: all that show a mask.
    """

    samples: int
    kinds: Mapping[str, int]
    targets: int
    without: int
    images: int


@dataclass(frozen=True)
class UnitSamples:
    """A unit's part of the data set.

    Attributes:
        counts: of its rows, targets and images.
        shared: names of plain images, which other units may have as well.
        rejects: targets that cannot be used, as `reject_entry` describes them.
        rows: as JSON, separated by `BETWEEN_ROWS`.
    """

    counts: SampleCounts
    shared: tuple[str, ...]
    rejects: tuple[Mapping[str, str], ...]
    rows: str

    def to_bytes(self) -> bytes:
        """Return the unit's file: a line of JSON, then the rows."""
        head = {
            "counts": asdict(self.counts),
            "shared": self.shared,
            "rejects": self.rejects,
        }
        return f"{json.dumps(head, sort_keys=True)}\n{self.rows}".encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str) -> UnitSamples:
        """Read what `to_bytes` wrote.

        Raises:
            OutputError: the file is something else.
        """
        try:
            head, _, rows = data.decode("ascii").partition("\n")
            content = json.loads(head)
            return cls(
                SampleCounts(**content["counts"]),
                tuple(content["shared"]),
                tuple(content["rejects"]),
                rows,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"the unit file {name} is damaged ({type(error).__name__}: {error}); remove it and "
                "run the same command again"
            ) from error


def export_unit(
    task: TrainingTask,
    cases: Iterable[Case | Reject],
    images: StateImages,
    write: Callable[[str, Image], None],
    options: LlamaFactoryOptions,
) -> UnitSamples:
    """Make the samples of some targets and write their images.

    A target whose image cannot be loaded becomes a reject: none of its rows and images is written.

    Args:
        task: the training task.
        cases: the targets in order, those of one image adjacent, and rejects in their places.
        images: draws the states.
        write: gets each image's name and pixels, once.
        options: how samples are made.
    """
    rows: list[str] = []
    rejects: list[Mapping[str, str]] = []
    kinds: Counter[str] = Counter()
    written: set[str] = set()
    shared: dict[str, None] = {}
    targets = without = 0
    for case in cases:
        if isinstance(case, Reject):
            rejects.append(reject_entry(case))
            continue
        try:
            made = _target_samples(task, case, images, options, written=written)
        except TargetError as error:
            ref = case.trajectory.target.ref
            rejects.append(reject_entry(Reject(ref, error.reason, error.message)))
            continue
        for name, image in made.images.items():
            write(name, image)
        written.update(made.images)
        shared.update(made.shared)
        rows += made.rows
        kinds.update(made.kinds)
        targets += bool(made.rows)
        without += not made.rows
    counts = SampleCounts(
        samples=len(rows),
        kinds=dict(sorted(kinds.items())),
        targets=targets,
        without=without,
        images=len(written) - len(shared),
    )
    return UnitSamples(counts, tuple(shared), tuple(rejects), BETWEEN_ROWS.join(rows))


def reject_entry(reject: Reject) -> Mapping[str, str]:
    """Return a reject as an object of JSON."""
    ref = reject.ref
    return {
        "target_id": ref.target_id,
        "dataset": ref.dataset,
        "split": ref.split,
        "image_path": ref.image_path,
        "reason": reject.reason.value,
        "message": reject.message,
    }


@dataclass
class _OfTarget:
    rows: list[str]
    images: dict[str, Image]
    shared: dict[str, None]
    kinds: Counter[str]


def _target_samples(
    task: TrainingTask,
    case: Case,
    images: StateImages,
    options: LlamaFactoryOptions,
    *,
    written: set[str],
) -> _OfTarget:
    made = _OfTarget([], {}, {}, Counter())
    target = case.trajectory.target
    for sample in task.samples(case, options):
        names = []
        for turn in sample.turns:
            name = image_name(target, turn.shown, suffix=options.image_format)
            names.append(name)
            if turn.shown.mask is None:
                made.shared[name] = None
            if name not in written and name not in made.images:
                made.images[name] = images.drawn(target, turn.shown)
        texts = [json.dumps(row) for row in sample_rows(sample, target, names, options)]
        made.rows += texts
        if sample.kind is not None:
            made.kinds[sample.kind] += len(texts)
    return made
