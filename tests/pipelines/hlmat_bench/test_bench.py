"""`hlmat bench` from evaluation to leaderboard: what counts, what is refused, what is found out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hlmat.pipelines.cli.main import EXIT_CONFIG, EXIT_DATA, EXIT_OK, main
from hlmat.pipelines.hlmat_bench import tracks
from hlmat.pipelines.hlmat_bench.target_list import list_digest, read_track
from hlmat.pipelines.hlmat_bench.tracks import TRACKS, Track

SMALL = Track(
    "shapes-small",
    "six small images",
    (
        *("--dataset", "shapes", "--split", "test", "--shapes-images", "6"),
        *("--shapes-size", "64x64", "--expressions", "each", "--max-clicks", "7"),
    ),
    needs_data_root=False,
)
DISCS = "hlmat.transforms.segmenters.disc:DiscSegmenter"


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evaluations of the small track: the oracle, and a control with other expressions."""
    folder = tmp_path_factory.mktemp("bench")
    for name, policy, expressions in (
        ("oracle", "oracle", "each"),
        ("control", "centre", "shuffled"),
        ("centre", "centre", "each"),
    ):
        flags = [*SMALL.flags, "--expressions", expressions, "--policy", policy, "-q"]
        out = str(folder / name)
        assert main(["evaluate", *flags, "--workers", "1", "--out", out]) == EXIT_OK
    return folder


@pytest.fixture
def submissions(evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with the evaluations; the track's digest is recorded."""
    digest = list_digest(read_track(SMALL, data_root=None))
    track = Track(SMALL.name, SMALL.summary, SMALL.flags, digest, needs_data_root=False)
    monkeypatch.setattr(tracks, "TRACKS", {**TRACKS, track.name: track})
    for module in ("baselines", "scoring", "submission", "table", "verification", "job", "tracks"):
        monkeypatch.setattr(
            f"hlmat.pipelines.hlmat_bench.{module}.TRACKS", tracks.TRACKS, raising=False
        )
    return Path(shutil.copytree(evaluated, tmp_path / "bench"))


def submit(folder: Path, file: str = "oracle", **changes: Any) -> str:
    fields = {
        "name": file,
        "track": SMALL.name,
        "predictions": f"{file}/predictions.json",
        **changes,
    }
    path = folder / f"{file}.yaml"
    path.write_text("".join(f"{k}: {json.dumps(v)}\n" for k, v in fields.items()))
    return str(path)


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert main(["bench", *arguments, "--json"]) == EXIT_OK
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    capsys.readouterr()
    assert main(["bench", *arguments]) == code
    return capsys.readouterr().err


def change_entries(path: Path, change: Any) -> None:
    entries = json.loads(path.read_text())
    change(entries)
    path.write_text(json.dumps(entries))


@pytest.mark.slow
def test_figures_are_those_of_the_evaluation(
    submissions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score = bench(capsys, "score", submit(submissions, control="control/predictions.json"))
    theirs = json.loads((submissions / "oracle/metrics.json").read_text())
    figures = score["figures"]
    for name in ("gIoU", "cIoU"):
        assert figures[name]["value"] == pytest.approx(theirs[name]["value"])
        assert figures[name]["low"] == pytest.approx(theirs[name]["low"])
    for k in ("1", "3", "5", "7"):
        expected = theirs["IoU@k"][int(k) - 1]["value"]
        assert figures["gIoU@k"][k]["value"] == pytest.approx(expected)
    assert score["target_list"]["compared_with"] == "the track's recorded digest"
    above = score["control"]["gIoU_above_control"]
    control = json.loads((submissions / "control/metrics.json").read_text())
    assert score["control"]["figures"]["gIoU"]["value"] == pytest.approx(control["gIoU"]["value"])
    # An object has as many expressions in the control as the one whose expressions it got.
    assert 0 < above["targets"] < figures["targets"] == theirs["measured"]
    assert 0.3 < above["value"] < 1


def test_the_ious_of_a_file_do_not_count(
    submissions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = submit(submissions)
    before = bench(capsys, "score", path)["figures"]

    def claim(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            for step in entry["pred_list"]:
                step["iou"] = 1.0

    change_entries(submissions / "oracle/predictions.json", claim)
    assert bench(capsys, "score", path)["figures"] == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entries: entries.pop(), "1 missing, the first"),
        (lambda entries: entries.append({**entries[0], "target_id": "x"}), "1 not in the list"),
        (lambda entries: entries[0].update(caption=["another"]), "1 with another expression"),
        (
            lambda entries: entries[0].update(gt_mask=entries[0]["pred_list"][0]["mask"]),
            "1 with another expression or true mask",
        ),
    ],
)
def test_another_target_list_is_refused(
    submissions: Path, capsys: pytest.CaptureFixture[str], change: Any, message: str
) -> None:
    change_entries(submissions / "oracle/predictions.json", change)
    error = refused(capsys, EXIT_DATA, "score", submit(submissions))
    assert message in error
    assert "hlmat bench show shapes-small" in error


def test_replayed_clicks_give_the_same_masks(
    submissions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = bench(capsys, "verify", submit(submissions), "--sample", "5")
    assert report["replayed"] == 5
    assert report["masks"] == report["equal"] >= 5
    assert (report["lowest_iou"], report["disagreeing"]) == (1.0, [])


def test_a_mask_that_the_clicks_do_not_give_is_found(
    submissions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def flatter(entries: list[dict[str, Any]]) -> None:
        entries[2]["pred_list"][0]["mask"] = entries[2]["gt_mask"]

    change_entries(submissions / "centre/predictions.json", flatter)
    path = submit(submissions, "centre")
    entries = json.loads((submissions / "centre/predictions.json").read_text())
    capsys.readouterr()
    assert main(["bench", "verify", path, "--sample", "1000", "--json"]) == EXIT_DATA
    report = json.loads(capsys.readouterr().out)
    assert report["disagreeing"] == [entries[2]["target_id"]]
    assert report["equal"] == report["masks"] - 1


def test_a_class_is_loaded_only_from_where_the_user_says(
    submissions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = submit(submissions, segmenter=DISCS)
    error = refused(capsys, EXIT_CONFIG, "verify", path)
    assert "--segmenter-path" in error
    assert main(["bench", "verify", path, "--segmenter-path", ".", "--sample", "3"]) == EXIT_DATA
    assert "disagreeing" in capsys.readouterr().out


def test_the_leaderboard_is_sorted_and_escaped(
    submissions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(submissions, "centre", name="<script>alert(1)</script> | x")
    submit(submissions, "oracle")
    page = submissions / "table.html"
    capsys.readouterr()
    assert main(["bench", "table", str(submissions), "--html", str(page)]) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if "| none | graphcut |" in line]
    assert [row.startswith("| oracle") for row in rows] == [True, False]
    assert "script" in rows[1]
    assert "<script>" not in page.read_text()
    assert page.read_text().count("<tr>") == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"track": "shapes-smal"}, "did you mean 'shapes-small'?"),
        ({"predictions": "../other.json"}, "leads out of"),
        ({"predictions": "/etc/passwd"}, "leads out of"),
        ({"start": "box"}, "start 'box': did you mean 'own-box'? choose from none"),
        ({"date": "26-11-2026"}, "expected a day, as 2026-11-27"),
        ({"nam": "x"}, "did you mean 'name'?"),
        ({"seconds_per_click": -1}, "must be at least 0"),
        ({"step": "first"}, "expected last, best-scored"),
    ],
)
def test_a_wrong_submission_is_explained(
    submissions: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    path = submit(submissions, **changes)
    capsys.readouterr()
    assert main(["bench", "score", path]) in (EXIT_CONFIG, EXIT_DATA)
    error = capsys.readouterr().err
    assert message in error
    assert "this is a bug" not in error


def test_a_link_out_of_the_folder_is_refused(
    submissions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = tmp_path / "outside.json"
    shutil.move(submissions / "oracle/predictions.json", outside)
    (submissions / "oracle/predictions.json").symlink_to(outside)
    assert "link out of" in refused(capsys, EXIT_DATA, "score", submit(submissions))


def test_more_clicks_than_allowed_are_refused(
    submissions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def lengthen(entries: list[dict[str, Any]]) -> None:
        entries[0]["pred_list"] = entries[0]["pred_list"][:1] * 8

    change_entries(submissions / "oracle/predictions.json", lengthen)
    error = refused(capsys, EXIT_DATA, "score", submit(submissions))
    assert "has 8 clicks; the rules allow 7" in error


def test_a_control_with_the_own_expressions_is_none(
    submissions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = submit(submissions, control="centre/predictions.json")
    assert "every target's own expression" in refused(capsys, EXIT_DATA, "score", path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scor", "x"], "did you mean 'score'?"),
        (["score"], "takes one FILE, got none"),
        (["list", "x"], "takes no argument, got x"),
        (["show", "refcoco-va"], "did you mean 'refcoco-val'?"),
        (["score", "no.yaml"], "no.yaml cannot be read"),
        (["table", "/no/such/folder"], "has no submission"),
        (["score", "x.yaml", "--html", "a.html"], "--html belongs to hlmat bench table"),
        (["table", "x", "--track", "shapes-thin"], "--track belongs to hlmat bench baselines"),
        (["table", "x", "--workers", "2"], "--workers belongs to hlmat bench baselines"),
        (["baselines", "x", "--track", "shapes-thi"], "did you mean 'shapes-thin'?"),
        (["baselines", "x", "--track", "refcoco-val"], "--data-root is missing"),
        (["baselines", "x", "--data-root", "d"], "add --track"),
        (["baselines", "s3://b/x"], "submissions are local; give a folder"),
    ],
)
def test_wrong_calls(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert message in refused(capsys, EXIT_CONFIG, *arguments)


def test_a_data_set_of_ones_own_stands_in_for_a_digest_that_is_not_recorded(
    submissions: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(tracks.TRACKS, SMALL.name, SMALL)  # type: ignore[arg-type]
    path = submit(submissions)
    assert bench(capsys, "score", path)["target_list"]["compared_with"] is None
    compared = bench(capsys, "score", path, "--data-root", ".")["target_list"]["compared_with"]
    assert compared == "the data set"


def call(name: str, **arguments: Any) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def test_edits_of_a_model_are_scored_replayed_and_repeated(
    submissions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = [
        call("add_point", point_2d=[500, 500], label="positive"),
        call("add_point", point_2d=[10, 10], label="positive"),
        call("undo"),
        call("add_box", bbox_2d=[100, 100, 900, 900]),
        call("undo"),
        call("add_point", point_2d=[300, 300], label="positive"),
        call("stop"),
    ]
    entries = json.loads((submissions / "centre/predictions.json").read_text())
    answers = submissions / "answers.jsonl"
    answers.write_text(
        "".join(json.dumps({"target_id": e["target_id"], "answers": said}) + "\n" for e in entries)
    )
    offered = ["--dialogue", "tools", "--finish", "--undo", "--add-box"]
    for out, source in (("edits", answers), ("again", submissions / "edits/predictions.json")):
        flags = [*SMALL.flags, "--policy", "replay", "--answers", str(source), *offered]
        arguments = ["evaluate", *flags, "--workers", "1", "-q", "--out", str(submissions / out)]
        assert main(arguments) == EXIT_OK
    first, second = ((submissions / n / "predictions.json") for n in ("edits", "again"))
    assert first.read_bytes() == second.read_bytes()
    steps = json.loads(first.read_text())[0]["pred_list"]
    assert [len(step["clicks"]) for step in steps] == [1, 2, 1, 1, 1, 2]
    assert steps[2]["mask"] == steps[0]["mask"] == steps[4]["mask"]
    path = submit(submissions, "edits")
    figures = bench(capsys, "score", path)["figures"]
    assert (figures["clicks"]["value"], figures["segmenter_calls"]["value"]) == (6, 4)
    assert figures["invalid_rate"]["value"] == 0
    report = bench(capsys, "verify", path, "--sample", "5")
    assert (report["masks"], report["equal"], report["disagreeing"]) == (30, 30, [])


def test_an_action_that_cannot_be_replayed_is_named(
    submissions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def move(entries: list[dict[str, Any]]) -> None:
        entries[2]["pred_list"][0]["clicks"][0]["coor"] = [0, 64]

    change_entries(submissions / "centre/predictions.json", move)
    path = submit(submissions, "centre")
    error = refused(capsys, EXIT_DATA, "verify", path, "--sample", "1000")
    assert "action 1 cannot be replayed: Click(x=64, y=0, is_positive=True) is outside" in error


@pytest.mark.parametrize("name", ["shapes-solid", "shapes-thin"])
def test_the_generated_lists_are_the_recorded_ones(name: str) -> None:
    assert list_digest(read_track(TRACKS[name], data_root=None)) == TRACKS[name].sha256


def test_baselines_are_submitted_and_ranked_below_what_sees_the_truth(
    submissions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The centre's run is there already and is taken as it is.
    folder = tmp_path / "all"
    shutil.copytree(submissions / "centre", folder / SMALL.name / "centre")
    arguments = ["baselines", str(folder), "--track", SMALL.name, "--workers", "1"]
    scores = bench(capsys, *arguments)
    assert [s["name"] for s in scores][:2] == [
        "oracle (sees the ground truth)",
        "human (sees the ground truth)",
    ]
    assert {s["name"] for s in scores[2:]} == {"centre", "random"}
    assert {s["target_list"]["compared_with"] for s in scores} == {"the track's recorded digest"}
    assert (folder / SMALL.name / "random.yaml").read_text().splitlines()[1:4] == [
        "name: random",
        "track: shapes-small",
        "predictions: random/predictions.json",
    ]
    # What was added to a submission stays, and a second call measures the same.
    with (folder / SMALL.name / "random.yaml").open("a") as file:
        file.write("hardware: mine\n")
    again = bench(capsys, *arguments)
    assert [s["figures"] for s in again] == [s["figures"] for s in scores]
    assert {s["hardware"] for s in again} == {"", "mine"}
    assert bench(capsys, "table", str(folder)) == again


def test_show_prints_commands_that_parse(capsys: pytest.CaptureFixture[str]) -> None:
    for name in TRACKS:
        shown = bench(capsys, "show", name)
        assert [c.startswith("hlmat evaluate --dataset") for c in shown["commands"]] == [True, True]
        assert f"track: {name}\n" in shown["submission"]
