"""The files of a run, by path below its output folder."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Protocol

UNIT_SUFFIX = ".arrow"
"""Of the file of a finished unit."""


class UnitLayout(Protocol):
    """Where a job keeps its units while it is incomplete."""

    @property
    def units(self) -> str:
        """Folder of the finished work units."""
        ...

    @property
    def failures(self) -> str:
        """Folder of notes on units that died."""
        ...

    @property
    def worker_note(self) -> str:
        """A note that a worker on another runner began."""
        ...

    def unit_file(self, unit_id: str) -> str:
        """Return the path of a finished unit."""
        ...

    def failure_file(self, unit_id: str) -> str:
        """Return the path of the note on a unit that died."""
        ...


@dataclass(frozen=True)
class OutputLayout:
    """Paths of one run.

    `manifest` is written last: a folder without it holds an unfinished run. `run`, `plan`, `units`,
    `failures`, `known` and `scratch` exist only while the run is incomplete.

    Attributes:
        out: the output folder, a local path or a URL.
    """

    out: str

    @property
    def manifest(self) -> str:
        """The list of all files with their sha256, and the configuration."""
        return posixpath.join(self.out, "manifest.json")

    @property
    def data_card(self) -> str:
        """A description of the data and its terms, for people."""
        return posixpath.join(self.out, "DATA_CARD.md")

    @property
    def flags(self) -> str:
        """The flags that a derived run was made with."""
        return posixpath.join(self.out, "flags.csv")

    @property
    def run(self) -> str:
        """The configuration of the current run."""
        return posixpath.join(self.out, "run.json")

    @property
    def plan(self) -> str:
        """Folder of the lists of work units."""
        return posixpath.join(self.out, "plan")

    @property
    def units(self) -> str:
        """Folder of the finished work units."""
        return posixpath.join(self.out, "units")

    @property
    def failures(self) -> str:
        """Folder of notes on units that died."""
        return posixpath.join(self.out, "failures")

    @property
    def known(self) -> str:
        """Folder of earlier outcomes of units that are worked on again."""
        return posixpath.join(self.out, "known")

    @property
    def planned_inputs(self) -> str:
        """The record `inputs` of a run that is not finished."""
        return posixpath.join(self.plan, "inputs.parquet")

    @property
    def inputs(self) -> str:
        """The files that the run is made from, with their sha256."""
        return posixpath.join(self.out, "inputs.parquet")

    @property
    def scratch(self) -> str:
        """Folder of files that are being written: hidden, and apart from every final file."""
        return posixpath.join(self.out, ".partial")

    @property
    def worker_note(self) -> str:
        """A note that a worker on another runner began."""
        return posixpath.join(self.scratch, "worker.json")

    @property
    def engine_log(self) -> str:
        """What Beam and another runner logged in a run that failed."""
        return posixpath.join(self.out, "engine.log")

    def plan_file(self, number: int) -> str:
        """Return the path of one list of work units."""
        return posixpath.join(self.plan, f"units-{number:05d}.jsonl")

    def unit_file(self, unit_id: str) -> str:
        """Return the path of a finished unit: its checkpoint."""
        return posixpath.join(self.units, f"{unit_id}{UNIT_SUFFIX}")

    def known_file(self, unit_id: str) -> str:
        """Return the path of the outcomes of a unit that are kept when it is worked on again."""
        return posixpath.join(self.known, f"{unit_id}{UNIT_SUFFIX}")

    def failure_file(self, unit_id: str) -> str:
        """Return the path of the note on a unit that died."""
        return posixpath.join(self.failures, f"{unit_id}.json")

    def trajectory_file(self, shard: int, shards: int) -> str:
        """Return the path of one file of trajectories."""
        return posixpath.join(self.out, self.trajectory_name(shard, shards))

    def reject_file(self, shard: int, shards: int) -> str:
        """Return the path of one file of rejects."""
        return posixpath.join(self.out, self.reject_name(shard, shards))

    @staticmethod
    def trajectory_name(shard: int, shards: int) -> str:
        """Return the name, relative to `out`, of one file of trajectories."""
        return f"trajectories/trajectories-{shard:05d}-of-{shards:05d}.parquet"

    @staticmethod
    def reject_name(shard: int, shards: int) -> str:
        """Return the name, relative to `out`, of one file of rejects."""
        return f"rejects/rejects-{shard:05d}-of-{shards:05d}.parquet"
