"""Exports and the rounds of StaR+ on Prism: the bytes of the local runner, and kills."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from answer_server import completion, scripted_server
from prism_runs import (
    FEW,
    PATIENT,
    Engine,
    assert_lost,
    files_in,
    run,
    start,
    wait_for,
    worker_pool,
)

pytestmark = [pytest.mark.engine, pytest.mark.slow]

_LARGE = ("--shapes-images", "24", "--shapes-size", "240x320", "--max-clicks", "3")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few images."""
    out = tmp_path_factory.mktemp("made") / "out"
    assert run(*FEW, "--out", str(out)) == (0, "")
    return out


def export_of(source: Path, *flags: str) -> tuple[str, ...]:
    return (
        *("export", "--from", str(source), "--format", "llama-factory", "--unit-size", "4", "-q"),
        *flags,
    )


def test_an_export_on_prism_has_the_bytes_of_the_local_one(
    prism: str, engine: Engine, made: Path, tmp_path: Path
):
    with worker_pool() as pool:
        runners = {
            "local": (),
            "loopback": engine.loopback,
            "external": (*engine.flags, *pool.flags, *PATIENT),
            "prism": ("--runner", "PrismRunner", f"--prism_location={prism}"),
        }
        source = Path(os.path.relpath(made, tmp_path))
        for name, flags in runners.items():
            export = (*export_of(source), "--out", name)
            assert run(*flags, of=export, cwd=tmp_path) == (0, "")
    local = files_in(tmp_path / "local")
    assert "dataset_info.json" in local
    for name in runners:
        assert files_in(tmp_path / name) == local


@pytest.mark.parametrize("victim", ["worker", "engine"])
def test_a_kill_in_an_export_is_one_sentence_and_another_runner_finishes(
    victim: str, engine: Engine, tmp_path: Path
):
    source, out = tmp_path / "run", tmp_path / "killed"
    assert run(*_LARGE, "--out", str(source)) == (0, "")
    export = export_of(source, "--image-format", "png")
    units = out / ".partial" / "units"
    with worker_pool() as pool:
        process = start(*engine.flags, *pool.flags, *PATIENT, "--out", str(out), of=export)
        wait_for(lambda: any(units.glob("*.txt")))
        if victim == "engine":
            engine.process.kill()
        else:
            assert pool.kill_workers() > 0
        _, said = process.communicate(timeout=700)
    assert process.returncode == 5
    assert_lost(said, victim)
    assert f"finished units are kept in {units}" in said
    assert not (out / "dataset_info.json").exists()
    kept = files_in(units)
    assert run("--out", str(out), of=export) == (0, "")
    assert run("--out", str(tmp_path / "whole"), of=export) == (0, "")
    assert len(kept) > 0
    assert files_in(out) == files_in(tmp_path / "whole")


def test_a_round_of_star_plus_on_prism_has_the_bytes_of_the_local_one(
    engine: Engine, tmp_path: Path
):
    evaluation = (
        *("evaluate", "--dataset", "shapes", "--split", "train", "--shapes-size", "64x80", *FEW),
        *("--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter", "-q"),
        *("--max-clicks", "3", "--unit-size", "4"),
    )
    first = tmp_path / "first"
    assert run("--policy", "oracle", "--out", str(first), of=evaluation)[0] == 0
    results = {}
    with scripted_server(completion("Positive point: (0.500, 0.500)")) as server:
        for name, flags in {"local": (), "prism": engine.loopback}.items():
            rollouts, data = tmp_path / name / "rollouts", tmp_path / name / "data"
            model = ("--policy", "openai", "--server", server.url, "--out", str(rollouts))
            assert run(*model, *flags, of=evaluation)[0] == 0
            export = export_of(first, "--task", "star-plus", "--also", str(rollouts))
            assert run(*flags, "--out", str(data), of=export) == (0, "")
            results[name] = (
                files_in(rollouts / "trajectories"),
                (rollouts / "predictions.json").read_bytes(),
                files_in(data),
            )
    assert results["prism"] == results["local"]
    rows = json.loads((tmp_path / "prism" / "data" / "star_plus.json").read_bytes())
    origins = Counter(row["origin"] for row in rows)
    assert {"kept", "corrected"} <= origins.keys()


def test_star_plus_on_prism_trains_here_and_has_the_bytes_of_the_local_rounds(
    engine: Engine, tmp_path: Path
):
    call = ("star-plus", "--recipe", "mini_smoke", "--first", str(tmp_path / "first"), "-q")
    results = {}
    for name, flags in {"local": (), "prism": (*engine.loopback, *PATIENT)}.items():
        out = tmp_path / name
        code, said = run(*flags, "--out", str(out), of=call)
        assert code == 0, said
        made = out / "round-1"
        results[name] = {
            "rollouts": files_in(made / "rollouts"),
            "data": files_in(made / "sft"),
            "weights": (made / "model" / "model.safetensors").read_bytes(),
            "evaluation": files_in(made / "evaluation" / "trajectories"),
        }
    assert "manifest.json" in results["local"]["rollouts"]
    assert results["prism"] == results["local"]
