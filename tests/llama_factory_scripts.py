"""Scripts of the tests that run in LLaMA-Factory's own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from repository import REPOSITORY


def printed_by(script: Path, *arguments: str, cache: Path) -> Any:
    """Run a script offline and return what it prints as JSON in its last line.

    Args:
        script: a Python file.
        arguments: the script's.
        cache: folder that takes the place of Hugging Face's cache.
    """
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), *arguments],
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONSAFEPATH": "1",
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(cache / "hf"),
            "DISABLE_VERSION_CHECK": "1",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return json.loads(finished.stdout.splitlines()[-1])
