"""What a store's server can do to a job: one line, finished units kept, the same bytes later."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.object_store_servers import Proxy
from forked_commands import Call
from hlmat.pipelines.cli.exit_codes import EXIT_DATA, EXIT_OUTPUT
from object_store_runs import KINDS, RUN, Cli, Done, Store, same_data, same_files

pytestmark = [pytest.mark.objectstore, pytest.mark.slow]

IMAGES = 24
MANY = (
    *("trajectories", "--dataset", "shapes", "--shapes-images", str(IMAGES)),
    *("--shapes-size", "64x80", "--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter"),
    *("--unit-size", "1", "--workers", "1", "--quiet"),
)
"""A run of a unit for each image."""
EXPORT = ("--format", "llama-factory", "--unit-size", "1", "--quiet")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The run and its export on the disk."""
    root = tmp_path_factory.mktemp("many")
    cli = Cli({})
    cli.fine(*MANY, "--out", root / "run")
    cli.fine("export", "--from", root / "run", *EXPORT, "--out", root / "export")
    return root / "run", root / "export"


def kill_in_the_middle(call: Call, server: subprocess.Popen, units: Path) -> Done:
    """Kill the server when the first unit is in its folder; return how the command ends."""
    ends = time.monotonic() + 240
    while not (units.is_dir() and any(units.iterdir())):
        assert call.poll() is None, call.communicate()
        assert time.monotonic() < ends
        time.sleep(0.005)
    server.kill()
    server.wait()
    out, err = call.communicate(timeout=400)
    assert call.returncode is not None
    return Done(call.returncode, out, err)


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_server_is_one_line_and_the_run_goes_on_later(
    kind: str, many: tuple[Path, Path], tmp_path: Path
) -> None:
    on_disk, _ = many
    store = Store.of(kind, tmp_path)
    cli = Cli(store.env())
    if kind == "gs":
        store.make_bucket("bucket")
    with store.running() as server:
        if kind == "s3":
            store.make_bucket("bucket")
        call = cli.start(*MANY, "--out", store.url("bucket/out"))
        done = kill_in_the_middle(call, server, tmp_path / "bucket" / "out" / "units")
    assert store.url("bucket/out") in done.line
    assert "run the same command again" in done.line
    with store.running():
        fs = store.files()
        assert fs.exists("bucket/out/run.json")
        assert not fs.exists("bucket/out/manifest.json")
        assert 0 < len(fs.find("bucket/out/units")) < IMAGES
        cli.fine(*MANY, "--out", store.url("bucket/out"))
        assert len(same_data(fs, "bucket/out", on_disk)) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_server_is_one_line_and_the_export_goes_on_later(
    kind: str, many: tuple[Path, Path], tmp_path: Path
) -> None:
    run, export = many
    store = Store.of(kind, tmp_path)
    cli = Cli(store.env())
    command = ("export", "--from", run, *EXPORT, "--out", store.url("bucket/sft"))
    if kind == "gs":
        store.make_bucket("bucket")
    with store.running() as server:
        if kind == "s3":
            store.make_bucket("bucket")
        units = tmp_path / "bucket" / "sft" / ".partial" / "units"
        done = kill_in_the_middle(cli.start(*command), server, units)
    assert store.url("bucket/sft") in done.line
    assert "run the same command again" in done.line
    with store.running():
        fs = store.files()
        assert not fs.exists("bucket/sft/dataset_info.json")
        assert 0 < len(fs.find("bucket/sft/.partial/units")) < IMAGES
        cli.fine(*command)
        same_files(fs, "bucket/sft", export)


def policy_of(bucket: str, *, may_write: bool) -> str:
    """Return what anybody may do in a bucket, as S3's policies say it."""
    may = ["s3:GetObject", *(["s3:PutObject", "s3:DeleteObject"] if may_write else [])]
    everybody = {"Effect": "Allow", "Principal": {"AWS": ["*"]}}
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {**everybody, "Action": may, "Resource": [f"arn:aws:s3:::{bucket}/*"]},
                {
                    **everybody,
                    "Action": ["s3:ListBucket", "s3:GetBucketLocation"],
                    "Resource": [f"arn:aws:s3:::{bucket}"],
                },
            ],
        }
    )


def test_a_bucket_that_becomes_read_only_is_one_line_and_the_run_goes_on_with_rights(
    s3: Store, run_on_disk: Path
) -> None:
    fs = s3.files()
    fs.mkdir("shared")
    for bucket, may_write in (("data", False), ("shared", True)):
        policy = policy_of(bucket, may_write=may_write)
        fs.call_s3("put_bucket_policy", Bucket=bucket, Policy=policy)
    data = ("--dataset", "folder", "--data-root", "s3://data/set")
    command = ("trajectories", *data, *RUN, "--out", "s3://shared/out")
    done: list[str] = []
    with Proxy(port=s3.server.port) as proxy:

        def lock_after_a_unit(method: str, path: str) -> None:
            if method == "PUT" and "/units/" in path:
                done.append(path)
                if len(done) == 2:
                    policy = policy_of("shared", may_write=False)
                    fs.call_s3("put_bucket_policy", Bucket="shared", Policy=policy)

        proxy.refuse = lock_after_a_unit
        anybody = {
            "AWS_ENDPOINT_URL": proxy.url,
            "FSSPEC_S3_ANON": "true",
            "AWS_ACCESS_KEY_ID": "",
            "AWS_SECRET_ACCESS_KEY": "",
        }
        ended = Cli(anybody)(*command)
    said = ended.line
    assert ended.returncode == EXIT_OUTPUT
    assert said.startswith("hlmat: error: s3://shared/out cannot be written: s3://shared/out/units")
    assert "access denied: Access Denied." in said
    assert "fix the permissions and run the same command again" in said
    assert len(fs.find("shared/out/units")) == 1
    again = Cli({**anybody, "AWS_ENDPOINT_URL": s3.server.url})(*command)
    assert again.returncode == EXIT_OUTPUT
    assert "access denied" in again.line
    Cli(s3.env()).fine(*command)
    assert len(same_data(fs, "shared/out", run_on_disk)) == 2


Refusal = Callable[[str, str], int | None]


def every_write(method: str, path: str) -> int | None:
    return 403 if method in ("PUT", "POST") else None


def everything(method: str, path: str) -> int | None:
    return 401


def test_a_refused_write_is_one_line_on_google_cloud_storage(gcs: Store, store_data: Path) -> None:
    with Proxy(port=gcs.server.port) as proxy:
        proxy.refuse = every_write
        done = Cli(gcs.env(proxy.url))(
            *("trajectories", "--dataset", "folder", "--data-root", store_data),
            *(*RUN, "--out", "gs://out/denied"),
        )
    assert done.returncode == EXIT_OUTPUT
    said = done.line
    assert said.startswith("hlmat: error: gs://out/denied cannot be written: gs://out/denied/run.")
    assert "check --out, permissions" in said


def test_a_refused_key_is_one_line_on_google_cloud_storage(gcs: Store, tmp_path: Path) -> None:
    with Proxy(port=gcs.server.port) as proxy:
        proxy.refuse = everything
        done = Cli(gcs.env(proxy.url))(
            *("trajectories", "--dataset", "folder", "--data-root", "gs://data/set"),
            *(*RUN, "--out", tmp_path / "out"),
        )
    assert done.returncode == EXIT_DATA
    said = done.line
    assert said.startswith("hlmat: error: folder in gs://data/set cannot be read: gs://data/set/")
    assert "check --data-root and its permissions" in said


def test_a_key_file_that_is_not_there_is_one_line(gcs: Store, tmp_path: Path) -> None:
    env = {"GOOGLE_APPLICATION_CREDENTIALS": "/no/such/key.json"}
    env |= {"FSSPEC_GS_TOKEN": "google_default", "FSSPEC_GCS_TOKEN": "google_default"}
    done = Cli({**gcs.env(), **env})(
        *("trajectories", "--dataset", "folder", "--data-root", "gs://data/set"),
        *(*RUN, "--out", tmp_path / "out"),
    )
    assert done.returncode == EXIT_DATA
    assert "/no/such/key.json" in done.line


def test_a_missing_bucket_is_one_line_on_google_cloud_storage(
    gcs: Store, store_data: Path, tmp_path: Path
) -> None:
    cli = Cli(gcs.env())
    wrote = cli(
        *("trajectories", "--dataset", "folder", "--data-root", store_data),
        *(*RUN, "--out", "gs://missing/run"),
    )
    said = wrote.line
    assert wrote.returncode == EXIT_OUTPUT
    assert said.startswith("hlmat: error: gs://missing/run cannot be written: gs://missing/run/run")
    read = cli(
        *("trajectories", "--dataset", "folder", "--data-root", "gs://missing/set"),
        *(*RUN, "--out", tmp_path / "out"),
    )
    assert read.returncode == EXIT_DATA
    assert read.stderr.startswith(
        "hlmat: error: gs://missing/set is not a folder data set: images/ and masks/ missing"
    )


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
def test_what_s3_refuses_is_one_line(
    s3: Store,
    store_data: Path,
    tmp_path: Path,
    env: dict[str, str],
    root: str,
    out: str,
    code: int,
    message: str,
) -> None:
    cli = Cli({**s3.env(), **env})
    done = cli(
        *("trajectories", "--dataset", "folder", "--data-root", root.format(data=store_data)),
        *(*RUN, "--out", out.format(tmp=tmp_path / "out")),
    )
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(message)


def test_slow_answers_and_server_errors_in_between_do_not_matter(
    store: Store, run_on_disk: Path
) -> None:
    with Proxy(port=store.server.port) as proxy:
        seen: set[tuple[str, str]] = set()

        def every_first_time(method: str, path: str) -> int | None:
            is_new = (method, path) not in seen
            seen.add((method, path))
            return 503 if is_new else None

        proxy.delay_s = 0.03
        proxy.refuse = every_first_time
        Cli({**store.env(proxy.url), "AWS_MAX_ATTEMPTS": "5"}).fine(
            *("trajectories", "--dataset", "folder", "--data-root", store.url("data/set")),
            *(*RUN, "--out", store.url("out/slow")),
        )
    same_data(store.files(), "out/slow", run_on_disk)


def test_a_report_that_cannot_be_written_is_one_line_and_the_evaluation_goes_on(
    s3: Store, store_data: Path
) -> None:
    command = (
        *("evaluate", "--dataset", "folder", "--data-root", store_data, "--policy", "centre"),
        *(*RUN, "--out", "s3://out/cut"),
    )
    with Proxy(port=s3.server.port) as proxy:
        proxy.refuse = lambda method, path: (
            503 if method == "PUT" and path.endswith("metrics.json") else None
        )
        done = Cli(s3.env(proxy.url))(*command)
    assert done.returncode == EXIT_OUTPUT
    said = done.line
    assert said.startswith("hlmat: error: s3://out/cut cannot be written: s3://out/cut/metrics.")
    assert "run the same command again" in said
    Cli(s3.env()).fine(*command)
    assert s3.files().exists("out/cut/report.md")


def test_statistics_of_a_run_that_cannot_be_read_are_one_line(s3: Store) -> None:
    with Proxy(port=s3.server.port) as proxy:
        proxy.refuse = lambda method, path: 503
        done = Cli(s3.env(proxy.url))("stats", "s3://data/run")
    assert done.returncode == EXIT_DATA
    assert done.line.startswith("hlmat: error: s3://data/run/manifest.json cannot be read: ")
