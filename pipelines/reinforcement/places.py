"""The files in the output folder of `hlmat rl`, beside those of any training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

JOB = "rl.json"
"""What the process with TRL is to do."""
LOG = "trainer_log.jsonl"
"""In the model's folder: one line per round."""
CURVE, TABLE = "learning_curve.png", "learning_curve.md"
STRIPS = "rollouts"
"""A folder for each round that was drawn."""


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a log; none if there is no log. A line cut off at the end is left out."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines
