"""Segmenters behind a server in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hlmat.pipelines.serving.serve import OpenServer, open_server
from hlmat.pipelines.settings.serving_options import ServingOptions
from hlmat.transforms.segmenters.options import SegmenterOptions
from hlmat.transforms.segmenters.remote.wire import TOKEN_VARIABLE
from repository import REPOSITORY

TOKEN = "a-token-for-the-tests"
DISC = "hlmat.transforms.segmenters.disc:DiscSegmenter"


def own(name: str, **arguments: object) -> SegmenterOptions:
    """A class of a test module as a user's segmenter."""
    return SegmenterOptions(name, arguments=arguments, search_path=(str(REPOSITORY / "tests"),))


@contextmanager
def serving(
    segmenter: SegmenterOptions, monkeypatch: pytest.MonkeyPatch, **settings: object
) -> Iterator[OpenServer]:
    """Serve a segmenter within the block; clients in this process have its token."""
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    served = ServingOptions(**{"port": 0, **settings})  # type: ignore[arg-type]
    with open_server(segmenter, served, token=TOKEN) as opened:
        thread = threading.Thread(target=opened.run)
        thread.start()
        try:
            yield opened
        finally:
            opened.stop()
            thread.join()
