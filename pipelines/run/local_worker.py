"""A worker process of the local runner: Beam's harness, silent while it starts.

Errors reach the job's process as exceptions, so logging them here would repeat them. Once running,
the harness logs at the level of the pipeline's options.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import Any

_POLL_S = 0.5


def main(*, job: int) -> None:
    """Run the harness; its addresses come from the environment that Beam sets.

    Args:
        job: process id of the job; the worker ends when the job does.
    """
    threading.Thread(target=_end_with_the_job, args=(job,), daemon=True).start()
    from hlmat.transforms.core.visible_text import VisibleStream

    sys.stdout = VisibleStream(sys.stdout)
    sys.stderr = _WithoutReports(VisibleStream(sys.stderr))
    threading.excepthook = _pass_over_broken_connections
    logging.basicConfig(level=logging.CRITICAL)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    from hlmat.transforms.beam.imports import import_beam_without_connectors

    import_beam_without_connectors()
    from apache_beam.runners.worker import sdk_worker_main

    # First, because the data from the job names Beam's module, which would import torch.
    import hlmat.transforms.beam.run_inference  # noqa: F401

    sdk_worker_main.main(sys.argv)
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is sent: taking the interpreter apart would only take time.
    os._exit(0)


def _pass_over_broken_connections(args: Any) -> None:
    """Print a thread's uncaught error, unless a connection broke: the job reports why."""
    if type(args.exc_value).__module__.partition(".")[0] != "grpc":
        threading.__excepthook__(args)


class _WithoutReports:
    """A stream without the tracebacks of steps, which the harness both prints and sends, and
    without complaints that the job's log is gone."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._dropped = False

    def write(self, text: str) -> int:
        end_of_dropped = self._dropped and text == "\n"
        self._dropped = "apache_beam/runners/worker/sdk_worker.py" in text or text.startswith(
            "Logging client failed: "
        )
        if self._dropped or end_of_dropped:
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _end_with_the_job(job: int) -> None:
    """End this process once the job's process is gone; otherwise it would keep writing."""
    while os.getppid() == job:
        time.sleep(_POLL_S)
    os._exit(1)
