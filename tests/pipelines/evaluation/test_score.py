"""`hlmat score`: figures by hand, by a plain loop, and as SegAgent's scorer prints them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hlmat.pipelines.evaluation.score import format_scores, score_file
from hlmat.pipelines.settings.commands import parse_command
from hlmat.transforms.core.errors import ConfigError, DataError
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Rle
from hlmat.transforms.masks.rle import decode_rle, encode_mask
from hlmat.transforms.metrics import segagent_scorer

files = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def rows(count: int) -> Mask:
    mask = np.zeros((4, 4), dtype=bool)
    mask[:count] = True
    return mask


def rle(mask: Mask) -> dict[str, Any]:
    return {"counts": encode_mask(mask).counts, "size": [4, 4]}


def entry(
    masks: list[Mask], *, truth: Mask, texts: list[str] | None = None, **more: Any
) -> dict[str, Any]:
    texts = ["Positive point: (1, 2)"] * len(masks) if texts is None else texts
    return {
        "img_path": "a.jpg",
        "height": 4,
        "width": 4,
        "caption": ["cup"],
        "gt_mask": rle(truth),
        "masks": None,
        "click_id": 0,
        "pred_list": [
            {"click_id": k, "mask": rle(m), "outputs": text, "clicks": [], "used_box": None}
            for k, (m, text) in enumerate(zip(masks, texts, strict=True))
        ],
        **more,
    }


def scored(folder: Path, entries: list[dict[str, Any]], *, step: str = "last") -> dict[str, Any]:
    path = folder / "predictions.json"
    path.write_text(json.dumps(entries))
    return score_file(parse_command("score", [str(path), "--step", step]))


def said(percent: float) -> str:
    return f"Current IOU: {percent}, Positive point: (1, 2)"


RISING = [rows(1), rows(2), rows(4)]
"""Of a truth of four rows: IoU 0.25, 0.5, 1."""


@pytest.mark.parametrize(
    ("step", "ours", "theirs"),
    [
        ("last", 1.0, 1.0),
        ("1", 0.25, 0.25),
        ("2", 0.5, 0.5),
        ("best-scored", 1.0, 0.5),  # the last mask is scored best, by the text that ended it
    ],
)
def test_one_target_by_hand(tmp_path: Path, step: str, ours: float, theirs: float) -> None:
    one = entry(
        RISING,
        truth=rows(4),
        texts=[said(0), said(25), said(50)],
        last_output="Current IOU: 99.0, Finish",
    )
    figures = scored(tmp_path, [one], step=step)
    assert figures["gIoU"] == {"value": ours, "low": None, "high": None}  # a single image
    assert figures["cIoU"]["value"] == ours
    assert figures["segagent_scorer"]["gIoU"] == pytest.approx(theirs, abs=1e-5)
    assert figures["segagent_scorer"]["cIoU"] == pytest.approx(theirs, abs=1e-5)
    assert figures["segagent_scorer"]["expressions"] == 1


def test_several_targets_by_hand(tmp_path: Path) -> None:
    entries = [
        entry([rows(2)], truth=rows(4), stop_reason="max_clicks"),
        entry([rows(1)], truth=rows(1), stop_reason="finished"),
        entry([], truth=rows(2), stop_reason="invalid_action", img_path="b.jpg"),
        entry([rows(3)], truth=rows(4), stop_reason="finished", img_path="b.jpg"),
    ]
    figures = scored(tmp_path, entries)
    assert figures["gIoU"]["value"] == (0.5 + 1 + 0 + 0.75) / 4
    assert figures["cIoU"]["value"] == (8 + 4 + 0 + 12) / (16 + 4 + 8 + 16)
    assert figures["invalid_rate"]["value"] == 0.25
    assert (figures["expressions"], figures["images"]) == (4, 2)
    theirs = figures["segagent_scorer"]
    assert theirs["gIoU"] == pytest.approx((0.5 + 1 + 0.75) / 3, abs=1e-5)
    assert theirs["cIoU"] == pytest.approx(24 / 36, abs=1e-5)
    assert theirs["expressions"] == 3
    assert "leaves out 1 expressions without any mask" in " ".join(theirs["differences"])


def test_numbers_in_the_file_are_not_used(tmp_path: Path) -> None:
    plain = entry([rows(2)], truth=rows(4))
    lying = json.loads(json.dumps(plain))
    lying["pred_list"][0].update(iou=0.99, gain=1)
    lying["final_iou"] = 1.0
    assert scored(tmp_path, [lying]) == scored(tmp_path, [plain])


def test_ignored_pixels_count_for_segagent_s_scorer_only(tmp_path: Path) -> None:
    one = entry([rows(2)], truth=rows(4), ignore_mask=rle(np.flipud(rows(2))))
    figures = scored(tmp_path, [one])
    assert figures["gIoU"]["value"] == 1
    assert figures["segagent_scorer"]["gIoU"] == pytest.approx(0.5, abs=1e-5)
    assert any("ignored pixels" in text for text in figures["segagent_scorer"]["differences"])


def test_what_segagent_s_evaluator_skips_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hlmat.pipelines.evaluation.score.MOST_EXPRESSIONS", 2)
    entries = [entry([rows(1)], truth=rows(1), img_path=f"{k}.png") for k in range(3)]
    text = " ".join(scored(tmp_path, entries)["segagent_scorer"]["differences"])
    assert "only the first 2 expressions, 1 fewer" in text
    assert "skips .png images, 3 in this file" in text
    assert segagent_scorer.MOST_EXPRESSIONS == 5000


def test_a_rollout_shorter_than_k_would_stop_segagent_s_scorer(tmp_path: Path) -> None:
    entries = [entry(RISING, truth=rows(4)), entry([rows(1)], truth=rows(4))]
    figures = scored(tmp_path, entries, step="2")
    assert figures["gIoU"]["value"] == (0.5 + 0.25) / 2
    theirs = figures["segagent_scorer"]
    assert (theirs["gIoU"], theirs["cIoU"], theirs["expressions"]) == (None, None, 0)
    assert any("stop at --click_id 1" in text for text in theirs["differences"])


def by_segagent(entries: list[dict[str, Any]], masks: list[list[Mask]]) -> Any:
    """Its best-scored figures, written from their description: cIoU, gIoU, expressions."""
    groups: list[tuple[str, list[float]]] = []
    intersections = unions = 0
    for one, candidates in zip(entries, masks, strict=True):
        if not candidates:
            continue
        said_scores = []
        for step in one["pred_list"]:
            try:
                said_scores.append(float(step["outputs"].split("Current IOU: ")[-1].split(",")[0]))
            except ValueError:
                said_scores = [0.0] * len(candidates)
                break
        index = said_scores.index(max(said_scores))
        mask = candidates[index - 1 if index > 0 else 0]
        truth = one["truth"]
        intersection, union = int((mask & truth).sum()), int((mask | truth).sum())
        intersections, unions = intersections + intersection, unions + union
        if not groups or groups[-1][0] != one["img_path"]:
            groups.append((one["img_path"], []))
        groups[-1][1].append(intersection / union if union else 1.0)
    used = sum(len(ious) for _, ious in groups)
    mean = sum(np.mean(ious) * len(ious) for _, ious in groups) / used if used else 0.0
    return intersections / (unions + 1e-5), mean, used


written_scores = st.sampled_from(
    [said(0), said(12.5), said(60), said(99.9), "Positive point: (1, 2)", "Current IOU: much, x"]
)


@pytest.mark.slow
@files
@given(st.data())
def test_segagent_s_figures_are_those_of_its_description(
    tmp_path: Path, data: st.DataObject
) -> None:
    entries, masks = [], []
    for _ in range(data.draw(st.integers(1, 4))):
        masks.append(data.draw(st.lists(npst.arrays(bool, (4, 4)), max_size=4)))
        truth = data.draw(npst.arrays(bool, (4, 4)).filter(np.any))
        texts = [data.draw(written_scores) for _ in masks[-1]]
        image = data.draw(st.sampled_from(["a.jpg", "b.jpg"]))
        entries.append(entry(masks[-1], truth=truth, texts=texts, img_path=image))
    # Without any score there is nothing to choose by.
    texts = [step["outputs"] for e in entries for step in e["pred_list"]]
    assume(any(text.startswith("Current IOU: ") and "much" not in text for text in texts))
    theirs = scored(tmp_path, entries, step="best-scored")["segagent_scorer"]
    truths = [{**e, "truth": _decoded(e["gt_mask"])} for e in entries]
    ciou, giou, used = by_segagent(truths, masks)
    assert theirs["expressions"] == used
    assert theirs["cIoU"] == pytest.approx(ciou, abs=1e-9)
    assert theirs["gIoU"] == pytest.approx(giou, abs=2e-5)


@files
@given(st.data())
def test_figures_equal_a_plain_loop(tmp_path: Path, data: st.DataObject) -> None:
    entries, ious, intersections, unions = [], [], 0, 0
    for _ in range(data.draw(st.integers(1, 4))):
        masks = data.draw(st.lists(npst.arrays(bool, (4, 4)), max_size=3))
        truth = data.draw(npst.arrays(bool, (4, 4)))
        entries.append(entry(masks, truth=truth))
        last = masks[-1] if masks else np.zeros((4, 4), bool)
        i, u = int((last & truth).sum()), int((last | truth).sum())
        intersections, unions = intersections + i, unions + u
        ious.append(i / u if u else 1.0)
    figures = scored(tmp_path, entries)
    assert figures["gIoU"]["value"] == pytest.approx(sum(ious) / len(ious))
    assert figures["cIoU"]["value"] == (intersections / unions if unions else 1.0)


def _decoded(content: dict[str, Any]) -> Mask:
    return decode_rle(Rle(content["counts"], (4, 4)))


@pytest.mark.parametrize("step", ["0", "-1", "first", "1.5", "", "٣"])
def test_an_invalid_step_is_refused(tmp_path: Path, step: str) -> None:
    with pytest.raises(ConfigError, match=r"--step .*expected last, best-scored"):
        scored_with(tmp_path, step)


def scored_with(tmp_path: Path, step: str) -> dict[str, Any]:
    return score_file(argparse.Namespace(predictions=str(tmp_path / "p.json"), step=step))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"p\.json cannot be read"):
        scored_with(tmp_path, "last")


def test_more_expressions_of_the_same_images_do_not_narrow_the_intervals(tmp_path: Path) -> None:
    once = [entry([rows(k % 4)], truth=rows(4), img_path=f"{k}.jpg") for k in range(30)]
    few, many = scored(tmp_path, once), scored(tmp_path, once * 5)
    assert (few["images"], many["images"], many["expressions"]) == (30, 30, 150)
    for name in ("gIoU", "cIoU", "boundary_IoU"):
        assert many[name] == pytest.approx(few[name])


def test_figures_are_json_and_the_same_each_time(tmp_path: Path) -> None:
    entries = [entry([rows(k)], truth=rows(4)) for k in (1, 2, 3)]
    first = json.dumps(scored(tmp_path, entries), sort_keys=True)
    assert first == json.dumps(scored(tmp_path, entries), sort_keys=True)


def test_the_text_shows_figures_intervals_and_differences(tmp_path: Path) -> None:
    entries = [
        entry([rows(2)], truth=rows(4)),
        entry([], truth=rows(4)),
        entry([rows(2)], truth=rows(4), img_path="b.jpg"),
    ]
    lines = format_scores(scored(tmp_path, entries)).splitlines()
    shown = dict(line.split("  ", 1) for line in lines if "  " in line)
    shown = {label: value.strip() for label, value in shown.items()}
    assert shown["expressions"] == "3 on 2 images"
    assert shown["gIoU"] == "0.3333 (0.2500 to 0.5000)"
    assert shown["SegAgent's scorer"].endswith("over 2 expressions")
    assert shown["warning"].startswith("2 images: intervals from fewer than 20")
    assert lines[-1].startswith("95 % intervals, resampled by image")
    assert "invalid_rate" not in shown  # the file does not state how rollouts ended


def test_choosing_by_scores_needs_one(tmp_path: Path) -> None:
    entries = [entry([rows(1), rows(2)], truth=rows(2))]
    with pytest.raises(DataError, match="no mask has a score, so --step best-scored"):
        scored(tmp_path, entries, step="best-scored")
