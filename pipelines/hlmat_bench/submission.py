"""A submission: a small YAML file next to the predictions that `hlmat evaluate` wrote."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from hlmat.export.formats.predictions import PredictedTarget, read_predictions
from hlmat.pipelines.hlmat_bench.tracks import track_problem
from hlmat.pipelines.settings.evaluation_options import StepOptions
from hlmat.pipelines.settings.yaml_files import read_settings
from hlmat.transforms.core.errors import ConfigError, DataError, TargetError
from hlmat.transforms.core.options import OptionsError, options, setting
from hlmat.transforms.core.storage import join_under
from hlmat.transforms.metrics.budget_figures import MAX_CLICKS
from hlmat.transforms.metrics.target_results import StepChoice


class Start(StrEnum):
    """What a rollout begins with."""

    NONE = "none"
    OWN_BOX = "own-box"
    GIVEN_MASK = "given-mask"


@options
class Submission:
    """What a submission's YAML file says.

    Attributes:
        predictions: path of the prediction file, relative to the YAML file and below its folder.
        control: of a prediction file for the same targets with other targets' expressions.
        seconds_per_click: as the submitter measured it; None if it was not measured.
    """

    name: str = setting(min_length=1, help="the name in the table")
    track: str = setting(min_length=1, help="a track's name: hlmat bench list")
    predictions: str = setting(min_length=1, help="predictions.json of hlmat evaluate")
    control: str | None = setting(
        default=None, help="predictions.json of the same with --expressions shuffled"
    )
    start: Start = setting(default=Start.NONE, help="what a rollout begins with")
    segmenter: str = setting(default="graphcut", help="the segmenter, as --segmenter names it")
    model: str = setting(default="", help="the model: name, size, link")
    seconds_per_click: float | None = setting(default=None, ge=0, help="SPC of metrics.json")
    hardware: str = setting(default="", help="the machine that SPC was measured on")
    date: str = setting(default="", help="of the submission, as 2026-11-27")
    step: str = setting(default="last", help="the prediction, as hlmat evaluate --step")

    @property
    def choice(self) -> StepChoice:
        """Which mask of a rollout is the prediction."""
        return StepOptions(self.step).choice

    def conflicts(self) -> Iterator[str]:
        """Yield problems with combinations of values."""
        if (problem := track_problem(self.track)) is not None:
            yield problem
        try:
            StepOptions(self.step)
        except OptionsError as error:
            yield f"{{step}}: {error.issues[0].text}"
        try:
            if self.date:
                datetime.date.fromisoformat(self.date)
        except ValueError:
            yield "{date}: expected a day, as 2026-11-27"


def read_submission(path: str) -> Submission:
    """Read the YAML file of a submission.

    Raises:
        ConfigError: with every problem found.
    """
    problems: list[str] = []
    content: dict[str, Any] = read_settings(Path(path), problems=problems)
    if problems:
        raise ConfigError(problems)
    # YAML reads an unquoted day as a date.
    if isinstance(content.get("date"), datetime.date):
        content["date"] = content["date"].isoformat()
    try:
        return Submission(**content)
    except OptionsError as error:
        raise ConfigError([f"{path}: {issue.worded(str)}" for issue in error.issues]) from error


def read_submitted(path: str, name: str) -> list[PredictedTarget]:
    """Read a prediction file that a submission names.

    Args:
        path: of the submission's YAML file.
        name: of the prediction file, below the YAML file's folder.

    Raises:
        DataError: the name leads out of the folder, or the file cannot be read or breaks the rules.
    """
    try:
        joined = join_under(str(Path(path).resolve().parent), name)
        if not Path(joined).resolve().is_relative_to(Path(path).resolve().parent):
            raise DataError(f"{path}: {name!r} is a link out of the submission's folder")
    except TargetError as error:
        raise DataError(f"{path}: {error.message}") from error
    predicted = read_predictions(joined)
    for one in predicted:
        clicks = len(one.rollout.masks) - one.rollout.first_click
        if clicks > MAX_CLICKS:
            raise DataError(
                f"{joined}: target {one.rollout.target_id!r} has {clicks} clicks; the rules allow "
                f"{MAX_CLICKS}: evaluate with --max-clicks {MAX_CLICKS}"
            )
    return predicted
