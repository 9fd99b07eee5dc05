"""The files of an export, by path below its output folder."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

DATASET_INFO = "dataset_info.json"

EXPORT_RECORD = "export.json"
"""In an exported data set: its origin and the keys of its images."""

REJECTS = "rejects.jsonl"


@dataclass(frozen=True)
class WorkingLayout:
    """Paths that exports of any format share.

    `working` exists only while the export is incomplete.

    Attributes:
        out: the output folder, a local path or a URL.
    """

    out: str

    @property
    def record(self) -> str:
        """The export's origin, settings and counts."""
        return posixpath.join(self.out, EXPORT_RECORD)

    @property
    def rejects(self) -> str:
        """A line of JSON for each target that could not be used; absent if there is none."""
        return posixpath.join(self.out, REJECTS)

    @property
    def working(self) -> str:
        """Folder of everything that only an unfinished export needs."""
        return posixpath.join(self.out, ".partial")

    @property
    def run(self) -> str:
        """The settings of the unfinished export."""
        return posixpath.join(self.working, "run.json")

    @property
    def plan(self) -> str:
        """Folder of the lists of units."""
        return posixpath.join(self.working, "plan")

    @property
    def units(self) -> str:
        """Folder of the finished units."""
        return posixpath.join(self.working, "units")

    @property
    def failures(self) -> str:
        """Folder of notes on units that died."""
        return posixpath.join(self.working, "failures")

    @property
    def scratch(self) -> str:
        """Folder of files that are being written."""
        return posixpath.join(self.working, "scratch")

    @property
    def worker_note(self) -> str:
        """A note that a worker on another runner began."""
        return posixpath.join(self.working, "worker.json")

    @property
    def engine_log(self) -> str:
        """What Beam and another runner logged in an export that failed."""
        return posixpath.join(self.out, "engine.log")

    def plan_file(self, number: int) -> str:
        """Return the path of one list of units."""
        return posixpath.join(self.plan, f"units-{number:05d}.jsonl")

    def unit_file(self, unit_id: str) -> str:
        """Return the path of a finished unit."""
        return posixpath.join(self.units, f"{unit_id}.txt")

    def failure_file(self, unit_id: str) -> str:
        """Return the path of the note on a unit that died."""
        return posixpath.join(self.failures, f"{unit_id}.json")


@dataclass(frozen=True)
class ExportLayout(WorkingLayout):
    """Paths of one export for LLaMA-Factory.

    `dataset_info` is written last: a folder without it holds an unfinished export.
    """

    @property
    def dataset_info(self) -> str:
        """What tells LLaMA-Factory how to read the rows."""
        return posixpath.join(self.out, DATASET_INFO)

    @property
    def images(self) -> str:
        """Folder of the images."""
        return posixpath.join(self.out, "images")

    def rows(self, name: str) -> str:
        """Return the path of the rows of a data set."""
        return posixpath.join(self.out, f"{name}.json")
