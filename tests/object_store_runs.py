"""Commands on object stores: a server of each kind, and what is compared with the disk."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import forked_commands
from benchmarks.object_store_servers import (
    FakeGcs,
    Minio,
    find_server,
    gcs_environment,
    gcs_files,
    s3_environment,
    s3_files,
)
from forked_commands import Call

NAMES = [f"n{k}" for k in range(6)]
RUN = (
    *("--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter"),
    *("--unit-size", "2", "--workers", "1", "--quiet", "--max-clicks", "2"),
)
KINDS = ("s3", "gs")
_PROGRAMS = {"s3": "minio", "gs": "fake-gcs-server"}


class Cli:
    """Calls of `hlmat` as a user makes them, in processes of their own."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = {**os.environ, **env}

    def start(self, *argv: str | Path) -> Call:
        """Start a call whose output is read later."""
        return forked_commands.start(argv, env=self.env)

    def __call__(self, *argv: str | Path) -> Done:
        call = self.start(*argv)
        out, err = call.communicate(timeout=600)
        assert call.returncode is not None
        return Done(call.returncode, out, err)

    def fine(self, *argv: str | Path) -> str:
        """Return the output of a call that succeeds."""
        done = self(*argv)
        assert done.returncode == 0, done.stderr
        return done.stdout


@dataclass(frozen=True)
class Done:
    """How a call ended."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def line(self) -> str:
        """What a failed call said, which must be one line of the command's."""
        assert self.returncode in (3, 4, 5), self.stderr
        assert self.stderr.startswith("hlmat: error: "), self.stderr
        assert self.stderr.count("\n") == 1, self.stderr
        return self.stderr


@dataclass(frozen=True)
class Store:
    """A server and how it is reached.

    Attributes:
        kind: the scheme of its URLs.
        server: it can be started again.
        folder: of the server's data.
    """

    kind: str
    server: Minio | FakeGcs
    folder: Path

    @classmethod
    def of(cls, kind: str, folder: Path) -> Store:
        """Return a server that does not run yet, or skip the test."""
        if find_server(_PROGRAMS[kind]) is None:
            pytest.skip(f"{_PROGRAMS[kind]} is not installed: make object-store-servers (needs Go)")
        return cls(kind, Minio(folder) if kind == "s3" else FakeGcs(folder), folder)

    def running(self) -> AbstractContextManager[subprocess.Popen]:
        return self.server.running()

    def env(self, url: str | None = None) -> dict[str, str]:
        """Return the variables of commands, for the server or what stands before it."""
        make = s3_environment if self.kind == "s3" else gcs_environment
        return {**make(url or self.server.url), "AWS_MAX_ATTEMPTS": "2"}

    def files(self) -> Any:
        """Return fsspec's file system of the server."""
        return (s3_files if self.kind == "s3" else gcs_files)(self.server.url)

    def make_bucket(self, name: str) -> None:
        """Make a bucket; of the emulator's, while it does not run."""
        if self.kind == "s3":
            self.files().mkdir(name)
        else:
            (self.folder / name).mkdir(exist_ok=True)

    def url(self, place: str) -> str:
        return f"{self.kind}://{place}"


def same_data(fs: Any, place: str, on_disk: Path) -> list[str]:
    """Compare the data files of a run with those on the disk; return their names."""
    names = []
    for path in sorted(on_disk.rglob("*.parquet")):
        name = path.relative_to(on_disk).as_posix()
        if name != "inputs.parquet":
            assert fs.cat_file(f"{place}/{name}") == path.read_bytes(), name
            names.append(name)
    return names


def same_files(fs: Any, place: str, on_disk: Path) -> None:
    """Check that a folder of a store holds the files of one on the disk, and no others."""
    names = [p.relative_to(on_disk).as_posix() for p in on_disk.rglob("*") if p.is_file()]
    assert sorted(names) == sorted(name.removeprefix(f"{place}/") for name in fs.find(place))
    for name in names:
        assert fs.cat_file(f"{place}/{name}") == (on_disk / name).read_bytes(), name
