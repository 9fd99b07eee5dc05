"""A LLaMA-Factory data set as a folder: the rows of a task, the images, dataset_info.json."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from hlmat.export.llama_factory.images import ImageFiles, ImageLoader, image_name
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.samples import Case, Sample, cases_of
from hlmat.export.llama_factory.tasks.registry import DEFAULT_TASK, TASKS, TrainingTask
from hlmat.transforms.core.atomic_files import atomic_folder
from hlmat.transforms.core.errors import OutputError
from hlmat.transforms.core.records import Target, Trajectory
from hlmat.transforms.prompting.templates import IMAGE_MARK

DATASET_INFO = "dataset_info.json"


@dataclass(frozen=True)
class ExportCounts:
    """The counts of an export.

    Attributes:
        samples: rows of the JSON file.
        images: files under images/.
        targets: trajectories with a sample.
        targets_without_samples: trajectories that give no sample.
        kinds: rows by kind, in alphabetical order; empty for a task with one kind.
    """

    samples: int
    images: int
    targets: int
    targets_without_samples: int
    kinds: Mapping[str, int] = field(default_factory=dict)


def export_next_click(
    trajectories: Iterable[Trajectory],
    load_image: ImageLoader,
    out_dir: str,
    options: LlamaFactoryOptions | None = None,
    *,
    records: Mapping[str, Callable[[], bytes]] | None = None,
) -> ExportCounts:
    """Write a LLaMA-Factory data set for the next-click task; see `export_task`."""
    task = TASKS[DEFAULT_TASK]
    cases = cases_of(trajectories)
    return export_task(task, cases, load_image, out_dir, options=options, records=records)


def export_task(
    task: TrainingTask,
    cases: Iterable[Case],
    load_image: ImageLoader,
    out_dir: str,
    *,
    options: LlamaFactoryOptions | None = None,
    records: Mapping[str, Callable[[], bytes]] | None = None,
) -> ExportCounts:
    """Write a LLaMA-Factory data set for a task.

    The folder gets `dataset_info.json`, a sharegpt JSON file and `images/`. They are written to a
    temporary folder that is renamed at the end, so an interrupted export leaves nothing that looks
    like a data set.

    Args:
        task: the training task.
        cases: with the targets of one image adjacent; otherwise it is loaded again.
        load_image: as `DatasetReader.load_image`.
        out_dir: a folder on the local disk that does not exist yet, or is empty.
        options: how samples are made; the defaults if None.
        records: further files of the folder by name, made after every sample is written.

    Raises:
        OutputError: the folder is not empty or cannot be written, or there is no sample.
        TargetError: an image cannot be loaded.
    """
    options = options or LlamaFactoryOptions()
    out = os.path.abspath(out_dir)
    if os.path.lexists(out) and not (os.path.isdir(out) and not os.listdir(out)):
        raise OutputError(
            f"{out_dir} exists already and is not an empty folder; give another --out or remove it"
        )
    try:
        with atomic_folder(out) as folder:
            counts = _Writer(task, folder, load_image, options).write(cases)
            if counts.samples == 0:
                raise OutputError(
                    f"none of the {counts.targets_without_samples} trajectories holds a sample "
                    f"({task.why_none}), so there is nothing to train on; {out_dir} was not written"
                )
            for kind, cure in task.needed_kinds.items():
                if not counts.kinds.get(kind):
                    raise OutputError(
                        f"--task {task.name} learns from clicks of both kinds, but none of the "
                        f"{counts.samples} samples is of the kind `{kind}`: {cure}; {out_dir} was "
                        "not written"
                    )
            for name, make in (records or {}).items():
                with open(os.path.join(folder, name), "wb") as f:
                    f.write(make())
    except OSError as error:
        raise OutputError(
            f"cannot write the data set {out_dir}: {error}; give a folder that can be written to, "
            "with enough room"
        ) from error
    return counts


def rows_of(
    task: TrainingTask, case: Case, options: LlamaFactoryOptions
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a target; their images are named, not written."""
    for sample in task.samples(case, options):
        yield from _rows(sample, case.trajectory.target, options)


def _rows(sample: Sample, target: Target, options: LlamaFactoryOptions) -> list[dict[str, Any]]:
    expressions = target.ref.expressions
    if options.expressions == "first":
        expressions = expressions[:1]
    suffix = options.image_format
    return [
        {
            "messages": _messages(sample, expression),
            "images": [image_name(target, turn.shown, suffix=suffix) for turn in sample.turns],
            "target_id": target.ref.target_id,
            **sample.columns,
        }
        for expression in expressions
    ]


class _Writer:
    """Writes one data set into a folder."""

    def __init__(
        self,
        task: TrainingTask,
        folder: str,
        load_image: ImageLoader,
        options: LlamaFactoryOptions,
    ) -> None:
        self._task = task
        self._folder = folder
        self._options = options
        self._images = ImageFiles(folder, load_image, options)
        self._kinds: Counter[str] = Counter()

    def write(self, cases: Iterable[Case]) -> ExportCounts:
        samples = targets = without = 0
        with open(self._path(f"{self._options.name}.json"), "w", encoding="ascii") as f:
            f.write("[")
            for case in cases:
                count = self._write_target(f, case, is_first=samples == 0)
                samples += count
                targets += count > 0
                without += count == 0
            f.write("\n]\n")
            _sync(f)
        with open(self._path(DATASET_INFO), "w", encoding="ascii") as f:
            json.dump(self._dataset_info(), f, indent=2)
            f.write("\n")
            _sync(f)
        kinds = dict(sorted(self._kinds.items()))
        return ExportCounts(samples, self._images.written, targets, without, kinds)

    def _write_target(self, f: TextIO, case: Case, *, is_first: bool) -> int:
        count = 0
        target = case.trajectory.target
        for sample in self._task.samples(case, self._options):
            for turn in sample.turns:
                self._images.write(target, turn.shown)
            rows = _rows(sample, target, self._options)
            for row in rows:
                f.write("\n" if is_first and count == 0 else ",\n")
                f.write(json.dumps(row))
                count += 1
            if sample.kind is not None:
                self._kinds[sample.kind] += len(rows)
        return count

    def _dataset_info(self) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "file_name": f"{self._options.name}.json",
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images", **self._task.columns},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
            },
        }
        if self._task.stage == "dpo":
            entry["ranking"] = True
        return {self._options.name: entry}

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)


def _messages(sample: Sample, expression: str) -> list[dict[str, str]]:
    messages = []
    for turn in sample.turns:
        question = turn.turn_format.question(expression) if turn.turn_format else IMAGE_MARK
        messages.append({"role": "user", "content": question})
        if turn.answer is not None:
            messages.append({"role": "assistant", "content": turn.answer})
    return messages


def _sync(f: TextIO) -> None:
    f.flush()
    os.fsync(f.fileno())
