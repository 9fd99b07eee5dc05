"""The command `hlmat view`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
import webbrowser
from pathlib import Path

import pytest

from hlmat.export.view.page_files import PageFiles
from hlmat.pipelines.cli.main import main
from hlmat.pipelines.viewing.save import save_page
from hlmat.pipelines.viewing.server import PageServer
from hlmat.transforms.core.errors import DataError
from viewed_runs import clicked, damage, page_of, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of generated scenes."""
    out = tmp_path_factory.mktemp("view") / "run"
    scenes = ["--dataset", "shapes", "--shapes-images", "3", "--shapes-size", "64x80"]
    assert main(["trajectories", *scenes, "--out", str(out), "-q"]) == 0
    return out


@pytest.mark.slow
def test_a_saved_page_has_every_file(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["view", str(run), "--save", str(tmp_path / "page"), "--json", "--rendered"]) == 0
    report = json.loads(capsys.readouterr().out)
    written = [path for path in (tmp_path / "page").rglob("*") if path.is_file()]
    assert report["written"] == str(tmp_path / "page" / "index.html")
    assert report["files"] == len(written)
    assert report["images missing"] == 0
    assert len([p for p in written if p.parent.name == "thumbs"]) == 3
    first = (tmp_path / "page" / "rendered" / "0-0-0.jpg").read_bytes()
    assert first[:2] == b"\xff\xd8"


def test_the_same_run_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert main(["view", str(run), "--save", str(tmp_path / name), "-q"]) == 0
    files = {
        name: {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("a", "b")
    }
    assert files["a"] == files["b"]


def test_a_page_without_its_data_set_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {
        "dataset": "folder",
        "split": "all",
        **dict.fromkeys(("expressions", "split_by", "annotations", "mask_values", "columns")),
    }
    out = write_run(tmp_path / "run", [clicked(0, 10)], config=config)
    assert main(["view", str(out), "--save", str(tmp_path / "page"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images missing"] == 1
    problem = (tmp_path / "page" / "data" / "problem-0.js").read_text(encoding="ascii")
    assert "give the image location with --data-root" in problem


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--save", "s3://b/page"], "--save s3://b/page: the page goes to the local disk"),
        (["--rendered"], "--rendered belongs to --save"),
        (["--save", "x", "--port", "8000"], "--port belongs to the server"),
        (["--task", "nxt"], "nxt"),
        (["--port", "70000"], "--port 70000"),
        (["--page-max-side", "3"], "--page-max-side 3"),
    ],
)
def test_mistakes_are_named(
    run: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["view", str(run), *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_run_over_other_targets_is_a_mistake(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_run(tmp_path / "other", [clicked(77, 10)])
    assert main(["view", str(run), "--against", str(other), "--save", str(tmp_path / "page")]) == 2
    assert capsys.readouterr().err == (
        f"hlmat: error: --against {other}: it has none of the targets of {run}; give a run over "
        "the same data set and split\n"
    )
    assert not (tmp_path / "page").exists()


def test_the_same_run_twice_is_a_mistake(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(run), "--against", str(run)]) == 2
    assert "this is the same run" in capsys.readouterr().err


def test_a_training_set_has_a_page_of_its_rows(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sft, saved = str(tmp_path / "sft"), str(tmp_path / "page")
    export = ["export", "--from", str(run), "--format", "llama-factory", "--out", sft, "--json"]
    assert main(export) == 0
    samples = json.loads(capsys.readouterr().out)["samples"]
    assert main(["view", sft, "--save", saved, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == samples
    assert main(["view", sft, "--against", str(run), "--save", saved]) == 2
    assert "is an export, not a run; leave it out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ("fiftyone", "is an export for FiftyOne, whose own app shows it; or give the run"),
        ("coco-results", "has COCO results without images; give the run they were made from"),
    ],
)
def test_exports_without_a_page_are_named(
    format: str, message: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, saved = str(tmp_path / "out"), str(tmp_path / "page")
    assert main(["export", "--from", str(run), "--format", format, "--out", out, "-q"]) == 0
    assert main(["view", out, "--save", saved]) == 3
    assert f"{out} {message}" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()


def test_tables_have_a_page_of_their_rows(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, saved = tmp_path / "hub", tmp_path / "page"
    export = ["export", "--from", str(run), "--format", "hub", "--out", str(out), "--json"]
    assert main(export) == 0
    made = json.loads(capsys.readouterr().out)
    assert main(["view", str(out), "--save", str(saved), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["rows"] == made["rows"]
    (out / "export.json").write_text("[]")
    assert main(["view", str(out), "--save", str(tmp_path / "other")]) == 3
    assert "export.json is not the record of an export" in capsys.readouterr().err


def test_a_damaged_run_is_not_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = damage(write_run(tmp_path / "run", [clicked(0, 10)]), truth_rle="zz!!")
    assert main(["view", str(out), "--save", str(tmp_path / "page"), "-q"]) == 3
    problem = capsys.readouterr().err
    assert "data/targets-0.js cannot be shown: a file of the run was changed or damaged" in problem
    assert not (tmp_path / "page").exists()


def test_a_name_without_a_file_ends_the_saving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = page_of(write_run(tmp_path / "run", [clicked(0, 10)]))
    monkeypatch.setattr(PageFiles, "data_names", lambda self: iter(["data/index-9.js"]))
    with pytest.raises(DataError, match=r"the page has no data/index-9\.js"):
        save_page(page, str(tmp_path / "page"), quiet=True)
    assert not (tmp_path / "page").exists()


def test_nothing_is_overwritten(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    assert main(["view", str(run), "--save", str(tmp_path), "-q"]) == 4
    assert "exists already and is not an empty folder" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_other_folders_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(tmp_path), "--no-browser"]) == 3
    assert "is not the output of a finished run" in capsys.readouterr().err


@pytest.mark.parametrize("has_window", [True, False])
def test_the_browser_is_opened_where_there_is_a_window(
    has_window: bool, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: PageServer) -> None:
        raise KeyboardInterrupt

    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(PageServer, "serve_forever", interrupted)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":0" if has_window else "")
    assert main(["view", str(run), "--json"]) == 0
    address = json.loads(capsys.readouterr().out)["address"]
    assert opened == ([address] if has_window else [])
    assert main(["view", str(run), "--json", "--no-browser"]) == 0
    assert len(opened) == has_window


def _accept_interrupts() -> None:
    """Undo what a shell does to programs in the background: they ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_served_page_ends_with_ctrl_c(run: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hlmat", "view", str(run), "--no-browser", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=_accept_interrupts,
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        address = json.loads("".join(lines))["address"]
        with urllib.request.urlopen(f"{address}data/page.js", timeout=60) as answer:
            assert answer.read().startswith(b'hlmat.receive("page",{"title":"run"')
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (0, "", "")
