"""`hlmat refine`: the pipeline equals the direct loop, masks that are best stay, wrong input."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import builders
from annotated_data import read_coco, read_mask, write_answers, write_coco, write_folder
from answer_server import completion, scripted_server
from hlmat.pipelines.cli.main import EXIT_CONFIG, EXIT_OK, main
from hlmat.transforms.core.protocols import PolicyAction, State
from hlmat.transforms.core.records import Finish, TargetRef, Trajectory
from hlmat.transforms.dataset_io.expression_choice import ExpressionChoice, one_item_per_expression
from hlmat.transforms.dataset_io.work_units import plan_units
from hlmat.transforms.masks.rle import mask_iou
from hlmat.transforms.metrics.target_results import choose_mask, rolled_out
from hlmat.transforms.oracle.click import oracle_click
from hlmat.transforms.prompting.actions import TurnFormat
from hlmat.transforms.prompting.coordinates import build_codec
from hlmat.transforms.readers.shapes.reader import ShapesOptions, ShapesReader
from hlmat.transforms.rollout.loop import Limits
from hlmat.transforms.rollout.options import AreaFilter, FirstMask, InitialAction
from hlmat.transforms.rollout.unit_worker import (
    RolloutSettings,
    simulate_unit,
)
from hlmat.transforms.segmenters.registry import SegmenterOptions

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
READER = ShapesReader(ShapesOptions(count=5, height=64, width=64), "test")
DISCS = ["--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter"]
TURN_FORMAT = TurnFormat(build_codec("decimal"), with_score=True, with_finish=True)
LIMITS = Limits(max_clicks=3, target_iou=None, stop_on_no_gain=False, score_last=True)


def oracle_answer(state: State) -> PolicyAction:
    """Click where the error is deepest; the score is the mask's IoU with the truth."""
    click = oracle_click(state.mask, state.truth, ignore=state.ignore)
    iou = mask_iou(state.mask, state.truth, ignore=state.ignore)
    size_hw = state.target.size_hw
    text = TURN_FORMAT.answer(click or Finish(), size_hw=size_hw, iou=iou)
    return TURN_FORMAT.read(text, size_hw=size_hw)


def rollouts_of_an_oracle(first_mask: FirstMask) -> list[Trajectory]:
    """Roll out without any pipeline."""
    settings = RolloutSettings(
        reader=READER,
        segmenter=SegmenterOptions("graphcut"),
        build_policy=partial(builders.ScriptedPolicy, oracle_answer),
        initial_action=InitialAction.NONE,
        limits=LIMITS,
        area_filter=AreaFilter(),
        seed=0,
        provenance=builders.provenance("graphcut", "replay"),
        num_threads=1,
        first_mask=first_mask,
    )
    items = one_item_per_expression(READER.read_targets(), ExpressionChoice.FIRST, seed=0)
    (unit,) = plan_units(items, unit_size=1000, fingerprint="f")
    outcomes = simulate_unit(unit, settings())
    return [outcome for outcome in outcomes if isinstance(outcome, Trajectory)]


def texts_of(trajectory: Trajectory) -> list[str]:
    texts = [*(step.answer for step in trajectory.steps), trajectory.last_answer]
    return [text for text in texts if text is not None]


def refine(out: Path, *flags: str) -> int:
    return main(["refine", "--workers", "1", "-q", "--out", str(out), *flags])


def rows_in(out: Path) -> list[dict[str, str]]:
    with open(out / "refinements.csv", newline="") as f:
        return list(csv.DictReader(f))


def test_gains_on_corrupted_masks_equal_those_of_the_direct_loop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    direct = rollouts_of_an_oracle(FirstMask(corrupted_to=(0.4, 0.8)))
    names = [t.target.ref.target_id.removesuffix("@0") for t in direct]
    answers = {name: texts_of(t) for name, t in zip(names, direct, strict=True)}
    recorded = write_answers(tmp_path / "answers", answers)
    out = tmp_path / "out"
    replay = ["--policy", "replay", "--answers", recorded, "--finish"]
    flags = [*SCENES, *replay, "--max-clicks", "3", "--corrupt", "0.4-0.8"]
    assert refine(out, *flags) == EXIT_OK

    figures = json.loads((out / "metrics.json").read_text())
    before = np.array([t.initial_iou for t in direct])
    chosen = [choose_mask(rolled_out(t), "best-scored") for t in direct]
    after = np.array(
        [t.iou_before(0 if k is None else k + 1) for t, k in zip(direct, chosen, strict=True)]
    )
    assert figures["IoU_before"]["value"] == pytest.approx(before.mean())
    assert figures["IoU_after"]["value"] == pytest.approx(after.mean())
    gain = figures["gain"]
    assert gain["value"] == pytest.approx((after - before).mean())
    assert 0.1 < gain["low"] < gain["value"] < gain["high"]
    assert figures["improved"] == (after > before).sum()
    assert figures["worsened"] == (after < before).sum()

    rows = rows_in(out)
    truths = {ref.target_id: ref for ref in READER.read_targets() if isinstance(ref, TargetRef)}
    coco = read_coco(out / "refined.json")
    for row, annotation, iou in zip(rows, coco.anns.values(), after, strict=True):
        mask = read_mask(out / row["mask"])
        truth = READER.load_truth(truths[row["target_id"]]).truth
        assert mask_iou(mask, truth) == pytest.approx(float(row["iou_after"])) == iou
        assert np.array_equal(coco.annToMask(annotation).astype(bool), mask)
    assert [row["target_id"] for row in rows] == names
    assert any(row["changed"] == "yes" and int(row["clicks"]) > 0 for row in rows)

    # A run like any other: its figures are those of the rollouts' last masks.
    capsys.readouterr()
    assert main(["stats", str(out), "--json"]) == EXIT_OK
    stats = json.loads(capsys.readouterr().out)
    assert stats["IoU@0"] == pytest.approx(before.mean())
    assert stats["gIoU"] == pytest.approx(np.mean([t.final_iou for t in direct]))
    assert "NoC@90 (max 3 clicks, after corrupted masks)" in stats["NoC"]

    files = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert refine(out, *flags) == EXIT_OK
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == files


def test_a_mask_that_is_rated_best_stays_and_a_better_one_replaces_it(tmp_path: Path) -> None:
    masks = write_folder(tmp_path / "mine")
    click = "Positive point: (0.900, 0.900)"
    recorded = write_answers(
        tmp_path / "answers",
        {
            "folder/all/a": [f"Current IOU: 70.0, {click}", f"Current IOU: 60.0, {click}"],
            "folder/all/b": [f"Current IOU: 70.0, {click}", f"Current IOU: 90.0, {click}"],
            "folder/all/sub/c": ["The mask is fine."],
        },
    )
    out = tmp_path / "out"
    data = ["--dataset", "folder", "--data-root", str(tmp_path / "mine")]
    flags = ["--policy", "replay", "--answers", recorded, *DISCS, "--max-clicks", "1"]
    assert refine(out, *data, *flags) == EXIT_OK
    keys = ("target_id", "mask", "score_before", "score_after", "clicks", "changed", "stop_reason")
    assert [tuple(row[key] for key in keys) for row in rows_in(out)] == [
        ("folder/all/a", "masks/a.png", "0.7", "0.7", "0", "no", "max_clicks"),
        ("folder/all/b", "masks/b.png", "0.7", "0.9", "1", "yes", "max_clicks"),
        ("folder/all/sub/c", "masks/sub/c.png", "", "", "0", "no", "invalid_action"),
    ]
    for name in ("a", "sub/c"):
        assert np.array_equal(read_mask(out / "masks" / f"{name}.png"), masks[name] > 0)
    changed = read_mask(out / "masks" / "b.png")
    # The fake takes no masks: it was given the mask's box, and painted the click.
    assert changed[43, 57]
    rows, columns = np.flatnonzero(masks["b"].any(1)), np.flatnonzero(masks["b"].any(0))
    assert changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    figures = json.loads((out / "metrics.json").read_text())
    assert (figures["changed"], figures["unchanged"], figures["unscored"]) == (1, 2, 1)
    assert "gain" not in figures


def test_a_coco_file_is_refined_under_its_own_ids(tmp_path: Path) -> None:
    written = write_coco(tmp_path / "coco")
    recorded = write_answers(
        tmp_path / "answers",
        {f"coco/val2017/{k}": ["Current IOU: 99.0, Finish"] for k in (11, 12, 31)},
    )
    out = tmp_path / "out"
    data = ["--dataset", "coco", "--data-root", str(tmp_path / "coco"), "--max-reject-rate", "1"]
    flags = ["--policy", "replay", "--answers", recorded, "--finish", *DISCS]
    assert refine(out, *data, *flags) == EXIT_OK
    refined = read_coco(out / "refined.json")
    original = read_coco(tmp_path / "coco" / "annotations" / "instances_val2017.json")
    assert sorted(refined.anns) == [11, 12, 31]
    for k, annotation in refined.anns.items():
        kept = original.anns[k]
        assert annotation["category_id"] == kept["category_id"]
        assert np.array_equal(refined.annToMask(annotation), original.annToMask(kept))
    assert list(refined.imgs.values()) == [written["images"][1], written["images"][0]]
    images = sorted(p.name for p in (out / "masks").iterdir())
    assert images == ["val2017_x-0.png", "val2017_x-1.png", "val2017_y-0.png"]


def test_a_search_goes_on_from_the_given_masks(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine")
    data = ["--dataset", "folder", "--data-root", str(tmp_path / "mine")]

    def reply(request: Any, key: Any) -> Any:
        place = 0.1 + 0.2 * (request["seed"] % 4)
        return completion(f"Current IOU: 50.0, Positive point: ({place:.3f}, 0.500)")

    with scripted_server() as server:
        server.next_reply = reply
        served = ["--policy", "openai", "--server", server.url, "--max-clicks", "1"]
        assert refine(tmp_path / "out", *data, *served, *DISCS, "--search", "2") == EXIT_OK
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    # For each mask: the first question, a draw, and two masks scored, or one where both agreed.
    assert 3 * 3 <= figures["model_calls"] <= 3 * 4
    assert figures["unchanged"] == 3  # no mask was scored higher than the given one


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--recipe", "mini"], "--recipe mini: its model was not taught to score masks"),
        (["--policy", "oracle"], "--policy 'oracle': masks are scored by a model"),
        (["--corrupt", "0.9-0.1"], "--corrupt 0.9-0.1: expected LOW-HIGH with 0 <= LOW < HIGH"),
        (["--model", "no/such-model"], "no/such-model"),
        (["--max-clicks", "0", "--model", "x"], "--max-clicks 0: must be at least 1"),
        (["--step", "last"], "--step"),
    ],
)
def test_wrong_flags_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert refine(tmp_path / "out", "--dataset", "shapes", *flags) == EXIT_CONFIG
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_other_runs_begin_with_nothing(tmp_path: Path) -> None:
    argv = ["trajectories", *SCENES, "--workers", "1", "-q", "--out", str(tmp_path)]
    assert main(argv) == EXIT_OK
    assert "first_mask" not in json.loads((tmp_path / "manifest.json").read_text())["config"]
    rows = pq.read_table(tmp_path / "trajectories").to_pylist()
    assert {(row["initial_rle"], row["initial_iou"]) for row in rows} == {(None, 0.0)}
