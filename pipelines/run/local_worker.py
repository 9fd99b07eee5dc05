"""A worker process of the local runner: Beam's own harness, less what it logs on its way up.

What goes wrong in it reaches the job's own process as an exception, so its log would only repeat
it. Once the harness runs, it logs at the level of the pipeline's options.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time

_POLL_S = 0.5


def main(*, job: int) -> None:
    """Run the harness; its addresses come from the environment that Beam sets.

    Args:
        job: process id of the job, with which the worker ends.
    """
    threading.Thread(target=_end_with_the_job, args=(job,), daemon=True).start()
    logging.basicConfig(level=logging.CRITICAL)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


def _end_with_the_job(job: int) -> None:
    """End this process once the job's own one is gone, or it would work on and write."""
    while os.getppid() == job:
        time.sleep(_POLL_S)
    os._exit(1)
