"""`--from` and `--add` of `hlmat train`: finished runs to learn from, as of a teacher."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hlmat.export.llama_factory.layout import DATASET_INFO, EXPORT_RECORD
from hlmat.pipelines.exporting.tables import digest_of
from hlmat.pipelines.run.finished import read_run_manifest
from hlmat.pipelines.run.leak_guard import joined_records
from hlmat.pipelines.settings.training_options import TRAIN
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.pipelines.training.folder import TrainingFolder
from hlmat.transforms.core.atomic_files import atomic_file

_OF_TRAJECTORIES = (
    *("dataset", "split", "limit", "checkpoint", "device", "workers"),
    "trajectories",
)
"""Flags about trajectories that are not made if `--from` is given."""


@dataclass(frozen=True)
class GivenRuns:
    """Finished runs that a training learns from.

    Attributes:
        first: takes the place of the recipe's trajectories; None to make these.
        added: further runs, whose rows follow those of the first.
        min_iou: the IoU that the last mask of a target must reach, in (0, 1]; None keeps all.
    """

    first: str | None = None
    added: tuple[str, ...] = ()
    min_iou: float | None = None

    def identity(self) -> dict[str, Any]:
        """Return what the runs contain, as parts of a training's identity.

        Raises:
            DataError: a run is missing or unfinished.
        """
        least = {} if self.min_iou is None else {"min-iou": self.min_iou}
        parts = {}
        if self.first is not None:
            parts["trajectories"] = {"run": digest_of(read_run_manifest(self.first)), **least}
        if self.added:
            runs = [digest_of(read_run_manifest(run)) for run in self.added]
            parts["added"] = {"runs": runs, **least}
        return parts


def read_given_runs(
    arguments: argparse.Namespace, check: Check, *, folder: TrainingFolder
) -> GivenRuns:
    """Return the runs that the command line names; problems are added to `check`.

    Args:
        arguments: of a command that trains; of `hlmat train` alone do they name runs.
        check: receives what contradicts these runs.
        folder: of the training.
    """
    first = getattr(arguments, "run_folder", None)
    added = tuple(getattr(arguments, "add", None) or ())
    values = Values(arguments, TRAIN, check)
    least = values.get("min-iou") if values.has("min-iou") else None
    if first is not None:
        for name in _OF_TRAJECTORIES:
            if getattr(arguments, name.replace("-", "_")) is not None:
                check.note(
                    f"--{name} belongs to the recipe's trajectories, which --from {first} "
                    "replaces; leave one of them out"
                )
    _check_distinct(first, added, folder=folder, check=check)
    if least is not None and first is None and not added:
        check.note(
            f"--min-iou {least:g} says which targets of --from or --add are learned; give one of "
            "these, or leave it out"
        )
    return GivenRuns(first, added, least)


def _check_distinct(
    first: str | None, added: Sequence[str], *, folder: TrainingFolder, check: Check
) -> None:
    """Report runs that are learned twice, and those that belong to the training itself."""
    own = _place(str(folder.trajectories))
    seen = set() if first is None else {_place(first)}
    if first is not None and _place(first) == own:
        check.note(
            f"--from {first}: --overwrite would remove this run, which is the training's own; "
            "choose another --out"
        )
    for run in added:
        place = _place(run)
        if place == own:
            check.note(f"--add {run}: the training learns from this run already; leave it out")
        elif place in seen:
            check.note(f"--add {run}: this run is named twice; give different runs")
        seen.add(place)


def _place(run: str) -> str:
    """Return one spelling of a folder's path or URL."""
    return run.rstrip("/") if "://" in run else os.path.realpath(run)


def join_data(parts: Sequence[Path], *, name: str, out: Path) -> None:
    """Write a data set of the rows of several, in order.

    Args:
        parts: folders that `hlmat export --format llama-factory` made, beside `out`.
        name: of each data set, and of the new one.
        out: the new one's folder. Its images are those of the parts: their paths are relative to
            the folder that contains it, LLaMA-Factory's `media_dir`.
    """
    rows = []
    for part in parts:
        for row in _read(part / f"{name}.json"):
            images = [f"{part.name}/{image}" for image in row["images"]]
            rows.append({**row, "images": images})
    records = [(part / EXPORT_RECORD).read_bytes() for part in parts]
    out.mkdir(exist_ok=True)
    _write(out / f"{name}.json", json.dumps(rows, ensure_ascii=False, indent=1).encode())
    _write(out / EXPORT_RECORD, joined_records(records))
    _write(out / DATASET_INFO, (parts[0] / DATASET_INFO).read_bytes())


def _read(path: Path) -> list[Mapping[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, content: bytes) -> None:
    with atomic_file(str(path)) as f:
        f.write(content)
