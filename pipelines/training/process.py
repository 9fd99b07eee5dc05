"""Run LLaMA-Factory in a subprocess; log its output; report its exit status."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from hlmat.transforms.core.errors import IncompleteError, OutputError

INSTALL_TRAIN = (
    "`make install-train`, or without a checkout `pip install 'hlmat[train,sam]'` and "
    "`pip install --no-deps llamafactory==0.9.5`"
)
"""How to install the packages of a training; the Makefile pins the same version."""

_MODULE = "hlmat.pipelines.training.llamafactory_main"
_SHOWN_LINES = 20
_SECONDS_TO_END = 15.0


def check_settings(settings: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Check settings with the installed LLaMA-Factory.

    Args:
        settings: plain JSON.

    Returns:
        The names of all its settings; what was expected instead of invalid values, by name.

    Raises:
        IncompleteError: it cannot be imported.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", _MODULE, "--check-settings"],
        input=json.dumps(settings, default=str),
        env=_environment(),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise IncompleteError(
            "LLaMA-Factory cannot be imported:\n"
            + _last_lines(done.stderr)
            + f"\nto install versions that go together, run {INSTALL_TRAIN}"
        )
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["known"], answer["problems"]


def run_llama_factory(
    config: Path,
    *,
    log: Path,
    cache: Path,
    lock: IO[bytes],
    show: Callable[[bytes], object] | None = None,
) -> None:
    """Train, appending all output to a log. An interrupted call leaves no process behind.

    Args:
        config: LLaMA-Factory's settings.
        log: the file to append to.
        cache: folder for tokenised data.
        lock: kept open in the subprocess.
        show: also receives the output as it arrives.

    Raises:
        IncompleteError: the training failed.
        OutputError: the log cannot be written.
    """
    run_logged(
        [sys.executable, "-m", _MODULE, str(config)],
        program="LLaMA-Factory",
        log=log,
        lock=lock,
        show=show,
        variables={"HF_DATASETS_CACHE": str(cache)},
    )


def run_logged(
    command: Sequence[str],
    *,
    program: str,
    log: Path,
    lock: IO[bytes],
    show: Callable[[bytes], object] | None = None,
    variables: Mapping[str, str] | None = None,
) -> None:
    """Run a program that trains, appending all output to a log.

    An interrupted call leaves no process behind.

    Args:
        command: the program with its arguments.
        program: its name in messages.
        log: the file to append to.
        lock: kept open in the subprocess.
        show: also receives the output as it arrives.
        variables: further ones of its environment.

    Raises:
        IncompleteError: the training failed.
        OutputError: the log cannot be written.
    """
    try:
        f = open(log, "ab")  # noqa: SIM115
    except OSError as error:
        raise OutputError(f"{log} cannot be written: {error}; choose another --out") from error
    with f:
        start = f.tell()
        process = subprocess.Popen(
            command,
            env={**_environment(), **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(lock.fileno(),),
            start_new_session=True,
        )
        try:
            _tee(process, f, show)
            code = process.wait()
        except OSError as error:
            raise OutputError(
                f"{log} cannot be written: {error}; make room and run the same command again"
            ) from error
        finally:
            _end(process)
    if code != 0:
        with open(log, "rb") as f:
            f.seek(start)
            text = f.read().decode("utf-8", errors="replace")
        how = f"exit code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
        raise IncompleteError(
            f"the training failed: {program} ended with {how}, its last lines being\n"
            f"{_last_lines(text)}\nall of its output is in {log}; once the cause is fixed, the "
            "same command goes on from the newest checkpoint"
        )


def _tee(
    process: subprocess.Popen[bytes], f: IO[bytes], show: Callable[[bytes], object] | None
) -> None:
    assert process.stdout is not None
    while data := os.read(process.stdout.fileno(), 1 << 16):
        f.write(data)
        f.flush()
        if show is not None:
            show(data)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and its children, if they are still running."""
    if process.stdout is not None:
        process.stdout.close()
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_SECONDS_TO_END)
    # Data loader workers may outlive a killed process.
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        # A folder named `datasets` in the working folder must not shadow the package.
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "DISABLE_VERSION_CHECK": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def _last_lines(text: str) -> str:
    # A progress bar redraws one line; show only its last state.
    lines = [line.rpartition("\r")[2].rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    return "\n".join(f"  {line}" for line in [x for x in lines if x][-_SHOWN_LINES:])
