"""Engines and object stores that several modules of tests run jobs on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import annotated_data
from object_store_runs import KINDS, NAMES, RUN, Cli, Store
from prism_runs import Engine, find_program, prism_server


@pytest.fixture(scope="session")
def prism() -> str:
    """The program."""
    return find_program("prism", "prism")


@pytest.fixture
def engine(prism: str) -> Iterator[Engine]:
    """A job server of Prism."""
    with prism_server(prism) as running:
        yield running


@pytest.fixture(scope="session")
def store_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of six small images."""
    root = tmp_path_factory.mktemp("data")
    annotated_data.write_folder(root, names=NAMES)
    return root


@pytest.fixture(scope="session")
def run_on_disk(store_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over it on the disk."""
    out = tmp_path_factory.mktemp("disk") / "out"
    data = ("--dataset", "folder", "--data-root", store_data)
    Cli({}).fine("trajectories", *data, *RUN, "--out", out)
    return out


@pytest.fixture(scope="module", params=KINDS)
def store(
    request: pytest.FixtureRequest,
    store_data: Path,
    run_on_disk: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Store]:
    """A server with the data set at data/set, the run at data/run, and the empty bucket out."""
    yield from _serving(request.param, store_data, run_on_disk, tmp_path_factory)


@pytest.fixture(scope="module")
def s3(
    store_data: Path, run_on_disk: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """The same of S3 alone."""
    yield from _serving("s3", store_data, run_on_disk, tmp_path_factory)


@pytest.fixture(scope="module")
def gcs(
    store_data: Path, run_on_disk: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """The same of Google Cloud Storage alone."""
    yield from _serving("gs", store_data, run_on_disk, tmp_path_factory)


def _serving(kind: str, data: Path, run: Path, folders: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store.of(kind, folders.mktemp(kind))
    if kind == "gs":
        for bucket in ("data", "out"):
            store.make_bucket(bucket)
    with store.running():
        if kind == "s3":
            for bucket in ("data", "out"):
                store.make_bucket(bucket)
        files = store.files()
        files.put(str(data), "data/set", recursive=True)
        files.put(str(run), "data/run", recursive=True)
        yield store
