"""A worker process of the local runner: Beam's own harness, less what it logs on its way up.

What goes wrong in it reaches the job's own process as an exception, so its log would only repeat
it. ``HLMAT_VERBOSE=1`` in the environment lets it speak.
"""

from __future__ import annotations

import logging
import os
import sys

VERBOSE_VARIABLE = "HLMAT_VERBOSE"


def main() -> None:
    """Run the harness; its addresses come from the environment that Beam sets."""
    if os.environ.get(VERBOSE_VARIABLE) != "1":
        logging.basicConfig(level=logging.CRITICAL)
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
