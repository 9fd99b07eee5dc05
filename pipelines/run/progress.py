"""A progress bar that counts finished unit files, so it works with every runner."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tqdm import tqdm

from hlmat.transforms.core.storage import LocalStorage, Storage
from hlmat.transforms.core.visible_text import unfiltered
from hlmat.transforms.dataset_io.layout import UnitLayout

_LOCAL_INTERVAL_S = 0.5
_REMOTE_INTERVAL_S = 15.0
# A log file gets an occasional line, not an animation.
_LOG_INTERVAL_S = 30.0


@contextmanager
def show_progress(
    targets_by_unit: Mapping[str, int], *, layout: UnitLayout, storage: Storage, quiet: bool
) -> Iterator[None]:
    """Show how many targets are in finished units while the body runs.

    Args:
        targets_by_unit: number of targets per unit id.
    """
    if quiet:
        yield
        return
    stop = threading.Event()
    interval_s = _LOCAL_INTERVAL_S if isinstance(storage, LocalStorage) else _REMOTE_INTERVAL_S
    with tqdm(
        total=sum(targets_by_unit.values()),
        unit="target",
        file=unfiltered(sys.stderr),
        smoothing=0.1,
        mininterval=_LOCAL_INTERVAL_S if sys.stderr.isatty() else _LOG_INTERVAL_S,
    ) as bar:

        def update() -> None:
            done = (name.partition(".")[0] for name in storage.list_dir(layout.units))
            bar.update(sum(targets_by_unit.get(unit_id, 0) for unit_id in done) - bar.n)

        def watch() -> None:
            while not stop.wait(interval_s):
                update()

        update()
        bar.initial = bar.n
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()
            update()
