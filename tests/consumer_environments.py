"""Programs that read exports and cannot be installed beside this project's own dependencies.

Each has an environment of its own; a variable names its Python. CONTRIBUTING says how to make one.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from repository import REPOSITORY

SCRIPTS = REPOSITORY / "tests" / "consumers"


def read_by(
    consumer: str,
    *arguments: str | Path,
    scratch: Path,
    env: Mapping[str, str] | None = None,
    part: str = "",
) -> Any:
    """Return what `tests/consumers/read_with_<consumer>.py` prints as JSON in its last line.

    The test is skipped unless `HLMAT_<CONSUMER>_PYTHON` names the Python of its environment.

    Args:
        consumer: a name in lower case.
        scratch: a folder for what the consumer keeps.
        env: further variables.
        part: of the consumer, with a script `read_with_<consumer>_<part>.py`.
    """
    variable = f"HLMAT_{consumer.upper()}_PYTHON"
    python = os.environ.get(variable)
    if not python:
        pytest.skip(f"{variable} does not name the Python of an environment with {consumer}")
    scratch.mkdir(exist_ok=True)
    name = f"{consumer}_{part}" if part else consumer
    finished = subprocess.run(
        [python, "-W", "ignore", SCRIPTS / f"read_with_{name}.py", *arguments],
        env={**os.environ, "HOME": str(scratch), "HF_HUB_OFFLINE": "1", **(env or {})},
        cwd=scratch,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return json.loads(finished.stdout.splitlines()[-1])
