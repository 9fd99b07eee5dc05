"""The pages that `hlmat edit` and `hlmat view` serve, and where they store flags."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hlmat.export.runs.flags import Flag, FlagKind, read_flags
from hlmat.export.view.page_files import PageFiles
from hlmat.pipelines.cli.exit_codes import EXIT_DATA, EXIT_OK
from hlmat.pipelines.cli.main import main
from hlmat.pipelines.viewing.server import PageServer
from viewed_runs import clicked, write_run

ASKED = json.dumps({"n": 0, "drop": True, "note": "", "fixes": {}}).encode()
CONFIG = {"stop_at_score": None, "split_by": None, "annotations": None, "shapes": None}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", [clicked(0, 10)], config=CONFIG)


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[PageFiles]:
    """The pages that were served; each server ends at once, as by Ctrl-C."""
    served: list[PageFiles] = []

    def serve(self: PageServer, poll_interval: float = 0.5) -> None:
        assert isinstance(self.page, PageFiles)
        served.append(self.page)
        raise KeyboardInterrupt

    monkeypatch.setattr(PageServer, "serve_forever", serve)
    return served


@pytest.mark.parametrize("command", ["edit", "view"])
def test_a_served_page_stores_flags_beside_the_run(
    command: str,
    run: Path,
    tmp_path: Path,
    pages: list[PageFiles],
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    root = ["--data-root", str(tmp_path)]
    assert main([command, str(run), "--no-browser", *root]) == EXIT_OK
    assert "http://127.0.0.1:" in capsys.readouterr().out
    (page,) = pages
    page.save_flags(ASKED)
    stored = read_flags((tmp_path / "run-flags.csv").read_bytes(), name="f")
    assert stored == [Flag("d", "s", "t0", FlagKind.DROP)]
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_another_file_can_be_named(run: Path, tmp_path: Path, pages: list[PageFiles]) -> None:
    flags = str(tmp_path / "mine.csv")
    root = ["--data-root", str(tmp_path)]
    assert main(["edit", str(run), "--no-browser", "--flags", flags, "--json", *root]) == EXIT_OK
    pages[0].save_flags(ASKED)
    assert Path(flags).is_file()
    assert not (tmp_path / "run-flags.csv").exists()


def test_a_file_that_is_not_one_of_flags_is_told_before_the_page_opens(
    run: Path, tmp_path: Path, pages: list[PageFiles], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run-flags.csv").write_text("a,b\n")
    assert main(["edit", str(run), "--no-browser", "--data-root", str(tmp_path)]) == EXIT_DATA
    assert "run-flags.csv: column(s) target_id, flag missing" in capsys.readouterr().err
    assert pages == []


def test_a_saved_page_shows_flags_and_cannot_store_them(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run-flags.csv").write_text("target_id,flag\nt0,drop\n")
    page = tmp_path / "page"
    root = ["--data-root", str(tmp_path)]
    assert main(["view", str(run), "--save", str(page), "-q", *root]) == EXIT_OK
    flags = (page / "data" / "flags.js").read_text()
    assert flags == 'hlmat.receive("flags",{"0":{"drop":true,"note":"","fixes":{}}});\n'
    assert '"canSave":false' in (page / "data" / "page.js").read_text()
