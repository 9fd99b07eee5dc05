"""Several finished runs over the same targets, read side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hlmat.export.llama_factory.samples import Case, OtherRun
from hlmat.export.runs.manifest import Manifest
from hlmat.export.runs.trajectories import read_trajectories, read_trajectory_rows
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import Trajectory
from hlmat.transforms.core.storage import Storage

_SAME_TARGETS = ("dataset", "split", "split_by", "annotations", "shapes", "expressions")

_Key = tuple[str, str, str]


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


def with_other_runs(
    cases: Iterable[Case], runs: Sequence[tuple[Storage, str, Manifest]], *, first: str
) -> Iterator[Case]:
    """Add to each case the trajectories of the same target in other runs.

    The runs list their targets in the data set's order, so few trajectories are in memory at a
    time.

    Args:
        cases: of the first run.
        runs: storage, output folder and manifest of the other ones.
        first: the first run's name, for messages.

    Raises:
        DataError: no target is in two runs, a target's truth differs between runs, or a run cannot
            be read.
    """
    others = [_Reading(storage, out, manifest) for storage, out, manifest in runs]
    models = [_model_of(manifest.config) for _, _, manifest in runs]
    matched = 0
    for case in cases:
        found = [other.take(case.trajectory) for other in others]
        also = tuple(
            OtherRun(trajectory, number, model)
            for number, (trajectory, model) in enumerate(zip(found, models, strict=True), start=1)
            if trajectory is not None
        )
        matched += len(also)
        yield replace(case, also=also)
    if not matched:
        names = ", ".join(out for _, out, _ in runs)
        raise DataError(
            f"no target of {first} is in {names} as well, so no two clicks share a state; make "
            "the runs with the same selection of targets"
        )


def _model_of(config: Mapping[str, Any]) -> str | None:
    """Return the digest of a run's model, or the name of a served one."""
    answers = config.get("policy_settings", {}).get("answers", {})
    name = answers.get("checkpoint_sha256") or answers.get("served_model")
    return None if name is None else str(name)


class _Reading:
    def __init__(self, storage: Storage, out: str, manifest: Manifest) -> None:
        self._name = out
        rows = read_trajectory_rows(storage, out, manifest=manifest)
        self._keys = {(row["dataset"], row["split"], row["target_id"]) for row in rows}
        self._coming = read_trajectories(storage, out, manifest=manifest)
        self._waiting: dict[_Key, Trajectory] = {}

    def take(self, wanted: Trajectory) -> Trajectory | None:
        """Return the run's trajectory of the same target, None if it has none.

        Raises:
            DataError: the target has another truth in this run.
        """
        key = _key(wanted)
        if key not in self._keys:
            return None
        while key not in self._waiting:
            trajectory = next(self._coming)
            self._waiting[_key(trajectory)] = trajectory
        found = self._waiting.pop(key)
        if (found.target.truth, found.target.ignore) != (wanted.target.truth, wanted.target.ignore):
            raise DataError(
                f"target {wanted.target.ref.target_id!r} has another ground truth in {self._name}: "
                "the runs are over different data; make both from the same files"
            )
        return found


def _key(trajectory: Trajectory) -> _Key:
    ref = trajectory.target.ref
    return ref.dataset, ref.split, ref.target_id
