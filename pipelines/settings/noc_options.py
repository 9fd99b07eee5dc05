"""The flags of the interactive segmentation protocol: NoC and NoF as the field measures them."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from annotated_types import Gt, Le

from hlmat.pipelines.settings.flags import Flag, Group
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.transforms.core.options import options, setting
from hlmat.transforms.metrics.click_curves import NOC_CLICKS, THRESHOLDS


class Protocol(StrEnum):
    """The rules of an evaluation."""

    ROLLOUT = "rollout"
    NOC20 = "noc20"


@options
class NocOptions:
    """How clicks are counted.

    Attributes:
        protocol: NOC20 makes 20 clicks without an early stop.
        noc: the IoUs of NoC and NoF, in percent.
    """

    protocol: Protocol = setting(
        default=Protocol.ROLLOUT,
        help="noc20: 20 clicks of an oracle, no early stop, as RITM and SimpleClick report",
    )
    noc: tuple[Annotated[float, Gt(0), Le(100)], ...] = setting(
        default=tuple(round(100 * t, 6) for t in THRESHOLDS),
        metavar="P,P,P",
        help="IoUs of NoC and NoF in percent, as 80,85,90,95",
    )

    def conflicts(self) -> Iterator[str]:
        """Yield problems with combinations of values."""
        if len(set(self.noc)) < len(self.noc):
            yield "{noc}: a percentage is named twice"

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The IoUs of NoC and NoF, ascending."""
        return tuple(percent / 100 for percent in sorted(self.noc))


NOC = Group(
    "interactive segmentation",
    (Flag("protocol", NocOptions), Flag("noc", NocOptions, is_joined=True)),
)
FIXED_LIMITS = {"max_clicks": NOC_CLICKS, "stop_at_score": None}
"""Limits of a rollout by NOC20."""

_FIXED_FLAGS = ("max-clicks", "stop-score", "search", "initial-action", "step")


def refuse_fixed_flags(values: Values, check: Check) -> None:
    """Note every flag that NOC20 leaves no choice about."""
    for name in _FIXED_FLAGS:
        if values.is_given(name):
            check.note(
                f"--protocol noc20 makes {NOC_CLICKS} clicks from an empty mask and measures the "
                f"last mask; leave out --{name}, also in the recipe"
            )
