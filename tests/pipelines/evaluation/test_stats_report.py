"""The report of `hlmat stats`, and its statistics of each part."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from hlmat.pipelines.cli.exit_codes import EXIT_CONFIG, EXIT_DATA, EXIT_OK, EXIT_OUTPUT
from hlmat.pipelines.cli.main import main
from viewed_runs import clicked, write_run

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def run(tmp_path: Path) -> str:
    made = [clicked(n, 10, 15) for n in range(3)]
    ref = replace(made[2].target.ref, split=SCRIPT)
    made[2] = replace(made[2], target=replace(made[2].target, ref=ref))
    return str(write_run(tmp_path / "run", made, config={"stop_at_score": None}))


def test_parts_are_data_sets_and_splits(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", run, "--parts", "--json"]) == EXIT_OK
    parts = json.loads(capsys.readouterr().out)["parts"]
    assert [(p["dataset"], p["split"], p["targets"], p["images"]) for p in parts] == [
        ("d", SCRIPT, 1, 1),
        ("d", "s", 2, 2),
    ]
    assert main(["stats", run, "--json"]) == EXIT_OK
    assert "parts" not in json.loads(capsys.readouterr().out)


def test_the_report_has_charts_of_each_part_and_loads_nothing(run: str, tmp_path: Path) -> None:
    report = tmp_path / "stats.html"
    assert main(["stats", run, "--report", str(report)]) == EXIT_OK
    text = report.read_text()
    assert re.findall("<h2>(.*)</h2>", text) == [
        "d (&lt;script&gt;alert(1)&lt;/script&gt;)",
        "d (s)",
    ]
    assert text.count("<svg") == 12
    assert 'aria-label="Clicks per target: 0: 0, 1: 0, 2: 2"' in text
    assert "IoU by click, mean and quartiles: 0: 0.000 (0.00 to 0.00), 1: 0.500" in text
    assert "<script" not in text
    assert re.findall(r"(?:src|href)=", text) == []
    again = tmp_path / "again.html"
    assert main(["stats", run, "--report", str(again), "--json"]) == EXIT_OK
    assert again.read_bytes() == report.read_bytes()


def test_the_time_that_an_evaluation_measured_is_shown_beside_the_calls(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counted = [clicked(n, 10, 15, model_calls=3, decoder_calls=2) for n in range(2)]
    out = write_run(tmp_path / "evaluated", counted, config={"stop_at_score": None})
    (out / "metrics.json").write_text('{"SPC": 0.1234, "SPC_targets": 20}')
    assert main(["stats", str(out)]) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()[9:12]
    assert [re.split(" {2,}", line) for line in lines] == [
        ["model calls/target", "3.00"],
        ["segmenter calls/target", "2.00"],
        ["seconds/click", "0.1234, as the evaluation measured"],
    ]
    report = tmp_path / "stats.html"
    assert main(["stats", str(out), "--report", str(report), "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out)["SPC"] == 0.1234
    row = r"<td>seconds/click</td>\s*<td>0.1234, as the evaluation measured</td>"
    assert re.search(row, report.read_text())
    # A run that no evaluation timed, or one that was interrupted.
    (out / "metrics.json").write_text('{"SPC": null}')
    for folder in (str(out), run):
        assert main(["stats", folder]) == EXIT_OK
        assert "seconds" not in capsys.readouterr().out


@pytest.mark.parametrize("content", ["{", "[]", '{"SPC": "soon"}'])
def test_figures_that_are_damaged_are_named(
    run: str, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (Path(run) / "metrics.json").write_text(content)
    assert main(["stats", run]) == EXIT_DATA
    message = capsys.readouterr().err
    assert f"{run}/metrics.json does not contain the figures of an evaluation" in message
    assert "run hlmat evaluate again, or remove the file" in message


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--report", "a.png"], "--report 'a.png': the name must end in .html"),
        (["--parts"], "--parts belongs to --json; add it, or write a --report"),
    ],
)
def test_mistakes_are_named(
    run: str, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stats", run, *flags]) == EXIT_CONFIG
    assert message in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_named(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["stats", run, "--report", str(tmp_path / "file" / "a.html")]) == EXIT_OUTPUT
    assert "a.html cannot be written" in capsys.readouterr().err
