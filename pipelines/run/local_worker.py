"""A worker process of the local runner: Beam's own harness, less what it logs on its way up.

What goes wrong in it reaches the job's own process as an exception, so its log would only repeat
it. Once the harness runs, it logs at the level of the pipeline's options.
"""

from __future__ import annotations

import logging
import sys


def main() -> None:
    """Run the harness; its addresses come from the environment that Beam sets."""
    logging.basicConfig(level=logging.CRITICAL)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
