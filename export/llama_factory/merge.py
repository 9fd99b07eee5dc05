"""Units of an export put together: the file of rows, counts, rejects, and checks at the end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.rows import dialogue_columns, dialogue_tags
from hlmat.export.llama_factory.tasks.registry import TrainingTask
from hlmat.export.llama_factory.unit_samples import BETWEEN_ROWS, UnitSamples
from hlmat.transforms.core.errors import OutputError


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


class Merge:
    """Puts units together in their order, one at a time.

    Attributes:
        rejects: of all units so far.
    """

    def __init__(self) -> None:
        self.rejects: list[Mapping[str, str]] = []
        self._kinds: Counter[str] = Counter()
        self._shared: set[str] = set()
        self._samples = self._images = self._targets = self._without = 0

    def rows_file(self, units: Iterable[UnitSamples]) -> Iterator[str]:
        """Yield the pieces of the file of rows, a JSON list with a row in each line."""
        yield "["
        for unit in units:
            if unit.rows:
                yield f"{BETWEEN_ROWS if self._samples else BETWEEN_ROWS[1:]}{unit.rows}"
            self._add(unit)
        yield "\n]\n"

    @property
    def counts(self) -> ExportCounts:
        """The counts of all units so far."""
        return ExportCounts(
            samples=self._samples,
            images=self._images + len(self._shared),
            targets=self._targets,
            targets_without_samples=self._without,
            kinds=dict(sorted(self._kinds.items())),
        )

    def _add(self, unit: UnitSamples) -> None:
        self._samples += unit.counts.samples
        self._images += unit.counts.images
        self._targets += unit.counts.targets
        self._without += unit.counts.without
        self._kinds.update(unit.counts.kinds)
        self._shared.update(unit.shared)
        self.rejects += unit.rejects


def check_samples(task: TrainingTask, counts: ExportCounts, *, out: str) -> None:
    """Check that there is something to learn.

    Raises:
        OutputError: there is no sample, or none of a kind that the task needs.
    """
    if counts.samples == 0:
        raise OutputError(
            f"none of the {counts.targets_without_samples} trajectories holds a sample "
            f"({task.why_none}), so there is nothing to train on; {out} was not written"
        )
    for kind, cure in task.needed_kinds.items():
        if not counts.kinds.get(kind):
            raise OutputError(
                f"--task {task.name} learns from clicks of both kinds, but none of the "
                f"{counts.samples} samples is of the kind `{kind}`: {cure}; {out} was not written"
            )


def dataset_info(task: TrainingTask, options: LlamaFactoryOptions) -> bytes:
    """Return the file that tells LLaMA-Factory how to read the rows."""
    columns = {"messages": "messages", "images": "images", **task.columns}
    entry: dict[str, Any] = {
        "file_name": rows_name(options),
        "formatting": "sharegpt",
        "columns": columns | dialogue_columns(options),
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            **dialogue_tags(options),
        },
    }
    if task.stage == "dpo":
        entry["ranking"] = True
    return (json.dumps({options.name: entry}, indent=2) + "\n").encode("ascii")


def rows_name(options: LlamaFactoryOptions) -> str:
    """Return the name of the file of rows."""
    return f"{options.name}.json"
