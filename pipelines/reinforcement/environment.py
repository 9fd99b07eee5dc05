"""The Python environment with TRL: where it is, and a process in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import IO

from hlmat.pipelines.recipes.recipe import RECIPES
from hlmat.pipelines.training.process import run_logged
from hlmat.transforms.core.errors import ConfigError

VARIABLE = "HLMAT_RL_PYTHON"
"""Names another Python that has TRL."""

_MODULE = "hlmat.pipelines.reinforcement.trl_main"
_FOLDER = ".venv-rl"


def rl_python() -> Path:
    """Return the Python of the environment with TRL.

    Raises:
        ConfigError: there is none.
    """
    if named := os.environ.get(VARIABLE):
        python = Path(named)
        if not python.is_file():
            raise ConfigError(
                [f"{VARIABLE} names {named}, which is not there; name a Python that has TRL"]
            )
        return python
    places = dict.fromkeys((Path.cwd() / _FOLDER, RECIPES.resolve().parent / _FOLDER))
    for place in places:
        # Written last, when everything is installed.
        if (place / ".rl").is_file():
            return place / "bin" / "python"
    raise ConfigError(
        [
            f"the environment {_FOLDER} is missing, in which hlmat rl runs TRL, whose packages do "
            "not go together with those of hlmat train; make it with `make install-rl`"
        ]
    )


def train_with_trl(
    job: Path,
    *,
    python: Path,
    log: Path,
    lock: IO[bytes],
    show: Callable[[bytes], object] | None = None,
) -> None:
    """Train in a process of its own, appending its output to a log.

    An interrupted call leaves no process behind.

    Args:
        job: the file that says what to do.
        python: of the environment with TRL.
        log: the file to append to.
        lock: kept open in the process.
        show: also receives the output as it arrives.

    Raises:
        IncompleteError: the training failed.
        OutputError: the log cannot be written.
    """
    run_logged(
        [str(python), "-W", "ignore", "-m", _MODULE, str(job)],
        program="TRL",
        log=log,
        lock=lock,
        show=show,
        variables={"TRL_EXPERIMENTAL_SILENCE": "1"},
    )


def installed_trl(python: Path) -> str:
    """Return TRL's version in an environment.

    Raises:
        ConfigError: it cannot be imported there.
    """
    code = "from importlib.metadata import version; print(version('trl'))"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConfigError(
            [f"{python} has no TRL ({done.stderr.strip()[-200:]}); run `make install-rl`"]
        )
    return done.stdout.strip()
