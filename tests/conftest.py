"""Fixtures that several test modules share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from hypothesis import HealthCheck, settings

from hlmat.transforms.core.url_storage import forget_kept
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
    """The folder of real samples next to the checkout; tests that need it are skipped without."""
    path = REPOSITORY.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"the real samples are not here: {path} is missing")
    return path


@pytest.fixture
def bucket() -> Iterator[str]:
    """The URL of an empty folder of a file system in memory, which behaves as a store does."""
    folder = "memory://bucket/folder"
    forget_kept()
    fsspec.filesystem("memory").mkdir("/bucket")
    yield folder
    fsspec.filesystem("memory").rm("/bucket", recursive=True)
    forget_kept()
