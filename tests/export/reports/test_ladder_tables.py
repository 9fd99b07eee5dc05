from __future__ import annotations

from typing import Any

from hlmat.export.reports.ladder_tables import render_ladder


def figure(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def row(label: str, giou: float, difference: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "label": label,
        "gIoU": figure(giou),
        "cIoU": figure(giou - 0.05),
        "clicks_per_target": figure(2.5),
        "model_calls_per_target": figure(3.5),
        "decoder_calls_per_target": figure(2.25),
        "invalid_rate": figure(0.125),
        "measured": 40,
        "images": 25,
        "difference": difference,
    }


CHANGE = {**figure(0.02), "change": "no change shown", "targets": 40, "unpaired": 0}
STEP = {
    "clicks": 3,
    "targets": 40,
    "images": 25,
    "last": {"gIoU": figure(0.7), "cIoU": figure(0.65)},
    "best_scored": {"gIoU": figure(0.75), "cIoU": figure(0.66)},
    "difference": {**figure(0.15), "change": "rises"},
    "perfect": figure(0.8),
}


def report(**more: Any) -> dict[str, Any]:
    rungs = [row("SFT, greedy", 0.6), row("+ StaR+", 0.62, CHANGE)]
    return {"sets": {"thin": {"rungs": rungs, "steps": [STEP], **more}}}


def test_a_rung_is_shown_with_intervals_difference_and_change() -> None:
    lines = render_ladder(report()).splitlines()
    assert (
        "| thin | SFT, greedy | 0.600 (0.500 to 0.700) | 0.550 (0.450 to 0.650) |  |  | 12.5 % "
        "| 2.50 | 3.50 | 2.25 | 40 | 25 |"
    ) in lines
    assert (
        "| thin | + StaR+ | 0.620 (0.520 to 0.720) | 0.570 (0.470 to 0.670) "
        "| +0.020 (-0.080 to +0.120) | no change shown | 12.5 % | 2.50 | 3.50 | 2.25 | 40 | 25 |"
    ) in lines


def test_clicks_are_shown_without_and_with_the_score() -> None:
    assert (
        "| thin | 3 | 0.700 (0.600 to 0.800) | 0.750 (0.650 to 0.850) | +0.150 (+0.050 to +0.250) "
        "| rises | 0.800 (0.700 to 0.900) | 0.650 (0.550 to 0.750) | 0.660 (0.560 to 0.760) "
        "| 40 | 25 |"
    ) in render_ladder(report()).splitlines()


def test_tables_that_were_not_requested_are_left_out() -> None:
    headings = [line for line in render_ladder(report()).splitlines() if line[:3] == "###"]
    assert headings == [
        "### Rungs (figure 4)",
        "### Number of clicks, without and with the model's own score (table 2)",
    ]
    text = render_ladder(report(codecs=[row("thousandths", 0.5, CHANGE)]))
    assert "### Coordinates (table 6)" in text
    assert "| thin | thousandths | 0.500 (0.400 to 0.600)" in text


def test_grpo_is_shown_with_its_clicks_and_the_processor_time_of_the_trainings() -> None:
    clicks = {**CHANGE, "value": -1.5, "low": -2.0, "high": -1.0, "change": "falls"}
    grpo = row("GRPO, compared with SFT", 0.65, CHANGE) | {"clicks_difference": clicks}
    shuffled = row("another target's expression", 0.3, CHANGE)
    figures = report(reinforcement=[grpo], controls=[shuffled])
    figures["processor_minutes"] = {"star-plus": 8.25, "grpo": 7.0}
    lines = render_ladder(figures).splitlines()
    assert (
        "| thin | GRPO, compared with SFT | 0.650 (0.550 to 0.750) | 0.600 (0.500 to 0.700) "
        "| +0.020 (-0.080 to +0.120) | no change shown | 2.50 | -1.50 (-2.00 to -1.00) | falls "
        "| 40 | 25 |"
    ) in lines
    assert "Processor time of the trainings in minutes: StaR+ 8.2, GRPO 7.0." in lines
    assert any(line.startswith("| thin | another target's expression | 0.300 (") for line in lines)


def test_scores_and_refined_masks() -> None:
    calibration = {"MAE": figure(12.34), "MSE": figure(250), "Pearson": figure(0.8)}
    scored: dict[str, Any] = {
        "corrupt": "0.0-1.0",
        "images": 25,
        "kept": 30,
        "doubtful": 10,
        "unreadable": 1,
    }
    scored["score_calibration"] = {**calibration, "Spearman": None}
    scored["keeping"] = [
        {
            "keep_at": 0.8,
            "masks": 40,
            "good": 12,
            "kept": 9,
            "kept_good": 9,
            "precision": figure(0.9),
            "recall": None,
            "share": figure(0.3),
        }
    ]
    refined: dict[str, Any] = {"corrupt": "0.3-0.9", "images": 25, "changed": 30, "unchanged": 9}
    refined |= {"IoU_before": figure(0.5), "IoU_after": figure(0.7)}
    refined["gain"] = {**figure(0.2), "change": "rises"}
    lines = render_ladder(report(filter=scored, refine=refined)).splitlines()
    assert (
        "| thin | 0.0-1.0 | 40 | 25 | 1 | 12.3 (12.2 to 12.4) | 250.0 (249.9 to 250.1) "
        "| 0.800 (0.700 to 0.900) | none |"
    ) in lines
    assert (
        "| thin | 0.8 | 40 | 12 | 9 | 0.900 (0.800 to 1.000) | none | 0.300 (0.200 to 0.400) |"
    ) in lines
    assert (
        "| thin | 0.3-0.9 | 39 | 25 | 0.500 (0.400 to 0.600) | 0.700 (0.600 to 0.800) "
        "| +0.200 (+0.100 to +0.300) | rises |"
    ) in lines


def test_every_row_has_as_many_cells_as_its_header() -> None:
    scored = {"corrupt": "0-1", "images": 1, "kept": 1, "doubtful": 0, "unreadable": 1}
    grpo = row("GRPO", 0.5, CHANGE) | {"clicks_difference": CHANGE}
    text = render_ladder(
        report(filter=scored, initial_actions=[row("none", 0.5)], reinforcement=[grpo])
    )
    for table in text.split("\n\n"):
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1
