"""The job `hlmat view`: the page of a run or an export, saved or served."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from collections.abc import Callable
from typing import Any

from hlmat.export.runs.flags import flags_path
from hlmat.export.view.details import TrainingView
from hlmat.export.view.export_files import ExportFiles
from hlmat.export.view.index import row_numbers
from hlmat.export.view.page_files import PageFiles, ViewedRun
from hlmat.export.view.page_flags import PageFlags
from hlmat.export.view.static_files import ViewedPage
from hlmat.pipelines.run.finished import open_source, read_run_manifest
from hlmat.pipelines.settings.view_options import ViewOptions, view_options
from hlmat.pipelines.viewing.exports import open_export
from hlmat.pipelines.viewing.images import ReaderImages
from hlmat.pipelines.viewing.save import save_page
from hlmat.pipelines.viewing.server import PageServer
from hlmat.transforms.core.errors import ConfigError, DataError
from hlmat.transforms.core.url_storage import storage_for

_SAVED_TOGETHER = 8


def view_run(
    arguments: argparse.Namespace, *, quiet: bool, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Save a page, or serve it until Ctrl-C; return the result to print.

    Args:
        arguments: of the command.
        quiet: show no progress.
        tell: receives the address of a served page.

    Raises:
        ConfigError: with every problem of the command line.
        DataError: neither a finished run nor an export with images.
        OutputError: the folder cannot be written.
    """
    asked, training = view_options(arguments)
    page, shown = _open_page(asked, training)
    if asked.save is not None:
        counts = save_page(page, asked.save, quiet=quiet)
        return {"written": os.path.join(asked.save, "index.html"), **shown, **counts}
    _serve(page, asked, tell=tell)
    return {}


def serve_for_editing(asked: ViewOptions, flags: str, *, tell: Callable[[str], None]) -> None:
    """Serve the page of a run until Ctrl-C; it stores flags of its targets.

    Args:
        asked: the run, and how its page is served.
        flags: path of the file of flags.
        tell: receives the address.

    Raises:
        DataError: no finished run, or a file that is not one of flags.
    """
    run = open_run(asked.run_folder, data_root=asked.data_root)
    page = PageFiles(run, max_side=asked.max_side, flags=_flags(run, flags), can_save=True)
    # Problems of the file are reported before the page opens.
    page.read("data/flags.js")
    _serve(page, asked, tell=tell)


def _serve(page: ViewedPage, asked: ViewOptions, *, tell: Callable[[str], None]) -> None:
    with PageServer(page, port=asked.port) as server:
        tell(server.address)
        if asked.browser:
            _open_browser(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            # Ctrl-C is the normal way to stop the server.
            return


def _flags(run: ViewedRun, path: str) -> PageFlags:
    return PageFlags(storage_for(path), path, run.targets)


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
    return ViewedRun(_name(out), out, manifest, images)


def _open_other(asked: ViewOptions, run: ViewedRun) -> ViewedRun:
    """Open the run to show beside another. Raises ConfigError if they share no target."""
    other = open_run(str(asked.against), data_root=asked.data_root)
    if row_numbers(run.targets).keys().isdisjoint(row_numbers(other.targets)):
        raise ConfigError(
            [
                f"--against {other.out}: it has none of the targets of {run.out}; give a run over "
                "the same data set and split"
            ]
        )
    return other


def _open_page(asked: ViewOptions, training: TrainingView) -> tuple[ViewedPage, dict[str, int]]:
    """Return the page of a run or an export, and counts of what it shows."""
    out = asked.run_folder
    rows = open_export(out)
    if rows is not None:
        if asked.against is not None:
            problem = f"--against {asked.against}: {out} is an export, not a run; leave it out"
            raise ConfigError([problem])
        return ExportFiles(_name(out), out, rows, asked.max_side), {"rows": rows.count}
    run = open_run(out, data_root=asked.data_root)
    page = PageFiles(
        run,
        against=None if asked.against is None else _open_other(asked, run),
        training=training,
        targets_per_file=1 if asked.save is None else _SAVED_TOGETHER,
        max_side=asked.max_side,
        with_rendered=asked.save is None or asked.rendered,
        flags=_flags(run, flags_path(out)),
        can_save=asked.save is None,
    )
    return page, {"targets": page.run.targets.count, "rejects": page.run.rejects.count}


def _name(out: str) -> str:
    return os.path.basename(out.rstrip("/")) or out


def _open_browser(address: str) -> None:
    """Open a page in a graphical browser; a text browser would take over the terminal."""
    has_window = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if has_window:
        webbrowser.open(address)
