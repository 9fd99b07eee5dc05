"""Several finished runs over the same targets, read side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hlmat.export.llama_factory.export_units import OtherRows
from hlmat.export.runs.manifest import Manifest
from hlmat.export.runs.row_slices import RowSlice, TrajectoryFiles
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import Trajectory
from hlmat.transforms.core.storage import Storage

_SAME_TARGETS = ("dataset", "split", "split_by", "annotations", "shapes", "expressions")

TargetKey = tuple[str, str, str]
"""Data set, split and id of a target."""

KEY_COLUMNS = ("dataset", "split", "target_id")


def run_differences(run: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return why another run's clicks cannot be compared with a run's; None if they can.

    Args:
        run: the configuration of a run, as in its manifest.
        other: of the other one.
    """
    problems = [
        f"its {key} is {other.get(key)!r}, expected {run.get(key)!r}; give a run over the same "
        "targets, made by the same command"
        for key in _SAME_TARGETS
        if run.get(key) != other.get(key)
    ]
    if run.get("segmenter") != other.get("segmenter"):
        problems.append(
            f"its segmenter is {other.get('segmenter')!r}, expected {run.get('segmenter')!r}; with "
            "two tools a margin would judge the tools, not the clicks"
        )
    return problems


@dataclass(frozen=True)
class OtherRunFiles:
    """Another run over the same targets. Small and picklable.

    Attributes:
        files: its trajectories.
        model: identity of the model that acted; None without a model.
    """

    files: TrajectoryFiles
    model: str | None = None

    @classmethod
    def of(cls, storage: Storage, out: str, manifest: Manifest) -> OtherRunFiles:
        """Return the files of a finished run."""
        model = _model_of(manifest.config)
        return cls(TrajectoryFiles.of(storage, out, manifest), model)


class RowsByTarget:
    """The rows of other runs by the targets that they are about.

    Args:
        runs: in the order in which they were named.

    Raises:
        DataError: a file of a run is not as its manifest lists it.
    """

    def __init__(self, runs: Sequence[OtherRunFiles]) -> None:
        self.matched = 0
        self._names = [run.files.out for run in runs]
        self._places: list[dict[TargetKey, tuple[int, int]]] = []
        for run in runs:
            places: dict[TargetKey, tuple[int, int]] = {}
            for file, first, rows in run.files.columns(KEY_COLUMNS):
                for place, row in enumerate(rows, start=first):
                    places[key_of(row)] = (file, place)
            self._places.append(places)

    def of(self, targets: Sequence[TargetKey]) -> Iterator[OtherRows]:
        """Yield the rows over the targets of a unit: few slices where the runs have one order."""
        for run, places in enumerate(self._places):
            begun: OtherRows | None = None
            for place, target in enumerate(targets):
                if (found := places.get(target)) is None:
                    continue
                self.matched += 1
                file, row = found
                if begun is not None and (place, file, row) == _next_of(begun):
                    rows = RowSlice(file, begun.rows.first, begun.rows.count + 1)
                    begun = OtherRows(run, begun.place, rows)
                    continue
                if begun is not None:
                    yield begun
                begun = OtherRows(run, place, RowSlice(file, row, 1))
            if begun is not None:
                yield begun

    def check_matched(self, *, first: str) -> None:
        """Check that a target of any unit so far is in another run.

        Args:
            first: the first run's name, for messages.

        Raises:
            DataError: none is.
        """
        if not self.matched:
            names = ", ".join(self._names)
            raise DataError(
                f"no target of {first} is in {names} as well, so no two clicks share a state; "
                "make the runs with the same selection of targets"
            )


def key_of(row: Mapping[str, Any]) -> TargetKey:
    """Return what identifies the target of a row."""
    return row["dataset"], row["split"], row["target_id"]


def check_same_truth(trajectory: Trajectory, other: Trajectory, *, name: str) -> None:
    """Check that two runs are over the same data.

    Args:
        other: the other run's trajectory of the same target.
        name: of the other run.

    Raises:
        DataError: the target has another truth there.
    """
    here, there = trajectory.target, other.target
    if (there.truth, there.ignore) != (here.truth, here.ignore):
        raise DataError(
            f"target {here.ref.target_id!r} has another ground truth in {name}: "
            "the runs are over different data; make both from the same files"
        )


def _model_of(config: Mapping[str, Any]) -> str | None:
    """Return the digest of a run's model, or the name of a served one."""
    answers = config.get("policy_settings", {}).get("answers", {})
    name = answers.get("checkpoint_sha256") or answers.get("served_model")
    return None if name is None else str(name)


def _next_of(rows: OtherRows) -> tuple[int, int, int]:
    count = rows.rows.count
    return rows.place + count, rows.rows.file, rows.rows.first + count
