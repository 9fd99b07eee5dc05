"""Options of a rollout: how it begins and ends, how wide it searches, which masks it takes."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from hlmat.transforms.core.options import options, setting


class InitialAction(StrEnum):
    """What the segmenter gets before the first click.

    With `TEXT` it gets a target's first expression; the mask that it finds is the initial mask.
    """

    NONE = "none"
    BOX = "box"
    JITTERED_BOX = "jittered-box"
    POLICY_BOX = "policy-box"
    WRONG_CLICK = "wrong-click"
    TEXT = "text"


@options
class Limits:
    """When a trajectory ends, unless the policy ends it first.

    Attributes:
        max_clicks: clicks that the policy may make; initial actions do not count.
        target_iou: end once a recorded mask reaches this IoU; None for no such limit.
        stop_on_no_gain: end at the first click whose IoU is not strictly above the best so far,
            and do not record that click.
        stop_at_score: end once a model's score of the mask it is shown reaches this value; None for
            no such limit. An initial mask counts, an empty start does not.
        score_last: also ask a model for the score of the last mask of a rollout that ran out of
            clicks; without clicks, of the initial mask.
    """

    max_clicks: int = setting(default=5, ge=0, metavar="N", help="stop after N clicks")
    target_iou: float | None = setting(
        default=0.98, gt=0, le=1, metavar="X", help="stop at this IoU, or 'none'"
    )
    stop_on_no_gain: bool = setting(
        default=True, help="stop at the first click that does not raise the best IoU, unrecorded"
    )
    stop_at_score: float | None = setting(
        default=None,
        gt=0,
        le=1,
        metavar="S",
        help="with --score: stop once the model scores its mask as high, in (0, 1]",
    )
    score_last: bool = setting(default=False, help="ask for the score of the last mask too")


@options
class SearchOptions:
    """How wide a search goes.

    Attributes:
        candidates: actions tried in each state: the likeliest one, and samples.
        beam: states kept at each depth.
        temperature: of the samples.
    """

    candidates: int = setting(
        default=1,
        ge=1,
        metavar="K",
        help="with --score: try K clicks in each state, go on from the best-scored masks",
    )
    beam: int = setting(default=1, ge=1, metavar="B", help="masks that a search goes on from")
    temperature: float = setting(default=1.0, gt=0, metavar="T", help="of a search's draws")


@options
class AreaFilter:
    """Range of areas of the truth masks to keep, in pixels, both bounds included."""

    min_area: int | None = setting(
        default=None, ge=0, metavar="PX", help="leave out masks of fewer pixels"
    )
    max_area: int | None = setting(
        default=None, ge=0, metavar="PX", help="leave out masks of more pixels"
    )

    def conflicts(self) -> Iterator[str]:
        """Yield problems with combinations of values."""
        low, high = self.min_area, self.max_area
        if low is not None and high is not None and low > high:
            yield "{min_area} is above {max_area}: no mask would be left"

    def problem(self, area: int) -> str | None:
        """Return why a mask is left out, or None if it is kept."""
        if self.min_area is not None and area < self.min_area:
            return f"the mask has {area} pixels, fewer than the minimum of {self.min_area}"
        if self.max_area is not None and area > self.max_area:
            return f"the mask has {area} pixels, more than the maximum of {self.max_area}"
        return None


@options
class Beginning:
    """What comes before the first click."""

    initial_action: InitialAction = setting(
        default=InitialAction.NONE, metavar="A", help="before the first click"
    )


@options
class FirstMask:
    """The mask that a rollout begins with instead of an empty one.

    Attributes:
        corrupted_to: half-open range of IoU with the data set's mask to which that mask is
            corrupted on purpose; None uses the mask unchanged.
    """

    corrupted_to: tuple[float, float] | None = setting(
        default=None,
        metavar="LOW-HIGH",
        help="trial: corrupt the masks to an IoU in this range first, as 0.5-0.9, and report how "
        "well that is found out",
    )

    def conflicts(self) -> Iterator[str]:
        """Yield problems with combinations of values."""
        if self.corrupted_to is not None and not (
            0 <= self.corrupted_to[0] < self.corrupted_to[1] <= 1
        ):
            yield "{corrupted_to}: expected LOW-HIGH with 0 <= LOW < HIGH <= 1, as 0.5-0.9"

    def identity(self) -> dict[str, Any]:
        """Return plain JSON values for the run's fingerprint."""
        return {"corrupted_to": None if self.corrupted_to is None else list(self.corrupted_to)}
