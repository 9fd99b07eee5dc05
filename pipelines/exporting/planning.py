"""The plan of an export: its units, and the images that its record lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hlmat.export.llama_factory.export_units import ExportUnit, build_unit, unit_to_json
from hlmat.export.llama_factory.layout import ExportLayout
from hlmat.export.llama_factory.paired_runs import KEY_COLUMNS, OtherRunFiles, RowsByTarget, key_of
from hlmat.export.runs.row_slices import RowSlice, TrajectoryFiles
from hlmat.transforms.core.image_identity import KnownImage, image_key
from hlmat.transforms.core.records import TargetRef
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.dataset_io.arrow import Row
from hlmat.transforms.dataset_io.expression_choice import shuffled_expressions

_IMAGE = ("dataset", "image_path", "height", "width")
_COLUMNS = (*KEY_COLUMNS, *_IMAGE, "image_id", "image_digest")
_UNITS_PER_FILE = 256


@dataclass(frozen=True)
class ExportPlan:
    """What an export is made of.

    Attributes:
        units: in order.
        images: the distinct images of all targets, sorted.
    """

    units: tuple[ExportUnit, ...]
    images: tuple[KnownImage, ...]

    @property
    def targets_by_unit(self) -> Mapping[str, int]:
        """The number of targets of each unit, in order."""
        return {unit.unit_id: unit.targets for unit in self.units}

    @property
    def targets(self) -> int:
        """The number of targets."""
        return sum(unit.targets for unit in self.units)


def plan_export(
    run: TrajectoryFiles,
    others: Sequence[OtherRunFiles],
    *,
    unit_size: int,
    fingerprint: str,
    shapes: Mapping[str, Any] | None,
    shuffle_seed: int | None = None,
) -> ExportPlan:
    """Cut a run into units; only columns that name targets and images are read.

    Args:
        run: its trajectories.
        others: runs over the same targets to compare with.
        unit_size: targets of a unit, at least; it closes with the image that brings it to them.
        fingerprint: of the export.
        shapes: the options of the generated data set, if the targets come from it.
        shuffle_seed: gives each target another one's expressions; None leaves them.

    Raises:
        DataError: a run's file is not as its manifest lists it, or the runs share no target.
    """
    by_target = RowsByTarget(others)
    images: set[tuple[str, str, int | None, str | None]] = set()
    shuffled = None if shuffle_seed is None else _shuffled(run, seed=shuffle_seed)
    units: list[ExportUnit] = []
    planned = 0
    for rows, keys in _cut(run, unit_size=unit_size, images=images):
        count = len(keys)
        texts = None if shuffled is None else shuffled[planned : planned + count]
        also = list(by_target.of(keys))
        units.append(
            build_unit(len(units), rows, also=also, expressions=texts, fingerprint=fingerprint)
        )
        planned += count
    if others:
        by_target.check_matched(first=run.out)
    return ExportPlan(tuple(units), _known(images, shapes=shapes))


def write_plan(plan: ExportPlan, layout: ExportLayout, storage: Storage) -> list[str]:
    """Write the units for workers elsewhere; return the names of the files."""
    files = []
    for number, first in enumerate(range(0, len(plan.units), _UNITS_PER_FILE)):
        lines = [unit_to_json(unit) for unit in plan.units[first : first + _UNITS_PER_FILE]]
        files.append(layout.plan_file(number))
        storage.write_bytes(files[-1], "".join(f"{line}\n" for line in lines).encode("ascii"))
    return files


def _cut(
    run: TrajectoryFiles,
    *,
    unit_size: int,
    images: set[tuple[str, str, int | None, str | None]],
) -> Iterator[tuple[list[RowSlice], list[tuple[str, str, str]]]]:
    """Yield each unit's rows and targets; add the images to `images`."""
    places: list[tuple[int, int]] = []
    keys: list[tuple[str, str, str]] = []
    image: tuple[Any, ...] | None = None
    for file, place, row in _listed(run):
        before, image = image, tuple(row[name] for name in _IMAGE)
        if len(keys) >= unit_size and image != before:
            yield _slices(places), keys
            places, keys = [], []
        places.append((file, place))
        keys.append(key_of(row))
        images.add((row["dataset"], row["image_path"], row["image_id"], row["image_digest"]))
    if keys:
        yield _slices(places), keys


def _listed(run: TrajectoryFiles) -> Iterator[tuple[int, int, Row]]:
    for file, first, rows in run.columns(_COLUMNS):
        for place, row in enumerate(rows, start=first):
            yield file, place, row


def _slices(places: Sequence[tuple[int, int]]) -> list[RowSlice]:
    """Return the slices of rows in one order, by number of the file and place."""
    starts = [0, *(k for k, (a, b) in enumerate(pairwise(places), start=1) if a[0] != b[0])]
    return [
        RowSlice(*places[start], end - start) for start, end in pairwise([*starts, len(places)])
    ]


def _shuffled(run: TrajectoryFiles, *, seed: int) -> list[tuple[str, ...]]:
    refs = [
        _reference(expressions=tuple(row["expressions"]))
        for _, _, rows in run.columns(("expressions",))
        for row in rows
    ]
    return shuffled_expressions(refs, seed=seed)


def _known(
    images: set[tuple[str, str, int | None, str | None]], *, shapes: Mapping[str, Any] | None
) -> tuple[KnownImage, ...]:
    found = {
        KnownImage(
            image_key(
                _reference(dataset=dataset, image_path=path, image_id=image_id), shapes=shapes
            ),
            digest or "",
        )
        for dataset, path, image_id, digest in images
    }
    return tuple(sorted(found))


def _reference(**known: Any) -> TargetRef:
    """Return a target of which only some fields are known."""
    texts = dict.fromkeys(
        ("target_id", "dataset", "split", "image_path", "image_name", "truth_ref", "license"), ""
    )
    fields = {**texts, "image_id": None, "object_id": 0, "expressions": (), **known}
    return TargetRef(**fields)
