"""Exports for TRL, verl and ms-swift and as COCO results, as their consumers read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pycocotools.cocoeval import COCOeval

import builders
import consumer_environments
import tiny_models
from annotated_data import read_coco, write_coco
from hlmat.pipelines.cli.exit_codes import EXIT_DATA, EXIT_OUTPUT
from hlmat.pipelines.cli.main import main
from hlmat.pipelines.exporting import coco_results
from hlmat.transforms.core.records import Rle
from hlmat.transforms.envs.rewards import ClickDepthReward
from hlmat.transforms.envs.state import list_targets
from hlmat.transforms.masks.rle import decode_rle
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from hlmat.transforms.readers.shapes.options import ShapesOptions

DISC = ("--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter", "--workers", "1", "-q")
SIZE = ("--shapes-images", "2", "--shapes-size", "64x80")


def run(*argv: str | Path) -> int:
    return main([str(a) for a in argv])


def export(source: Path, format: str, out: Path, *more: str | Path) -> int:
    return run("export", "--from", source, "--format", format, "--out", out, *more, "-q")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over two generated scenes."""
    out = tmp_path_factory.mktemp("run") / "out"
    clicks = ("--max-clicks", "2", "--no-stop-on-no-gain", "--out", out)
    assert run("trajectories", "--dataset", "shapes", *SIZE, *DISC, *clicks) == 0
    return out


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose trajectories begin with a box."""
    out = tmp_path_factory.mktemp("boxes") / "out"
    first = ("--initial-action", "box", "--max-clicks", "1", "--out", out)
    assert run("trajectories", "--dataset", "shapes", *SIZE, *DISC, *first) == 0
    return out


def targets() -> Any:
    options = ReaderOptions(shapes=ShapesOptions(count=2, height=64, width=80))
    return list_targets(open_reader("shapes", options))[0]


def trajectories(of: Path) -> list[dict[str, Any]]:
    files = sorted((of / "trajectories").iterdir())
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def loaded(out: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    datasets = pytest.importorskip("datasets", reason="the extra train is not installed")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    return datasets.load_dataset(str(out), split="train")


def test_trl_prepares_the_rows_and_the_rewards_score_them(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_utils = pytest.importorskip("trl.data_utils", reason="the extra train is not installed")
    out = tmp_path / "out"
    assert export(shapes, "trl", out, "--image-format", "png") == 0
    rows = list(loaded(out, tmp_path / "cache", monkeypatch))
    assert len(rows) == sum(len(each["steps"]) for each in trajectories(shapes))
    for row in rows:
        assert data_utils.is_conversational({"prompt": row["prompt"]})
        (image,) = row["images"]
        assert image.size == (80, 64)
        data_utils.prepare_multimodal_messages(row["prompt"], num_images=1)
        kinds = [part["type"] for part in row["prompt"][-1]["content"]]
        assert kinds == ["image", "text"]
        assert "<image>" not in row["prompt"][-1]["content"][1]["text"]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    prompts, completions = columns.pop("prompt"), columns.pop("completion")
    depths = ClickDepthReward(targets())(prompts=prompts, completions=completions, **columns)
    # The oracle's own clicks, written with three decimals.
    assert len(depths) == len(rows)
    assert min(depths) > 0.5


def test_verl_s_columns_are_those_of_its_documentation(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert export(shapes, "verl", out) == 0
    rows = list(loaded(out, tmp_path / "cache", monkeypatch))
    reward = ClickDepthReward(targets())
    for row in rows:
        assert list(row) == [
            *("data_source", "prompt", "images", "ability", "reward_model", "extra_info"),
        ]
        assert (row["data_source"], row["ability"]) == ("shapes", "mask_annotation")
        (message,) = row["prompt"]
        assert message["role"] == "user"
        assert message["content"].count("<image>") == len(row["images"]) == 1
        assert row["reward_model"]["style"] == "rule"
        score = reward.compute_score(
            data_source=row["data_source"],
            solution_str=row["extra_info"]["answer"],
            ground_truth=row["reward_model"]["ground_truth"],
            extra_info=row["extra_info"],
        )
        assert score > 0.5
    assert {row["extra_info"]["index"] for row in rows} == {0, 1}


def data_rows(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(next((out / "data").iterdir())).to_pylist()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of the Qwen2.5-VL family, for its processor."""
    pytest.importorskip("transformers", reason="the extra train is not installed")
    folder = tmp_path_factory.mktemp("model")
    tiny_models.make_tiny_model("qwen2_5_vl", folder)
    return folder


@pytest.mark.slow
def test_verl_reads_what_the_rewards_score(shapes: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert export(shapes, "verl", out, "--unit-size", "2") == 0
    files = sorted((out / "data").iterdir())
    assert len(files) > 1
    rows = consumer_environments.read_by("verl", model, *files, scratch=tmp_path / "scratch")
    steps = [(each, step) for each in trajectories(shapes) for step in each["steps"]]
    reward = ClickDepthReward(targets())
    for row, (each, step) in zip(rows, steps, strict=True):
        expression = each["expressions"][0]
        assert row["text"].count("<|image_pad|>") == 1
        assert f"<|vision_end|>\nSegment this object: {expression}." in row["text"]
        # 80 x 64 pixels become whole patches of 28 x 28.
        assert row["images"] == [[84, 56]]
        assert row["image_tokens"] == row["patches"] == 6
        assert row["index"] == each["steps"].index(step)
        assert row["reward_model"]["ground_truth"] == each["target_id"]
        score = reward.compute_score(
            data_source=row["data_source"],
            solution_str=row["extra_info"]["answer"],
            ground_truth=row["reward_model"]["ground_truth"],
            extra_info=row["extra_info"],
        )
        assert score > 0.5


@pytest.mark.slow
def test_ms_swift_trains_on_the_actions(model: Path, tmp_path: Path) -> None:
    run_out = tmp_path / "run"
    ends_early = ("--target-iou", "0.6", "--max-clicks", "2", "--out", run_out)
    assert run("trajectories", "--dataset", "shapes", *SIZE, *DISC, *ends_early) == 0
    flags = {
        "grounding": ("--finish",),
        "written": ("--codec", "thousandths", "--finish"),
        "tools": ("--dialogue", "tools"),
    }
    for name, more in flags.items():
        out = tmp_path / name
        assert export(run_out, "ms-swift", out, "--expressions", "first", *more) == 0
    folders = [tmp_path / name for name in flags]
    grounding, written, tools = consumer_environments.read_by(
        "ms_swift", model, *folders, scratch=tmp_path / "scratch"
    )
    steps = [(each, step) for each in trajectories(run_out) for step in each["steps"]]
    for form, (width, height) in {"none": (84, 56), "norm1000": (1000, 1000)}.items():
        clicks = [row for row in grounding[form] if "point" in row["trained"]]
        for row, (each, step) in zip(clicks, steps, strict=True):
            word = "Positive" if step["is_positive"] else "Negative"
            x, y = round(step["x"] / 80 * width), round(step["y"] / 64 * height)
            assert row["trained"] == f"{word} point: <|box_start|>({x},{y})<|box_end|><|im_end|>\n"
            expression = f"<|object_ref_start|>{each['expressions'][0]}<|object_ref_end|>"
            assert f"Segment this object: {expression}." in row["text"]
            assert row["image_tokens"] == 6
            assert row["grid"] == [[1, 4, 6]]
        ends = [row["trained"] for row in grounding[form] if "point" not in row["trained"]]
        assert set(ends) == {"Finish<|im_end|>\n"}
        assert len(ends) + len(clicks) == len(grounding[form])
    texts = [row["messages"][-1]["content"] for row in data_rows(tmp_path / "written")]
    assert [row["trained"] for row in written["none"]] == [f"{t}<|im_end|>\n" for t in texts]
    for row, call in zip(tools["none"], data_rows(tmp_path / "tools"), strict=True):
        named = json.loads(row["trained"].partition("<tool_call>")[2].partition("</tool_call>")[0])
        assert named == json.loads(call["messages"][-1]["content"])
        assert row["text"].count('"name": "add_point"') == 2


def named_by(row: dict[str, Any]) -> str:
    """Return the target of a row for TRL, verl or ms-swift."""
    return row["reward_model"]["ground_truth"] if "reward_model" in row else row["target_id"]


@pytest.mark.parametrize("format", ["trl", "verl", "ms-swift"])
def test_flagged_targets_are_left_out(
    format: str, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [each["target_id"] for each in trajectories(shapes)]
    flags = tmp_path / "flags.csv"
    dropped = {ids[0], ids[2], ids[5]}  # the first one, and two with neighbours on both sides
    lines = [*(f"{each},drop" for each in sorted(dropped)), f"{ids[3]},note"]
    flags.write_text("\n".join(["target_id,flag", *lines, ""]))
    out = tmp_path / "out"
    assert export(shapes, format, out, "--exclude", flags) == 0
    found = dict.fromkeys(named_by(row) for row in data_rows(out))
    assert list(found) == [each for each in ids if each not in dropped]
    # Another list of flags is another data set.
    flags.write_text(f"target_id,flag\n{ids[1]},drop\n")
    assert export(shapes, format, out, "--exclude", flags) == EXIT_OUTPUT
    assert "excluded: it was" in capsys.readouterr().err


@pytest.mark.parametrize("format", ["trl", "verl", "ms-swift"])
def test_targets_with_a_low_last_iou_can_be_left_out(
    shapes: Path, tmp_path: Path, format: str
) -> None:
    ious = {row["target_id"]: row["final_iou"] for row in trajectories(shapes)}
    least = sorted(ious.values())[len(ious) // 2]
    out = tmp_path / "out"
    assert export(shapes, format, out, "--min-iou", str(least)) == 0
    found = dict.fromkeys(named_by(row) for row in data_rows(out))
    kept = [target for target, iou in ious.items() if iou >= least]
    assert list(found) == kept
    assert 0 < len(kept) < len(ious)


def test_flags_and_the_last_iou_leave_out_together(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = sorted(trajectories(shapes), key=lambda row: row["final_iou"])
    flags = tmp_path / "flags.csv"
    flags.write_text(f"target_id,flag\n{rows[-1]['target_id']},drop\n")
    both = ("--exclude", flags, "--min-iou")
    assert export(shapes, "trl", tmp_path / "out", *both, str(rows[1]["final_iou"])) == 0
    named = {named_by(row) for row in data_rows(tmp_path / "out")}
    assert named == {row["target_id"] for row in rows[1:-1]}
    highest = rows[-1]["final_iou"]
    assert highest < 1
    assert export(shapes, "trl", tmp_path / "none", "--min-iou", "1") == EXIT_DATA
    message = f"--min-iou 1 leaves no target of {shapes}: its highest last IoU is {highest:.3f}"
    assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_ms_swift_gets_the_points_of_its_grounding_format(shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert export(shapes, "ms-swift", out, "--expressions", "first") == 0
    rows = data_rows(out)
    steps = [(each, step) for each in trajectories(shapes) for step in each["steps"]]
    for row, (each, step) in zip(rows, steps, strict=True):
        # As "Custom Dataset, Grounding" of ms-swift's documentation describes it.
        user, assistant = row["messages"]
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        assert user["content"].count("<image>") == len(row["images"]) == 1
        assert user["content"].count("<ref-object>") == len(row["objects"]["ref"]) == 1
        assert row["objects"]["ref"] == each["expressions"][:1]
        word = "Positive" if step["is_positive"] else "Negative"
        assert assistant["content"] == f"{word} point: <bbox>"
        assert row["objects"]["bbox"] == [[step["x"], step["y"]]]
        assert row["objects"]["bbox_type"] == "real"
        assert row["images"][0]["bytes"][:2] == b"\xff\xd8"


def test_ms_swift_s_points_follow_a_reduced_image(shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    flags = ("--expressions", "first", "--max-side", "40", "--finish")
    assert export(shapes, "ms-swift", out, *flags) == 0
    points = [(s["x"], s["y"]) for each in trajectories(shapes) for s in each["steps"]]
    found = [box for row in data_rows(out) for box in row["objects"]["bbox"]]
    for (x, y), (shown_x, shown_y) in zip(points, found, strict=True):
        assert (shown_x, shown_y) == pytest.approx(((x + 0.5) / 2 - 0.5, (y + 0.5) / 2 - 0.5))


def test_ms_swift_gets_texts_where_a_codec_is_named(shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert export(shapes, "ms-swift", out, "--codec", "thousandths") == 0
    rows = data_rows(out)
    assert len(rows) == sum(len(t["steps"]) * len(t["expressions"]) for t in trajectories(shapes))
    assert all("objects" not in row and "<bbox>" not in str(row["messages"]) for row in rows)
    tools = tmp_path / "tools"
    assert export(shapes, "ms-swift", tools, "--dialogue", "tools", "--expressions", "first") == 0
    row = data_rows(tools)[0]
    assert row["messages"][-1]["role"] == "tool_call"
    assert json.loads(row["tools"])


def test_ms_swift_has_no_shuffled_expressions(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(shapes, "ms-swift", tmp_path / "out", "--expressions", "shuffled") == 2
    message = "--expressions shuffled belongs to --format llama-factory; use each or first"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("format", ["trl", "verl"])
def test_states_that_clicks_cannot_reproduce_are_refused(
    format: str, boxes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(boxes, format, tmp_path / "out") == EXIT_DATA
    message = capsys.readouterr().err
    assert "rewards replay clicks from an empty mask" in message
    assert "--initial-action none" in message
    assert not (tmp_path / "out" / "README.md").exists()


def test_pycocotools_measures_the_results_of_any_data_set(shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert export(shapes, "coco-results", out) == 0
    assert sorted(path.name for path in out.iterdir()) == ["instances.json", "results.json"]
    truth = read_coco(out / "instances.json")
    results = truth.loadRes(str(out / "results.json"))
    rows = trajectories(shapes)
    assert len(truth.anns) == len(rows)
    for row, entry, result in zip(rows, truth.anns.values(), results.anns.values(), strict=True):
        size_hw = (row["height"], row["width"])
        assert entry["caption"] == row["expressions"][0]
        assert truth.imgs[entry["image_id"]]["file_name"] == row["image_path"]
        true = decode_rle(Rle(row["truth_rle"], size_hw))
        last = decode_rle(Rle(row["steps"][-1]["mask_rle"], size_hw))
        assert (truth.annToMask(entry).astype(bool) == true).all()
        assert (results.annToMask(result).astype(bool) == last).all()
    measured = COCOeval(truth, results, "segm")
    measured.evaluate()
    ious = np.concatenate([np.diag(each) for each in measured.ious.values()])
    assert len(ious) == len(rows)


def test_results_of_coco_have_its_ids_and_categories(tmp_path: Path) -> None:
    written = write_coco(tmp_path / "data")
    run_out, out = tmp_path / "run", tmp_path / "out"
    data = ("--dataset", "coco", "--data-root", tmp_path / "data", "--max-clicks", "1")
    assert run("trajectories", *data, *DISC, "--max-reject-rate", "1", "--out", run_out) == 0
    assert export(run_out, "coco-results", out) == 0
    # Measured against the data set's own file, whose other annotations are broken.
    results = json.loads((out / "results.json").read_text())
    own = {(each["image_id"], each["category_id"]) for each in written["annotations"]}
    assert {(each["image_id"], each["category_id"]) for each in results} <= own
    truth = read_coco(out / "instances.json")
    assert set(truth.anns) == {11, 12, 31}
    assert "score" not in truth.anns[11]
    assert len(truth.loadRes(results).anns) == 3


def test_flagged_targets_have_no_results(shapes: Path, tmp_path: Path) -> None:
    first, *others = trajectories(shapes)
    flags = tmp_path / "flags.csv"
    flags.write_text(f"target_id,flag\n{first['target_id']},drop\n")
    out = tmp_path / "out"
    assert export(shapes, "coco-results", out, "--exclude", flags) == 0
    truth = read_coco(out / "instances.json")
    assert len(truth.anns) == len(json.loads((out / "results.json").read_text())) == len(others)
    for row, entry in zip(others, truth.anns.values(), strict=True):
        true = decode_rle(Rle(row["truth_rle"], (row["height"], row["width"])))
        assert (truth.annToMask(entry).astype(bool) == true).all()


def test_results_go_into_a_new_folder(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert export(shapes, "coco-results", tmp_path) == EXIT_OUTPUT
    assert f"{tmp_path} exists already and is not an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_results_go_to_the_local_disk(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("export", "--from", shapes, "--format", "coco-results", "--out", "s3://b/c")
    assert run(*command) == 2
    assert "--format coco-results writes to the local disk" in capsys.readouterr().err


def test_a_run_without_masks_has_no_results(
    shapes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finished = [builders.trajectory(builders.target(builders.columns(2, size_hw=(4, 4))))]
    monkeypatch.setattr(coco_results, "read_trajectories", lambda *_, **__: iter(finished))
    assert export(shapes, "coco-results", tmp_path / "out") == EXIT_OUTPUT
    assert "none of the 1 trajectories ends with a mask" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
