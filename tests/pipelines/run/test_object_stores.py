"""Jobs from and to object stores, on real servers: the disk's bytes, with few requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.object_store_servers import Proxy
from object_store_runs import NAMES, RUN, Cli, Store, same_data, same_files

pytestmark = [pytest.mark.objectstore, pytest.mark.slow]

EXPORT = ("--format", "llama-factory", "--unit-size", "2", "--quiet")


def data_of(root: str | Path) -> tuple[str, str, str, str]:
    return "--dataset", "folder", "--data-root", str(root)


def test_a_run_and_its_statistics_are_those_of_the_disk(store: Store, run_on_disk: Path) -> None:
    cli, out = Cli(store.env()), store.url("out/run")
    cli.fine("trajectories", *data_of(store.url("data/set")), *RUN, "--out", out)
    fs = store.files()
    assert len(same_data(fs, "out/run", run_on_disk)) == 2
    left = {name.removeprefix("out/run/").partition("/")[0] for name in fs.find("out/run")}
    assert left == {
        "DATA_CARD.md",
        "inputs.parquet",
        "manifest.json",
        "rejects",
        "trajectories",
    }
    there = cli.fine("stats", out, "--json")
    assert there == cli.fine("stats", run_on_disk, "--json").replace(str(run_on_disk), out)
    assert json.loads(there)["targets"] == len(NAMES)


def test_an_evaluation_is_that_of_the_disk(store: Store, store_data: Path, tmp_path: Path) -> None:
    cli, fs = Cli(store.env()), store.files()
    policy = ("--policy", "centre", *RUN)
    cli.fine("evaluate", *data_of(store_data), *policy, "--out", tmp_path / "out")
    evaluated = store.url("out/evaluation")
    cli.fine("evaluate", *data_of(store.url("data/set")), *policy, "--out", evaluated)
    names = {p.relative_to(tmp_path / "out").as_posix() for p in files_below(tmp_path / "out")}
    assert {f"out/evaluation/{name}" for name in names} == set(fs.find("out/evaluation"))
    assert len(same_data(fs, "out/evaluation", tmp_path / "out")) == 2
    for name in names:
        if name == "predictions.json" or name.endswith(".png"):
            path = tmp_path / "out" / name
            assert fs.cat_file(f"out/evaluation/{name}") == path.read_bytes(), name
    here = figures_in((tmp_path / "out" / "metrics.json").read_bytes())
    assert figures_in(fs.cat_file("out/evaluation/metrics.json")) == here
    assert here["gIoU"]["value"] > 0
    # Statistics of an evaluation, from a machine that only reads.
    cli.fine("stats", evaluated, "--json")


def test_exports_are_those_of_the_disk(store: Store, run_on_disk: Path, tmp_path: Path) -> None:
    cli, fs = Cli(store.env()), store.files()
    data_root = ("--data-root", store.url("data/set"))
    run = store.url("data/run")
    cli.fine("export", "--from", run_on_disk, *EXPORT, "--out", tmp_path / "sft")
    cli.fine("export", "--from", run, *EXPORT, *data_root, "--out", store.url("out/sft"))
    same_files(fs, "out/sft", tmp_path / "sft")
    workers = (*EXPORT, "--workers", "2")
    cli.fine("export", "--from", run, *workers, *data_root, "--out", store.url("out/sft-2"))
    same_files(fs, "out/sft-2", tmp_path / "sft")
    traces = [tmp_path / "a.json", tmp_path / "b.json"]
    for source, trace in zip((run, run_on_disk), traces, strict=True):
        cli.fine("export", "--from", source, "--format", "trace", "--out", trace, "--quiet")
    assert traces[0].read_bytes() == traces[1].read_bytes()


def test_requests_are_few(s3: Store, run_on_disk: Path) -> None:
    with Proxy(port=s3.server.port) as proxy:
        cli = Cli(s3.env(proxy.url))
        cli.fine("trajectories", *data_of("s3://data/set"), *RUN, "--out", "s3://out/counted")
        counts = dict(proxy.counts)
    same_data(s3.files(), "out/counted", run_on_disk)
    # Each image and each mask once; a unit is written and read once. The rest is the plan, the
    # configuration, the record of the inputs (twice: planned and final) and the final files.
    units = len(NAMES) // 2
    assert counts["GET"] <= 2 * len(NAMES) + units + 8
    assert counts["PUT"] <= units + 9
    # Two folders of the data set; the others are folders of the run, whatever its size.
    assert counts["LIST"] <= 40


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def figures_in(metrics: bytes) -> dict[str, Any]:
    """Return the figures of an evaluation without the time that it took."""
    return {name: value for name, value in json.loads(metrics).items() if name != "SPC"}
