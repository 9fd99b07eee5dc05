"""The job `hlmat view`: the page of a run, saved or served."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from collections.abc import Callable
from typing import Any

from hlmat.export.view.page_files import PageFiles, ViewedRun
from hlmat.pipelines.run.finished import open_source, read_run_manifest
from hlmat.pipelines.settings.view_options import ViewOptions, view_options
from hlmat.pipelines.viewing.images import ReaderImages
from hlmat.pipelines.viewing.save import save_page
from hlmat.pipelines.viewing.server import PageServer
from hlmat.transforms.core.errors import ConfigError, DataError

_SAVED_TOGETHER = 8


def view_run(
    arguments: argparse.Namespace, *, quiet: bool, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Save a run's page, or serve it until Ctrl-C; return what is printed.

    Args:
        arguments: of the command.
        quiet: show no progress.
        tell: is given the address of a served page.

    Raises:
        ConfigError: with every problem of the command line.
        DataError: no finished run.
        OutputError: the folder cannot be written.
    """
    asked, training = view_options(arguments)
    page = PageFiles(
        open_run(asked.run_folder, data_root=asked.data_root),
        against=None if asked.against is None else _open_other(asked),
        training=training,
        targets_per_file=1 if asked.save is None else _SAVED_TOGETHER,
        max_side=asked.max_side,
        with_rendered=asked.save is None or asked.rendered,
    )
    if asked.save is not None:
        return {"written": os.path.join(asked.save, "index.html"), **_counts(page, asked, quiet)}
    with PageServer(page, port=asked.port) as server:
        tell(server.address)
        if asked.browser:
            _open_browser(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            # The way to end a server, and nothing is left undone.
            return {}
    return {}


def open_run(out: str, *, data_root: str | None) -> ViewedRun:
    """Open a finished run for its page.

    Raises:
        DataError: no finished run.
    """
    manifest = read_run_manifest(out)
    try:
        images = ReaderImages(open_source(manifest, data_root=data_root), manifest, data_root)
    except (ConfigError, DataError) as error:
        # The data set is gone; everything but its images can be shown.
        problem = f"{error}; give the image location with --data-root"
        images = ReaderImages(None, manifest, data_root, problem)
    return ViewedRun(os.path.basename(out.rstrip("/")) or out, out, manifest, images)


def _open_other(asked: ViewOptions) -> ViewedRun:
    return open_run(str(asked.against), data_root=asked.data_root)


def _counts(page: PageFiles, asked: ViewOptions, quiet: bool) -> dict[str, Any]:
    counts = save_page(page, str(asked.save), quiet=quiet)
    return {"targets": page.run.targets.count, "rejects": page.run.rejects.count, **counts}


def _open_browser(address: str) -> None:
    """Open a page in a browser with a window; one in the terminal would take it over."""
    has_window = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if has_window:
        webbrowser.open(address)
