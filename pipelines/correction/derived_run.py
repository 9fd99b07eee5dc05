"""Write a run whose rows come from finished runs: chosen, changed, with their provenance."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa

from hlmat.export.runs.data_card import render_data_card
from hlmat.export.runs.manifest import FileEntry, Manifest, build_manifest, read_listed_file
from hlmat.export.runs.row_slices import RowReader, RowSlice, TrajectoryFiles
from hlmat.pipelines.run.finished import read_run_manifest
from hlmat.pipelines.run.folder import RunFolder, RunStatus
from hlmat.pipelines.run.inputs import InputFile, inputs_from_bytes, inputs_to_bytes
from hlmat.pipelines.settings.run_options import fingerprint_of
from hlmat.transforms.core.errors import ConfigError, DataError, OutputError
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.dataset_io.arrow import Row, of_this_version, table_to_parquet_bytes
from hlmat.transforms.dataset_io.layout import OutputLayout

ROWS_PER_FILE = 5000

Place = tuple[int, int, int]
"""Where a row is: number of its run, number of the file, place in the file; all from 0."""


@dataclass(frozen=True)
class SourceRun:
    """A finished run that rows are taken from."""

    out: str
    storage: Storage
    manifest: Manifest

    @classmethod
    def open(cls, out: str) -> SourceRun:
        """Open a finished run. Raises DataError if there is none."""
        return cls(out, storage_for(out), read_run_manifest(out))

    @cached_property
    def trajectories(self) -> TrajectoryFiles:
        """The files of its trajectories."""
        return TrajectoryFiles.of(self.storage, self.out, self.manifest)

    @cached_property
    def rejects(self) -> TrajectoryFiles:
        """The files of its rejects."""
        return TrajectoryFiles.of_rejects(self.storage, self.out, self.manifest)

    @property
    def digest(self) -> str:
        """Hex digest of its configuration and its files, wherever it is."""
        files = {name: entry.sha256 for name, entry in self.manifest.files.items()}
        return fingerprint_of({"config": dict(self.manifest.config), "files": files})


@dataclass(frozen=True)
class DerivedRun:
    """What a derived run consists of.

    Attributes:
        sources: the runs that its rows come from.
        config: of the sources, as far as they agree.
        step: what was done, as plain JSON: the command and everything that can change a byte.
        trajectories: where its trajectories are, in the new order.
        rejects: where its rejects are.
        change: changes a table of trajectories, row by row; None changes nothing.
        flags: the flags that were applied, as a file; None without any.
    """

    sources: Sequence[SourceRun]
    config: Mapping[str, Any]
    step: Mapping[str, Any]
    trajectories: Sequence[Place]
    rejects: Sequence[Place]
    change: Callable[[pa.Table], pa.Table] | None = None
    flags: bytes | None = None
    _licenses: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def write(self, out: str, *, overwrite: bool = False) -> dict[str, Any]:
        """Write the run; return its counts. The manifest is written last.

        The same sources and the same step give the same bytes. A folder that has this run already
        is left as it is.

        Raises:
            ConfigError: the folder is that of a source, or inside it.
            DataError: a source is damaged, or the sources were made from different files.
            OutputError: the folder holds something else, or cannot be written.
        """
        refuse_sources(out, [source.out for source in self.sources])
        folder = RunFolder.of(out)
        steps = [*self.config.get("derived", ()), dict(self.step)]
        config = {**self.config, "derived": steps}
        try:
            with folder.locked():
                if folder.begin(config, overwrite=overwrite) is not RunStatus.COMPLETE:
                    self._write(folder, config)
        except OSError as error:
            raise OutputError(
                f"{out} cannot be written: {error}; check --out, permissions and space"
            ) from error
        return {"trajectories": len(self.trajectories), "rejects": len(self.rejects)}

    def _write(self, folder: RunFolder, config: Mapping[str, Any]) -> None:
        layout, storage = folder.layout, folder.storage
        inputs = _joined_inputs(self.sources)
        files: dict[str, FileEntry] = {}

        def write(path: str, data: bytes, *, rows: int = 0) -> None:
            storage.write_bytes(path, data)
            files[posixpath.relpath(path, layout.out)] = FileEntry.of(data, rows=rows)

        for path, table in (*self._shards(layout), *self._reject_shards(layout)):
            write(path, table_to_parquet_bytes(table), rows=table.num_rows)
        counts = {
            "targets": len(self.trajectories) + len(self.rejects),
            "trajectories": len(self.trajectories),
            "rejects": len(self.rejects),
        }
        card = render_data_card(config=config, counts=counts, licenses=self._licenses)
        write(layout.data_card, card.encode())
        if inputs is not None:
            write(layout.inputs, inputs)
        if self.flags is not None:
            write(layout.flags, self.flags)
        origin = self.sources[0].manifest.source
        source = {
            "data_root": origin.get("data_root"),
            **({"follow_links": True} if origin.get("follow_links") else {}),
            "licenses": self._licenses,
        }
        folder.finish(build_manifest(files, config, counts, source=source))

    def _shards(self, layout: OutputLayout) -> Iterator[tuple[str, pa.Table]]:
        runs = [source.trajectories for source in self.sources]
        for number, count, table in self._tables(runs, self.trajectories):
            if self.change is not None:
                table = self.change(table)
            yield layout.trajectory_file(number, count), table

    def _reject_shards(self, layout: OutputLayout) -> Iterator[tuple[str, pa.Table]]:
        runs = [source.rejects for source in self.sources]
        for number, count, table in self._tables(runs, self.rejects):
            yield layout.reject_file(number, count), table

    def _tables(
        self, runs: Sequence[TrajectoryFiles], places: Sequence[Place]
    ) -> Iterator[tuple[int, int, pa.Table]]:
        """Yield number, count and content of each file."""
        readers = [RowReader(files) for files in runs]
        schema = runs[0].schema
        count = max(1, -(-len(places) // ROWS_PER_FILE))
        for number in range(count):
            part = places[number * ROWS_PER_FILE : (number + 1) * ROWS_PER_FILE]
            tables = [readers[run].table(rows) for run, rows in slices_of(part)]
            table = pa.concat_tables(tables) if tables else schema.empty_table()
            table = of_this_version(table, schema)
            names = table.select(["dataset", "license"]).to_pylist()
            self._licenses.update((row["dataset"], row["license"]) for row in names)
            yield number, count, table


def listed(
    files: TrajectoryFiles, columns: Sequence[str], *, run: int = 0
) -> Iterator[tuple[Place, Row]]:
    """Yield the place and some columns of every row of a run's files, in order.

    Raises:
        DataError: a file is not as the manifest lists it.
    """
    for number, first, rows in files.columns(columns):
        for place, row in enumerate(rows, start=first):
            yield (run, number, place), row


def slices_of(places: Iterable[Place]) -> Iterator[tuple[int, RowSlice]]:
    """Yield the number of the run and the slice of consecutive rows, in the order of the places."""
    run = file = first = count = 0
    for place in places:
        if count and place == (run, file, first + count):
            count += 1
            continue
        if count:
            yield run, RowSlice(file, first, count)
        run, file, first = place
        count = 1
    if count:
        yield run, RowSlice(file, first, count)


def refuse_sources(out: str, sources: Iterable[str]) -> None:
    """Check that an output folder is not that of a source, nor inside it.

    Raises:
        ConfigError: it is.
    """
    place = _real(out)
    for source in sources:
        if posixpath.join(place, "").startswith(posixpath.join(_real(source), "")):
            raise ConfigError(
                [
                    f"--out {out}: this is the run {source} or a folder inside it, which is never "
                    "changed; give another folder"
                ]
            )


def _real(path: str) -> str:
    return path.rstrip("/") if "://" in path else os.path.realpath(path).replace(os.sep, "/")


def _joined_inputs(sources: Sequence[SourceRun]) -> bytes | None:
    """Return the record of the files that the sources were made from; None if none has one."""
    joined: dict[str, InputFile] = {}
    has_record = False
    for source in sources:
        name = posixpath.basename(OutputLayout(source.out).inputs)
        if name not in source.manifest.files:
            continue
        has_record = True
        data = read_listed_file(source.storage, source.out, name, source.manifest.files[name])
        for path, entry in inputs_from_bytes(data, name=f"{source.out}/{name}").items():
            if joined.setdefault(path, entry) != entry:
                raise DataError(
                    f"{source.out} was made from another {path} than the runs before it: the data "
                    "set changed in between; make the runs again from the same files"
                )
    return inputs_to_bytes(joined) if has_record else None
