"""The plan of an export: its units, and the images that its record lists."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Generic, TypeVar

from hlmat.export.image_tables.layout import TableLayout
from hlmat.export.image_tables.table_units import (
    TableUnit,
    table_unit_from_json,
    table_unit_to_json,
)
from hlmat.export.llama_factory.export_units import (
    ExportUnit,
    build_unit,
    unit_from_json,
    unit_to_json,
)
from hlmat.export.llama_factory.layout import WorkingLayout
from hlmat.export.llama_factory.paired_runs import KEY_COLUMNS, OtherRunFiles, RowsByTarget, key_of
from hlmat.export.runs.flags import Key
from hlmat.export.runs.row_slices import RowSlice, TrajectoryFiles
from hlmat.transforms.core.image_identity import KnownImage, image_key
from hlmat.transforms.core.records import TargetRef
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.dataset_io.arrow import Row
from hlmat.transforms.dataset_io.expression_choice import shuffled_expressions

_IMAGE = ("dataset", "image_path", "height", "width")
_COLUMNS = (*KEY_COLUMNS, *_IMAGE, "image_id", "image_digest", "num_clicks")
_UNITS_PER_FILE = 256


UnitT = TypeVar("UnitT", bound="ExportUnit | TableUnit")


@dataclass(frozen=True)
class _UnitPlan(Generic[UnitT]):
    """Units of an export and the images that its record lists.

    Attributes:
        units: in order.
        images: the distinct images of all targets, sorted.
    """

    units: tuple[UnitT, ...]
    images: tuple[KnownImage, ...]

    @property
    def targets_by_unit(self) -> Mapping[str, int]:
        """The number of targets of each unit, in order."""
        return {unit.unit_id: unit.targets for unit in self.units}

    @property
    def targets(self) -> int:
        """The number of targets."""
        return sum(unit.targets for unit in self.units)


class ExportPlan(_UnitPlan[ExportUnit]):
    """What an export for LLaMA-Factory is made of."""

    def lines(self) -> list[str]:
        """Return the units as lines of JSON."""
        return [unit_to_json(unit) for unit in self.units]

    @staticmethod
    def parse(line: str) -> ExportUnit:
        """Return the unit of a line. Raises DataError."""
        return unit_from_json(line)


class TablePlan(_UnitPlan[TableUnit]):
    """What an export as tables is made of; each unit becomes a file."""

    def lines(self) -> list[str]:
        """Return the units as lines of JSON."""
        return [table_unit_to_json(unit) for unit in self.units]

    @staticmethod
    def parse(line: str) -> TableUnit:
        """Return the unit of a line. Raises DataError."""
        return table_unit_from_json(line)


def plan_export(
    run: TrajectoryFiles,
    others: Sequence[OtherRunFiles],
    *,
    unit_size: int,
    fingerprint: str,
    shapes: Mapping[str, Any] | None,
    shuffle_seed: int | None = None,
    max_pixels: int | None = None,
    excluded: Collection[Key] = (),
) -> ExportPlan:
    """Cut a run into units; only columns that name targets and images are read.

    Args:
        run: its trajectories.
        others: runs over the same targets to compare with.
        unit_size: targets of a unit, at least; it closes with the image that brings it to them.
        fingerprint: of the export.
        shapes: the options of the generated data set, if the targets come from it.
        shuffle_seed: gives each target another one's expressions; None leaves them.
        max_pixels: a unit also closes with the image that brings the pixels of its states to this.
        excluded: targets that are left out.

    Raises:
        DataError: a run's file is not as its manifest lists it, or the runs share no target.
    """
    by_target = RowsByTarget(others)
    images: set[tuple[str, str, int | None, str | None]] = set()
    chosen = _Chosen(run, frozenset(excluded))
    shuffled = None if shuffle_seed is None else _shuffled(chosen, seed=shuffle_seed)
    units: list[ExportUnit] = []
    planned = 0
    for rows, keys in _cut(chosen, unit_size=unit_size, images=images, max_pixels=max_pixels):
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


def plan_tables(
    runs: Sequence[tuple[TrajectoryFiles, str, Mapping[str, Any] | None]],
    *,
    folder: str,
    unit_size: int,
    max_pixels: int,
    fingerprint: str,
    excluded: Collection[Key] = (),
) -> TablePlan:
    """Cut runs into units that each become a file; arguments and errors as above.

    Args:
        runs: trajectories, the name of the split, and the options of generated data.
        folder: of the files.
    """
    units: list[TableUnit] = []
    images: set[KnownImage] = set()
    for number, (files, split, shapes) in enumerate(runs):
        plan = plan_export(
            files,
            (),
            unit_size=unit_size,
            fingerprint=f"{fingerprint}\n{number}",
            shapes=shapes,
            max_pixels=max_pixels,
            excluded=excluded,
        )
        count = len(plan.units)
        for place, unit in enumerate(plan.units):
            name = TableLayout.shard_name(folder, split, place, count)
            units.append(TableUnit(replace(unit, index=len(units)), number, name))
        images.update(plan.images)
    return TablePlan(tuple(units), tuple(sorted(images)))


def write_plan(plan: ExportPlan | TablePlan, layout: WorkingLayout, storage: Storage) -> list[str]:
    """Write the units for workers elsewhere; return the names of the files."""
    files, lines = [], plan.lines()
    for number, first in enumerate(range(0, len(lines), _UNITS_PER_FILE)):
        some = lines[first : first + _UNITS_PER_FILE]
        files.append(layout.plan_file(number))
        storage.write_bytes(files[-1], "".join(f"{line}\n" for line in some).encode("ascii"))
    return files


@dataclass(frozen=True)
class _Chosen:
    """The rows of a run without those of excluded targets."""

    run: TrajectoryFiles
    excluded: frozenset[Key]

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, int, Row]]:
        """Yield the number of the file, the place in it and some columns of each row."""
        names = tuple(dict.fromkeys((*KEY_COLUMNS, *columns))) if self.excluded else columns
        for file, first, rows in self.run.columns(names):
            for place, row in enumerate(rows, start=first):
                if not self.excluded or key_of(row) not in self.excluded:
                    yield file, place, row


def _cut(
    chosen: _Chosen,
    *,
    unit_size: int,
    images: set[tuple[str, str, int | None, str | None]],
    max_pixels: int | None,
) -> Iterator[tuple[list[RowSlice], list[tuple[str, str, str]]]]:
    """Yield each unit's rows and targets; add the images to `images`."""
    places: list[tuple[int, int]] = []
    keys: list[tuple[str, str, str]] = []
    image: tuple[Any, ...] | None = None
    pixels = 0
    for file, place, row in chosen.rows(_COLUMNS):
        before, image = image, tuple(row[name] for name in _IMAGE)
        is_full = len(keys) >= unit_size or (max_pixels is not None and pixels >= max_pixels)
        if is_full and image != before:
            yield _slices(places), keys
            places, keys, pixels = [], [], 0
        pixels += row["height"] * row["width"] * (row["num_clicks"] + 1)
        places.append((file, place))
        keys.append(key_of(row))
        images.add((row["dataset"], row["image_path"], row["image_id"], row["image_digest"]))
    if keys:
        yield _slices(places), keys


def _slices(places: Sequence[tuple[int, int]]) -> list[RowSlice]:
    """Return the slices of consecutive rows, from each row's number of the file and place."""
    follows = ((file, place + 1) == after for (file, place), after in pairwise(places))
    starts = [0, *(k for k, is_next in enumerate(follows, start=1) if not is_next)]
    return [
        RowSlice(*places[start], end - start) for start, end in pairwise([*starts, len(places)])
    ]


def _shuffled(chosen: _Chosen, *, seed: int) -> list[tuple[str, ...]]:
    refs = [
        _reference(expressions=tuple(row["expressions"]))
        for _, _, row in chosen.rows(("expressions",))
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
