"""Fixtures that several test modules share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import memory_filesystem
from repository import REPOSITORY

# Machines are shared: a test that is slow today is not wrong.
settings.register_profile(
    "patient",
    settings.default,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real samples beside the checkout; tests that need it are skipped without."""
    path = REPOSITORY.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"the real samples are not here: {path} is missing")
    return path


@pytest.fixture
def bucket() -> Iterator[str]:
    """The URL of an empty folder on a Beam file system that is not this machine's disk."""
    memory_filesystem.FILES.clear()
    yield "memory-test://bucket/folder"
    memory_filesystem.FILES.clear()
