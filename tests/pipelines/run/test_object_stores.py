"""Runs from and to object stores, on real servers: the disk's bytes, and failures as one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

import annotated_data
from benchmarks.object_store_servers import (
    Minio,
    Proxy,
    find_server,
    free_port,
    running,
    s3_environment,
    s3_files,
)
from hlmat.pipelines.cli.exit_codes import EXIT_DATA, EXIT_OUTPUT

pytestmark = [pytest.mark.objectstore, pytest.mark.slow]

NAMES = [f"n{k}" for k in range(6)]
RUN = (
    *("--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter"),
    *("--unit-size", "2", "--workers", "1", "--quiet", "--max-clicks", "2"),
)


class Cli:
    """Calls of `hlmat` as a user makes them, in processes of their own."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = {**os.environ, **env}

    def __call__(self, *argv: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "hlmat", *map(str, argv)]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=300)

    def fine(self, *argv: str | Path) -> str:
        """Return the output of a call that succeeds."""
        done = self(*argv)
        assert done.returncode == 0, done.stderr
        return done.stdout


def s3_env(url: str) -> dict[str, str]:
    return {**s3_environment(url), "AWS_MAX_ATTEMPTS": "2"}


def server(name: str) -> str:
    """Return the program of a server, or skip the test."""
    found = find_server(name)
    if found is None:
        pytest.skip(f"{name} is not installed: make object-store-servers (needs Go)")
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    annotated_data.write_folder(root, names=NAMES)
    return root


@pytest.fixture(scope="module")
def on_disk(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the disk."""
    out = tmp_path_factory.mktemp("disk") / "out"
    Cli({}).fine("trajectories", "--dataset", "folder", "--data-root", data, *RUN, "--out", out)
    return out


@pytest.fixture(scope="module")
def minio(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    """A server with the data set in the bucket `data`, and the empty bucket `out`."""
    server("minio")
    store = Minio(tmp_path_factory.mktemp("minio"))
    with store.running():
        fs = s3_files(store.url)
        fs.mkdir("out")
        fs.mkdir("data")
        fs.put(str(data), "data/set", recursive=True)
        yield store


def same_data(fs: fsspec.AbstractFileSystem, place: str, on_disk: Path) -> list[str]:
    """Compare the data files of a run with those on the disk; return their names."""
    names = []
    for path in sorted(on_disk.rglob("*.parquet")):
        name = path.relative_to(on_disk).as_posix()
        if name != "inputs.parquet":
            assert fs.cat_file(f"{place}/{name}") == path.read_bytes(), name
            names.append(name)
    return names


def test_s3_gives_the_bytes_of_the_disk(minio: Minio, on_disk: Path, tmp_path: Path) -> None:
    cli, out = Cli(s3_env(minio.url)), "s3://out/run"
    data = ("--dataset", "folder", "--data-root", "s3://data/set")
    cli.fine("trajectories", *data, *RUN, "--out", out)
    fs = s3_files(minio.url)
    assert len(same_data(fs, "out/run", on_disk)) == 2
    left = {name.removeprefix("out/run/").partition("/")[0] for name in fs.find("out/run")}
    assert left == {
        "DATA_CARD.md",
        "inputs.parquet",
        "manifest.json",
        "rejects",
        "trajectories",
    }
    assert cli.fine("stats", out, "--json") == cli.fine("stats", on_disk, "--json").replace(
        str(on_disk), out
    )
    traces = [tmp_path / "a.json", tmp_path / "b.json"]
    for run, trace in zip((out, on_disk), traces, strict=True):
        cli.fine("export", "--from", run, "--format", "trace", "--out", trace, "--quiet")
    assert traces[0].read_bytes() == traces[1].read_bytes()
    cli.fine("evaluate", *data, *RUN, "--policy", "centre", "--out", "s3://out/evaluation")
    figures = json.loads(fs.cat_file("out/evaluation/metrics.json"))
    assert figures["gIoU"]["value"] > 0


def test_an_export_from_s3_to_s3_is_that_of_the_disk(
    minio: Minio, data: Path, on_disk: Path, tmp_path: Path
) -> None:
    cli, fs = Cli(s3_env(minio.url)), s3_files(minio.url)
    fs.put(str(on_disk), "out/for-export", recursive=True)
    flags = ("--format", "llama-factory", "--unit-size", "2", "--quiet")
    data_root = ("--data-root", "s3://data/set")
    cli.fine("export", "--from", on_disk, *flags, "--out", tmp_path / "sft")
    cli.fine("export", "--from", "s3://out/for-export", *flags, *data_root, "--out", "s3://out/sft")
    names = [p.relative_to(tmp_path / "sft") for p in (tmp_path / "sft").rglob("*") if p.is_file()]
    assert sorted(name.as_posix() for name in names) == sorted(
        name.removeprefix("out/sft/") for name in fs.find("out/sft")
    )
    for name in names:
        assert fs.cat_file(f"out/sft/{name}") == (tmp_path / "sft" / name).read_bytes()


def test_requests_are_few(minio: Minio, on_disk: Path) -> None:
    with Proxy(port=minio.port) as proxy:
        cli = Cli(s3_env(proxy.url))
        cli.fine(
            *("trajectories", "--dataset", "folder", "--data-root", "s3://data/set"),
            *(*RUN, "--out", "s3://out/counted"),
        )
        counts = dict(proxy.counts)
    same_data(s3_files(minio.url), "out/counted", on_disk)
    # Each image and each mask once; a unit is written and read once. The rest is the plan, the
    # configuration, the record of the inputs (twice: planned and final) and the final files.
    units = len(NAMES) // 2
    assert counts["GET"] <= 2 * len(NAMES) + units + 8
    assert counts["PUT"] <= units + 9
    # Two folders of the data set; the others are folders of the run, whatever its size.
    assert counts["LIST"] <= 40


def test_a_server_that_stops_is_one_line_and_the_run_goes_on_later(
    data: Path, on_disk: Path, tmp_path: Path
) -> None:
    server("minio")
    store = Minio(tmp_path / "minio")
    command = (
        *("trajectories", "--dataset", "folder", "--data-root", data),
        *(*RUN, "--out", "s3://bucket/out"),
    )
    with store.running():
        s3_files(store.url).mkdir("bucket")
        with Proxy(port=store.port) as proxy:
            units = []

            def stop_after_a_unit(method: str, path: str) -> int | None:
                if method == "PUT" and "/units/" in path:
                    units.append(path)
                return 503 if len(units) > 1 else None

            proxy.refuse = stop_after_a_unit
            done = Cli(s3_env(proxy.url))(*command)
    assert done.returncode in (EXIT_OUTPUT, 5), done.stderr
    assert "s3://bucket/out" in done.stderr
    assert "same command again" in done.stderr
    assert "Traceback" not in done.stderr
    with store.running():
        fs = s3_files(store.url)
        assert fs.exists("bucket/out/run.json")
        assert not fs.exists("bucket/out/manifest.json")
        assert len(fs.ls("bucket/out/units")) == 1
        Cli(s3_env(store.url)).fine(*command)
        same_data(fs, "bucket/out", on_disk)


@pytest.mark.parametrize(
    ("env", "root", "out", "code", "message"),
    [
        (
            {"AWS_SECRET_ACCESS_KEY": "wrong"},
            *("s3://data/set", "{tmp}", EXIT_DATA),
            "hlmat: error: folder in s3://data/set cannot be read: s3://data/set/images: access "
            "denied: The request signature we calculated does not match",
        ),
        (
            {"AWS_SECRET_ACCESS_KEY": "wrong"},
            *("{data}", "s3://out/denied", EXIT_OUTPUT),
            "hlmat: error: s3://out/denied cannot be written: s3://out/denied/manifest.json: "
            "access denied: ",
        ),
        (
            {},
            *("{data}", "s3://missing/run", EXIT_OUTPUT),
            "hlmat: error: s3://missing/run cannot be written: s3://missing/run/run.json: "
            "FileNotFoundError: The specified bucket does not exist; check --out",
        ),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
            *("s3://data/set", "{tmp}", EXIT_DATA),
            "hlmat: error: folder in s3://data/set cannot be read: s3://data/set/images: "
            "EndpointConnectionError: Could not connect to the endpoint URL",
        ),
        (
            {},
            *("s3://missing/set", "{tmp}", EXIT_DATA),
            "hlmat: error: s3://missing/set is not a folder data set: images/ and masks/ missing",
        ),
    ],
)
def test_what_a_store_refuses_is_one_line(
    minio: Minio,
    data: Path,
    tmp_path: Path,
    env: dict[str, str],
    root: str,
    out: str,
    code: int,
    message: str,
) -> None:
    cli = Cli({**s3_env(minio.url), **env})
    done = cli(
        *("trajectories", "--dataset", "folder", "--data-root", root.format(data=data)),
        *(*RUN, "--out", out.format(tmp=tmp_path / "out")),
    )
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(message)


def test_slow_answers_and_server_errors_in_between_do_not_matter(
    minio: Minio, on_disk: Path
) -> None:
    with Proxy(port=minio.port) as proxy:
        seen: set[tuple[str, str]] = set()

        def every_first_time(method: str, path: str) -> int | None:
            is_new = (method, path) not in seen
            seen.add((method, path))
            return 503 if is_new else None

        proxy.delay_s = 0.03
        proxy.refuse = every_first_time
        Cli({**s3_env(proxy.url), "AWS_MAX_ATTEMPTS": "5"}).fine(
            *("trajectories", "--dataset", "folder", "--data-root", "s3://data/set"),
            *(*RUN, "--out", "s3://out/slow"),
        )
    same_data(s3_files(minio.url), "out/slow", on_disk)


def test_google_cloud_storage_gives_the_bytes_of_the_disk(
    data: Path, on_disk: Path, tmp_path: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    (tmp_path / "bucket").mkdir()
    command = [
        *(server("fake-gcs-server"), "-scheme", "http", "-host", "127.0.0.1"),
        *("-port", str(port), "-public-host", f"127.0.0.1:{port}", "-external-url", url),
        *("-filesystem-root", str(tmp_path)),
    ]
    env = {"STORAGE_EMULATOR_HOST": url, "FSSPEC_GS_TOKEN": "anon", "FSSPEC_GCS_TOKEN": "anon"}
    with running(command, port=port, env={}):
        fs = fsspec.filesystem("gcs", token="anon", endpoint_url=url, use_listings_cache=False)
        fs.put(str(data), "bucket/set", recursive=True)
        Cli(env).fine(
            *("trajectories", "--dataset", "folder", "--data-root", "gs://bucket/set"),
            *(*RUN, "--out", "gs://bucket/run"),
        )
        assert len(same_data(fs, "bucket/run", on_disk)) == 2
