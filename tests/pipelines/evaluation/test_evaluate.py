"""Evaluations by the command line: baselines, a server that comes and goes, wrong input."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from answer_server import Reply, completion, scripted_server
from hlmat.pipelines.cli.main import EXIT_CONFIG, EXIT_DATA, EXIT_INCOMPLETE, EXIT_OK, main
from hlmat.transforms.policies.backends import openai_server as server_answerer
from tiny_models import make_tiny_model

SCENES = [
    "--dataset",
    "shapes",
    "--split",
    "test",
    "--shapes-images",
    "5",
    "--shapes-size",
    "64x64",
]
CLICK = completion("Positive point: (0.500, 0.500)")


def evaluate(out: Path, *flags: str) -> int:
    return main(["evaluate", *SCENES, "--workers", "1", "-q", "--out", str(out), *flags])


def figures_in(out: Path) -> dict[str, Any]:
    return json.loads((out / "metrics.json").read_text())


def by_server(url: str, *flags: str) -> list[str]:
    return ["--policy", "openai", "--server", url, "--retries", "0", "--unit-size", "2", *flags]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_answerer, "_FIRST_WAIT_S", 0.001)


@pytest.mark.slow
def test_baselines_stand_in_their_order(tmp_path: Path) -> None:
    scores = {}
    for name in ("oracle", "random", "centre"):
        assert evaluate(tmp_path / name, "--policy", name, "--max-clicks", "3") == EXIT_OK
        figures = figures_in(tmp_path / name)
        scores[name] = figures["gIoU"]["value"]
        assert figures["gIoU"]["low"] <= scores[name] <= figures["gIoU"]["high"]
        assert figures["invalid_rate"]["value"] == 0
        assert figures["SPC"] > 0
    assert scores["oracle"] > 0.7 > 0.5 > max(scores["random"], scores["centre"])


@pytest.mark.slow
def test_every_expression_is_scored_and_the_choice_is_part_of_the_run(tmp_path: Path) -> None:
    counts = {}
    for choice in ("each", "first", "shuffled"):
        out = tmp_path / choice
        assert evaluate(out, "--policy", "centre", "--expressions", choice) == EXIT_OK
        entries = json.loads((out / "predictions.json").read_text())
        counts[choice] = len(entries)
        assert all(len(entry["caption"]) == 1 for entry in entries)
        manifest = json.loads((out / "manifest.json").read_text())
        assert manifest["config"]["expressions"] == choice
    assert counts["first"] < counts["each"] == counts["shuffled"]


def test_the_cause_of_invalid_answers_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thinking = completion(None, finish_reason="length", reasoning_content="The user")
    with scripted_server(CLICK, thinking) as server:
        flags = by_server(server.url, "--max-clicks", "1", "--max-new-tokens", "9")
        assert evaluate(tmp_path / "out", *flags) == EXIT_OK
    cause = "cut off (finish_reason length) after --max-new-tokens 9 or fewer, during the reasoning"
    figures = figures_in(tmp_path / "out")
    count = figures["measured"] - 1
    assert figures["invalid_answers"] == {cause: count}
    assert (
        f"| invalid: {cause.replace('_', chr(92) + '_')} | {count} | |"
        in (tmp_path / "out/report.md").read_text()
    )
    assert (
        f"hlmat: {count} of {count + 1} rollouts ended at an invalid answer; most frequent cause "
        f"({count}): {cause}"
    ) in capsys.readouterr().err


@pytest.mark.parametrize("action", ["box", "jittered-box"])
def test_a_box_of_the_truth_is_a_start(tmp_path: Path, action: str) -> None:
    flags = ["--policy", "centre", "--initial-action", action, "--max-clicks", "1"]
    assert evaluate(tmp_path / "out", *flags) == EXIT_OK
    figures = figures_in(tmp_path / "out")
    assert figures["IoU@0"]["value"] > 0.4
    assert f"NoC@90 (max 1 clicks, after {action})" in figures["NoC"]


def test_a_rollout_can_begin_with_a_wrong_click_to_recover_from(tmp_path: Path) -> None:
    flags = ["--policy", "oracle", "--initial-action", "wrong-click", "--max-clicks", "4"]
    assert evaluate(tmp_path / "out", *flags) == EXIT_OK
    figures = figures_in(tmp_path / "out")
    assert figures["IoU@0"]["value"] < 0.1
    assert figures["recovery_rate"]["value"] > 0.5
    report = (tmp_path / "out/report.md").read_text()
    assert "| recovery from a first click below IoU 0.5 | " in report


FINDS_LEFT_HALF = """
import numpy as np
from hlmat import Prediction

class Finder:
    def set_image(self, image):
        self.shape = image.shape[:2]

    def predict(self, *, clicks, box=None, feedback=None):
        return Prediction(mask=np.ones(self.shape, dtype=bool))

    def load_texts(self):
        pass

    def predict_texts(self, image, texts):
        masks = [np.zeros(image.shape[:2], dtype=bool) for _ in texts]
        for mask, text in zip(masks, texts):
            assert text
            mask[:, : image.shape[1] // 2] = True
        return [Prediction(mask=mask) for mask in masks]
"""


@pytest.mark.slow
def test_a_mask_found_by_text_is_a_start(tmp_path: Path) -> None:
    (tmp_path / "finds_left_half.py").write_text(FINDS_LEFT_HALF)
    tool = ["--segmenter", "finds_left_half:Finder", "--segmenter-path", str(tmp_path)]
    flags = ["--policy", "centre", "--initial-action", "text", "--max-clicks", "1", *tool]
    assert evaluate(tmp_path / "out", *flags) == EXIT_OK
    rows = pq.read_table(tmp_path / "out" / "trajectories").to_pylist()
    assert rows
    assert all(row["initial_rle"] and row["initial_iou"] < 0.5 for row in rows)
    assert {row["num_clicks"] for row in rows} == {1}
    assert {row["decoder_calls"] for row in rows} == {2}
    figures = figures_in(tmp_path / "out")
    mean = sum(row["initial_iou"] for row in rows) / len(rows)
    assert figures["IoU@0"]["value"] == pytest.approx(mean)
    assert "NoC@90 (max 1 clicks, after text)" in figures["NoC"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["config"]["initial_action"] == "text"


@pytest.mark.parametrize("command", ["evaluate", "trajectories"])
def test_a_segmenter_without_texts_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    policy = ["--policy", "oracle" if command == "trajectories" else "centre"]
    flags = ["--out", str(tmp_path / "out"), "--initial-action", "text", "--workers", "1", "-q"]
    assert main([command, *SCENES, *policy, *flags]) == EXIT_CONFIG
    assert capsys.readouterr().err.splitlines() == [
        "hlmat: error: --initial-action text: the segmenter 'graphcut' takes no text; use "
        "--segmenter hf with a checkpoint of SAM 3, or a class of your own with the method "
        "predict_texts"
    ]
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_served_model_draws_the_box_and_clicks(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with scripted_server() as server:
        server.next_reply = lambda request, key: (
            completion("Box: (0.100, 0.100), (0.800, 0.800)")
            if "Give the box" in str(request["messages"])
            else completion("Finish")
        )
        flags = by_server(server.url, "--initial-action", "policy-box", "--finish")
        assert evaluate(out, *flags) == EXIT_OK
    entries = json.loads((out / "predictions.json").read_text())
    assert all(e["pred_list"][0]["used_box"] == [6, 6, 52, 52] for e in entries)
    assert all(e["stop_reason"] == "finished" and e["last_output"] == "Finish" for e in entries)


def scored_clicks(request: Any, key: Any) -> Any:
    """Answer with a click whose place, and a score that, depend on the image alone."""
    digest = hashlib.sha256(json.dumps(request["messages"]).encode()).digest()
    score, x, y = digest[0] / 255, digest[1] / 256, digest[2] / 256
    return completion(f"Current IOU: {100 * score:.1f}, Positive point: ({x:.3f}, {y:.3f})")


@pytest.mark.slow
def test_scores_of_masks_are_held_against_their_iou(tmp_path: Path) -> None:
    flags = ["--score", "--max-clicks", "2"]
    questions: list[Any] = []
    with scripted_server() as server:
        server.next_reply = lambda request, key: (
            questions.append(key) or scored_clicks(request, key)
        )
        assert evaluate(tmp_path / "all", *by_server(server.url, *flags)) == EXIT_OK
        asked = len(questions)
        stop = [*flags, "--stop-score", "0.01"]
        assert evaluate(tmp_path / "stop", *by_server(server.url, *stop)) == EXIT_OK
    figures = figures_in(tmp_path / "all")
    # Two clicks and a question about the last mask for each target; every mask has its score.
    assert asked == 3 * figures["targets"]
    assert figures["score_calibration"]["masks"] == 2 * figures["targets"]
    assert 20 < figures["score_calibration"]["MAE"]["value"] < 80
    entries = json.loads((tmp_path / "all" / "predictions.json").read_text())
    assert all(entry["last_output"].startswith("Current IOU: ") for entry in entries)
    report = (tmp_path / "all" / "report.md").read_text()
    assert "score MAE, percentage points" in report
    assert "charts/reliability.png" in report
    assert (tmp_path / "all" / "charts" / "reliability.png").read_bytes().startswith(b"\x89PNG")
    stopped = figures_in(tmp_path / "stop")
    assert stopped["stop_reasons"]["reached_score"]["value"] > 0.9 * stopped["targets"]
    assert "NoC@90 (max 2 clicks, stop at score 0.01)" in stopped["NoC"]


@pytest.mark.slow
def test_a_search_goes_on_from_the_mask_that_is_scored_best(tmp_path: Path) -> None:
    flags = ["--score", "--max-clicks", "2", "--temperature", "0"]
    with scripted_server() as server:
        server.next_reply = lambda request, key: scored_clicks(
            {"messages": [request["messages"], request["seed"], request["temperature"]]}, key
        )
        greedy, wide = tmp_path / "greedy", tmp_path / "wide"
        assert evaluate(greedy, *by_server(server.url, *flags)) == EXIT_OK
        search = ["--search", "3", "--beam", "2", "--search-temperature", "0.8"]
        assert evaluate(wide, *by_server(server.url, *flags, *search)) == EXIT_OK
    a, b = (pq.read_table(out / "trajectories").to_pylist() for out in (greedy, wide))
    assert sum(row["last_predicted_iou"] for row in b) > 1.2 * sum(
        row["last_predicted_iou"] for row in a
    )
    assert {(row["model_calls"], row["decoder_calls"]) for row in a} == {(3, 2)}
    # Draws in one state, then in two: 2 + 4; masks scored: 3 + 6; and the first question.
    assert {(row["model_calls"], row["decoder_calls"]) for row in b} == {(16, 9)}
    figures = figures_in(wide)
    assert figures["model_calls_per_target"]["value"] == 16
    assert figures["decoder_calls_per_target"]["value"] == 9
    assert json.loads((wide / "manifest.json").read_text())["config"]["search"] == {
        "candidates": 3,
        "beam": 2,
        "temperature": 0.8,
    }


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--search", "3"], "--search needs a model that scores its masks; add --score"),
        (["--search", "0"], "--search"),
        (["--score", "--beam", "2"], "--beam 2 needs several candidates; add --search K"),
        (
            ["--score", "--search", "2", "--search-temperature", "0"],
            "--search-temperature 0: must be above 0",
        ),
        (["--stop-score", "0.9"], "--stop-score needs a model that scores its masks; add --score"),
        (["--score", "--stop-score", "0"], "--stop-score 0: must be above 0"),
        (["--score", "--stop-score", "1.5"], "--stop-score 1.5: must be above 0 and at most 1"),
        (["--score", "--stop-score", "high"], "--stop-score 'high': expected a number"),
    ],
)
def test_what_scores_decide_must_make_sense(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(tmp_path / "out", *by_server("http://localhost:1", *flags)) == EXIT_CONFIG
    assert message in capsys.readouterr().err


def test_nonsense_is_counted_and_is_no_finish(tmp_path: Path) -> None:
    with scripted_server(completion("I would click on the left.")) as server:
        assert evaluate(tmp_path / "out", *by_server(server.url, "--finish")) == EXIT_OK
    figures = figures_in(tmp_path / "out")
    assert figures["invalid_rate"]["value"] == 1.0
    (count,) = {figures["stop_reasons"]["invalid_action"][k] for k in ("value", "low", "high")}
    assert count == figures["targets"]
    assert figures["gIoU"]["value"] == 0.0
    assert figures["invalid_forms"] == {"I would click on the left.": figures["targets"]}
    entries = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert {e["last_output"] for e in entries} == {"I would click on the left."}
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| invalid answer of the form: I would click on the left. |" in report


def test_a_served_model_is_asked_in_its_dialogue(tmp_path: Path) -> None:
    out = tmp_path / "out"
    point = {"name": "add_point", "arguments": '{"point_2d": [1000, 0], "label": "negative"}'}
    stop = {"name": "stop", "arguments": "{}"}
    with scripted_server() as server:
        server.next_reply = lambda request, key: completion(
            None,
            tool_calls=[{"function": stop if len(server.requests) % 2 else point}],
            finish_reason="tool_calls",
        )
        recording = server.next_reply
        server.next_reply = lambda request, key: (
            recording(request, key),
            server.requests.append(request),
        )[0]
        flags = ("--dialogue", "tools", "--tool-interface", "server", "--finish")
        one = ("--batch-size", "1", "--max-clicks", "1", "--limit", "1", "--expressions", "first")
        assert evaluate(out, *by_server(server.url, *flags, *one)) == EXIT_OK
    first = server.requests[0]
    names = [tool["function"]["name"] for tool in first["tools"]]
    assert names == ["add_point", "stop"]
    settings = json.loads((out / "manifest.json").read_text())["config"]["policy_settings"]
    assert settings["dialogue"] == "tools"
    assert settings["codec"].startswith("zero_to_1000 xy")
    (entry,) = json.loads((out / "predictions.json").read_text())
    step = entry["pred_list"][0]
    assert step["clicks"] == [{"coor": [0, 63], "is_positive": False}]
    assert step["outputs"].startswith('<tool_call>\n{"name": "add_point"')


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--dialogue", "tool"), "--dialogue 'tool' is unknown; did you mean 'tools'?"),
        (("--dialogue", "gone.py:Mine"), "the file cannot be read (No such file or directory)"),
        (("--dialogue", "ibis", "--no-object"), "--no-object: the dialogue ibis has no form for"),
        (("--dialogue", "tools", "--score"), "--score: the dialogue tools has no form for scores"),
        (
            ("--dialogue", "ibis", "--initial-action", "policy-box"),
            "--initial-action policy-box: the dialogue ibis has no form for a box",
        ),
    ],
)
def test_what_a_dialogue_has_no_form_for_is_refused(
    flags: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(tmp_path / "out", *by_server("http://localhost:1", *flags)) == EXIT_CONFIG
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_server_that_goes_away_half_way_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    with scripted_server(CLICK) as server:
        assert evaluate(whole, *by_server(server.url, "--max-clicks", "1")) == EXIT_OK
        answers = len(server.requests)
    with scripted_server(*[CLICK] * (answers // 2), Reply({}, status=500)) as server:
        flags = by_server(server.url, "--max-clicks", "1")
        assert evaluate(broken, *flags) == EXIT_INCOMPLETE
        message = capsys.readouterr().err
        assert "units died" in message
        assert "status 500" in message
        assert "run the same command again" in message
        done = len(list((broken / "units").glob("*.arrow")))
        assert done > 0
        assert not (broken / "metrics.json").exists()
    with scripted_server(CLICK) as server:
        assert evaluate(broken, *by_server(server.url, "--max-clicks", "1")) == EXIT_OK
        assert len(server.requests) < answers
    for name in ("predictions.json", "manifest.json"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()


def test_a_server_that_is_down_is_reported_before_anything_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_server() as server:
        url = server.url
    assert evaluate(tmp_path / "out", *by_server(url)) == EXIT_CONFIG
    assert "start the server or fix --server" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_corrupt_checkpoint_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(make_tiny_model("qwen3_vl", tmp_path / "model"))
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    assert evaluate(tmp_path / "out", "--model", str(model)) == EXIT_CONFIG
    assert "model.safetensors" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_another_model_in_the_same_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for seed in (0, 1):
        make_tiny_model("qwen3_vl", tmp_path / f"model{seed}", seed=seed)
    limits = ["--limit", "1", "--max-new-tokens", "2"]
    assert evaluate(out, "--model", str(tmp_path / "model0"), *limits) == EXIT_OK
    assert "training_data.json" in capsys.readouterr().err
    assert evaluate(out, "--model", str(tmp_path / "model1"), *limits) == 4
    assert "holds a run with another configuration" in capsys.readouterr().err
    shutil.copytree(tmp_path / "model0", tmp_path / "copy")
    # The same weights elsewhere are the same model, and the run is complete.
    assert evaluate(out, "--model", str(tmp_path / "copy"), *limits) == EXIT_OK


def test_an_empty_split_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("images", "masks"):
        (tmp_path / "mine" / name).mkdir(parents=True)
    flags = ["--dataset", "folder", "--data-root", str(tmp_path / "mine")]
    out = str(tmp_path / "out")
    assert main(["evaluate", *flags, "--policy", "centre", "--out", out, "-q"]) == EXIT_DATA
    assert str(tmp_path / "mine") in capsys.readouterr().err
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_all_wrong_flags_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--policy", "centre", "--expressions", "all", "--step", "0", "--initial-action"]
    assert evaluate(tmp_path / "out", *flags, "policy-box", "--batch-size", "x") == EXIT_CONFIG
    assert capsys.readouterr().err.splitlines() == [
        "hlmat: error: --batch-size 'x': expected a whole number of at least 1",
        "hlmat: error: --expressions 'all': choose from each, first, shuffled",
        "hlmat: error: --step '0': expected last, best-scored, or the number of a click from 1 on",
        "hlmat: error: --initial-action policy-box: the policy centre draws no boxes",
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--policy", "mlm"], "did you mean 'mllm'"),
        ([], "--model is missing"),
        (["--policy", "openai"], "--server is missing"),
        (["--policy", "replay"], "--answers is missing"),
        (
            ["--policy", "openai", "--server", "ftp://x"],
            "--server 'ftp://x': expected a web address",
        ),
        (
            ["--policy", "openai", "--server", "http://x", "--sent-as", "gif"],
            "--sent-as 'gif': choose from png, jpeg",
        ),
        (
            ["--policy", "openai", "--server", "http://x", "--score-reading", "expected"],
            "--score-reading expected: a server is not asked for the probabilities of digits",
        ),
        (
            ["--policy", "openai", "--server", "http://x", "--always-click"],
            "--always-click: a server cannot be kept from Finish; use --policy mllm",
        ),
        (["--recipe", "minni"], "did you mean 'mini'"),
        (["--model", "no/such-model"], "no/such-model"),
    ],
)
def test_what_a_policy_lacks_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert evaluate(tmp_path / "out", *flags) == EXIT_CONFIG
    assert message in capsys.readouterr().err


def test_a_missing_record_of_answers_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--policy", "replay", "--answers", str(tmp_path / "none.json")]
    assert evaluate(tmp_path / "out", *flags) == EXIT_DATA
    assert "none.json cannot be read" in capsys.readouterr().err
