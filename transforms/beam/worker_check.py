"""The first step on another runner: check that the worker can do the job."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata

import apache_beam as beam

from hlmat.transforms.beam.faults import carried_errors
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.storage import Storage

_CHECKED = ("apache-beam", "hlmat")


def installed_versions() -> dict[str, str]:
    """Return the versions that the launching process and the workers must share.

    Steps are sent as pickles, which another minor version of Python cannot read.
    """
    versions = {"Python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in _CHECKED:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "none"
    return versions


@dataclass(frozen=True)
class WorkerNote:
    """The note in which a worker records that it has started.

    Attributes:
        path: of the note.
        storage: gives the worker access to it.
        expected: versions of the launching process.
    """

    path: str
    storage: Storage
    expected: Mapping[str, str]


class CheckWorker(beam.DoFn):
    """Pass elements on after comparing versions and writing the note.

    Raises:
        StepError: carries a ConfigError that names every difference.
    """

    def __init__(self, note: WorkerNote) -> None:
        self._note = note
        self._checked = False

    def process(self, element: str) -> Iterator[str]:
        if not self._checked:
            with carried_errors():
                self._check()
            self._checked = True
        yield element

    def _check(self) -> None:
        here, there = installed_versions(), self._note.expected
        differing = [
            f"{name} {here.get(name)} instead of {version}"
            for name, version in there.items()
            if here.get(name) != version
        ]
        if differing:
            raise ConfigError(
                [
                    f"a worker on {platform.node()} has {', '.join(differing)}; install there what "
                    "the machine that starts the job has"
                ]
            )
        self._note.storage.write_bytes(self._note.path, json.dumps(here, sort_keys=True).encode())
