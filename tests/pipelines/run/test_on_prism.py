"""Runs on Prism, an engine of another code base: the same bytes, and kills in the middle."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from prism_runs import (
    FEW,
    MANY,
    PATIENT,
    Engine,
    assert_lost,
    files_in,
    run,
    start,
    wait_for,
    worker_pool,
)

pytestmark = pytest.mark.engine


@pytest.mark.slow
def test_prism_gives_the_bytes_of_the_local_runner(prism: str, engine: Engine, tmp_path: Path):
    with worker_pool() as pool:
        runners = {
            "local": (),
            "loopback": engine.loopback,
            # A job may take longer than its server to answer.
            "external": (*engine.flags, *pool.flags, *PATIENT, "--job_server_timeout=3"),
            "prism": ("--runner", "PrismRunner", f"--prism_location={prism}"),
        }
        for name, flags in runners.items():
            # Workers have a folder of their own: a relative path is that of the command.
            assert run(*FEW, *flags, "--out", name, cwd=tmp_path) == (0, "")
    local = files_in(tmp_path / "local")
    assert "trajectories/trajectories-00000-of-00001.parquet" in local
    for name in runners:
        assert files_in(tmp_path / name) == local


@pytest.mark.slow
def test_two_pools_do_a_part_each_at_the_same_time(engine: Engine, tmp_path: Path):
    out = tmp_path / "parts"
    with worker_pool() as first, worker_pool() as second:
        parts = [
            start(
                *FEW, *engine.flags, *pool.flags, *PATIENT, "--shard", f"{k}/2", "--out", str(out)
            )
            for k, pool in enumerate((first, second), start=1)
        ]
        said = [part.communicate()[1] for part in parts]
    assert [part.returncode for part in parts] == [0, 0], said
    units = len(list((out / "units").glob("*.arrow")))
    assert units > 2
    assert run(*FEW, "--out", str(out)) == (0, "")
    assert run(*FEW, "--out", str(tmp_path / "whole")) == (0, "")
    assert files_in(out) == files_in(tmp_path / "whole")


@pytest.mark.slow
def test_a_pool_whose_path_lacks_its_environment_ends_the_wait(engine: Engine, tmp_path: Path):
    with worker_pool(path="/nowhere") as pool:
        flags = (*engine.flags, *pool.flags, "--worker-timeout", "3")
        code, said = run(*FEW, *flags, "--out", str(tmp_path / "out"))
    address = pool.flags[1].partition("=")[2]
    assert code == 5
    # Sometimes Prism ends by itself before the time is up.
    assert re.match(
        r"hlmat: error: (no worker of PortableRunner began within 3 s|the connection to "
        r"PortableRunner at localhost:\d+ broke: it was stopped or killed before a worker began); "
        rf"check that the pool at {address} has the bin folder of its environment",
        said,
    ), said
    assert said.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "engine"])
def test_a_kill_is_one_sentence_and_another_runner_finishes(
    victim: str, engine: Engine, tmp_path: Path
):
    out = tmp_path / "killed"
    with worker_pool() as pool:
        process = start(*MANY, *engine.flags, *pool.flags, *PATIENT, "--out", str(out))
        wait_for(lambda: any((out / "units").glob("*.arrow")))
        if victim == "engine":
            engine.process.kill()
        else:
            assert pool.kill_workers() > 0
        _, said = process.communicate(timeout=700)
    assert process.returncode == 5
    assert_lost(said, victim)
    assert f"finished units are kept in {out}/units" in said
    assert not (out / "manifest.json").exists()
    assert run(*MANY, "--out", str(out)) == (0, "")
    assert run(*MANY, "--out", str(tmp_path / "whole")) == (0, "")
    assert files_in(out) == files_in(tmp_path / "whole")
