"""The entry point of Beam's worker image, as Dataflow starts it, with workers of Prism."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from prism_runs import (
    ENVIRONMENT,
    FEW,
    PATIENT,
    Engine,
    files_in,
    find_program,
    prism_server,
    run,
    worker_pool,
)
from repository import REPOSITORY

pytestmark = [pytest.mark.engine, pytest.mark.slow]

_SCRIPT = REPOSITORY / "deploy" / "prism_worker.sh"


@pytest.fixture(scope="module")
def boot() -> str:
    """Beam's boot program."""
    return find_program("beam-boot", "beam-boot")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a run here."""
    out = tmp_path_factory.mktemp("local") / "out"
    assert run(*FEW, "--out", str(out)) == (0, "")
    return dict(files_in(out))


def test_workers_of_environment_process_start_by_the_boot_program(
    prism: str, boot: str, local: dict[str, bytes], tmp_path: Path
):
    out = tmp_path / "out"
    variables = {"BEAM_BOOT": boot, "TMPDIR": str(tmp_path)}
    with prism_server(prism, {**ENVIRONMENT, **variables}) as engine:
        workers = ("--environment_type=PROCESS", f"--environment_config={command_of(_SCRIPT)}")
        assert run(*FEW, *engine.flags, *workers, *PATIENT, "--out", str(out)) == (0, "")
    assert files_in(out) == local
    assert (tmp_path / f"beam-worker-{os.getuid()}" / "staged").is_dir()


def test_a_pool_of_the_image_starts_workers_by_the_boot_program(
    engine: Engine, boot: str, local: dict[str, bytes], tmp_path: Path
):
    out = tmp_path / "out"
    # As `boot --worker_pool` does in the image, at another port and path.
    with worker_pool(
        f"--container_executable={boot}", RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT="1"
    ) as pool:
        assert run(*FEW, *engine.flags, *pool.flags, *PATIENT, "--out", str(out)) == (0, "")
    assert files_in(out) == local


def test_workers_that_prism_does_not_know_are_explained(prism: str, boot: str, tmp_path: Path):
    out = tmp_path / "out"
    variables = {"RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1"}
    with prism_server(prism, {**ENVIRONMENT, **variables}) as engine:
        workers = ("--environment_type=PROCESS", f"--environment_config={command_of(boot)}")
        flags = (*engine.flags, *workers, "--worker-timeout", "10")
        code, said = run(*FEW, *flags, "--out", str(out))
    assert code == 5
    assert "no worker of PortableRunner began within 10 s; check that the command of " in said
    assert "Prism 2.77 puts the worker's id between apostrophes" in said
    assert said.count("\n") == 1


def command_of(program: str | os.PathLike[str]) -> str:
    return json.dumps({"command": os.fspath(program)})
