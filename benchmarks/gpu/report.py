"""One Markdown file and one JSON out of what the parts found, with the goals and projections."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.parts import Result
from hlmat.transforms.core.storage import LocalStorage

Rows = Sequence[Mapping[str, Any]]

HQSEG_IMAGES = {
    "DUTS, MSRA-10K, FSS-1000 and ECSSD, mostly 400x300 or less": 36_572,
    "ThinObject-5K, 1.6 megapixels": 4_748,
    "DIS5K, 7.8 megapixels": 3_000,
}
"""Training images of HQSeg-44K with one target each: 44,320 in all (Ke et al. 2023, "Segment
Anything in High Quality"; sizes: Qin et al. 2022, "Dichotomous Image Segmentation")."""
REFCOCO_IMAGES, REFCOCO_TARGETS = 16_994, 42_404
"""Training split "unc" of RefCOCO (Yu et al. 2016, "Modeling Context in Referring Expressions")."""

_ASSUMED = (
    "Projections: one GPU and machine as above, models loaded and kernels compiled, images in "
    "memory. Five clicks a target, no early stop, masks of noise: more than a real run asks for. "
    "HQSeg-44K: 36,572 images at the speed of 640x480 with 1 target (most are smaller); 4,748 of "
    "1.6 megapixels at that of 2000x1500; 3,000 of 7.8 megapixels at 2.6 times the seconds of "
    "2000x1500. RefCOCO: 16,994 images of 2.5 targets, between the measured 1 and 3 targets of "
    "640x480."
)


def publish(results: Mapping[str, Result], *, out: Path, command: str) -> None:
    """Write `gpu.md` and `gpu.json`, each at once."""
    goals = goals_of(results)
    data = {"command": command, "goals": goals, "parts": results}
    storage = LocalStorage()
    storage.write_bytes(str(out / "gpu.json"), json.dumps(data, indent=1).encode())
    storage.write_bytes(str(out / "gpu.md"), to_markdown(results, goals, command=command).encode())


def goals_of(results: Mapping[str, Result]) -> list[dict[str, Any]]:
    """Hold what was measured against the goals; None where it was not measured."""
    worker = [
        *_rows(results, "Worker and plain loop"),
        *_rows(results, "Other models"),
        *_rows(results, "Settings of the worker"),
        *_rows(results, "Grid"),
    ]
    encoders = [*_rows(results, "Encoder"), *_rows(results, "Compilation, bf16")]
    share = max((r["share_of_product"] for r in encoders if "bf16" in r["what"] or "ompiled" in
                 r["what"] or "graph" in r["what"]), default=None)  # fmt: skip
    main = next((r["model"] for r in worker), None)
    ratios = [
        r["ratio"] for r in worker if _is(r, main, "640x480", 3) and r.get("ratio") is not None
    ]
    goals = [
        {"goal": "encoder's share of the measured bf16 product", "at_least": 0.5, "found": share},
        {"goal": f"times the plain loop, {main}, 640x480, 3 targets", "at_least": 20.0,
         "found": max(ratios, default=None)},
    ]  # fmt: skip
    for name, limit in (("vit_l", 6.0), ("vit_h", 10.0), ("vit_b", None), ("tiny", None)):
        if not any(r["model"] == name for r in worker):
            continue
        for data, minutes in projections(worker, name).items():
            at_most = limit if data == "HQSeg-44K" else None
            goals.append({"goal": f"{data}, {name}, minutes", "at_most": at_most, "found": minutes})
    return goals


def projections(worker: Rows, model: str) -> dict[str, float | None]:
    """Return the minutes for HQSeg-44K and RefCOCO, None where a speed is missing."""
    small = _seconds_an_image(worker, model, "640x480", 1)
    three = _seconds_an_image(worker, model, "640x480", 3)
    large = _seconds_an_image(worker, model, "2000x1500", 1)
    few, thin, dis = HQSEG_IMAGES.values()
    hqseg = refcoco = None
    if small is not None and large is not None:
        hqseg = (few * small + thin * large + dis * large * 2.6) / 60
    if small is not None and three is not None:
        more = REFCOCO_TARGETS / REFCOCO_IMAGES - 1
        refcoco = REFCOCO_IMAGES * (small + (three - small) / 2 * more) / 60
    return {"HQSeg-44K": hqseg, "RefCOCO": refcoco}


def to_markdown(
    results: Mapping[str, Result], goals: Sequence[Mapping[str, Any]], *, command: str
) -> str:
    """Return the report as Markdown."""
    lines = ["# The SAM worker on this machine", "", f"`{command}`", ""]
    lines += [
        "Random weights: masks are noise, the worst case for click search and run lengths; every "
        "target is clicked to the last click. `time` is the share of each part in the time that "
        "passed; parts overlap, and those on several threads may exceed 100 %.",
        "",
        "## Goals",
        "",
        *_table(goals),
        "",
        _ASSUMED,
    ]
    for name, result in results.items():
        lines += ["", f"## {name} ({result['seconds']:.0f} s)"]
        for table, rows in result["tables"].items():
            lines += ["", f"### {table}", "", *_table(rows)]
        if result["notes"]:
            lines += ["", *[f"- {note}" for note in result["notes"]]]
        if result["error"]:
            lines += ["", "Ended early:", "", "```", str(result["error"]).strip(), "```"]
    return "\n".join(lines) + "\n"


def _table(rows: Rows) -> list[str]:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return [
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *["| " + " | ".join(_cell(row.get(c)) for c in columns) + " |" for row in rows],
    ]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6f}" if 0.99 < value < 1 else f"{value:.4g}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def _rows(results: Mapping[str, Result], table: str) -> list[Mapping[str, Any]]:
    return [row for result in results.values() for row in result["tables"].get(table, [])]


def _is(row: Mapping[str, Any], model: str | None, size: str, targets: int) -> bool:
    return (row["model"], row["size"], row["targets"]) == (model, size, targets)


def _seconds_an_image(worker: Rows, model: str, size: str, targets: int) -> float | None:
    speeds = [r["images_s"] for r in worker if _is(r, model, size, targets) and not r["rejects"]]
    return 1 / max(speeds) if speeds else None
