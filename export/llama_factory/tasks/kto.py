"""The task `kto`: each click taken, and whether it raised the IoU."""

from __future__ import annotations

from collections.abc import Iterator

from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.samples import Case, Sample
from hlmat.export.llama_factory.tasks.next_click import decision_turn, decisions

TAG = "raised_iou"


def samples(case: Case, options: LlamaFactoryOptions) -> Iterator[Sample]:
    """List a target's clicks: true if the IoU rose, false if it fell or stayed equal."""
    for decision in decisions(case.trajectory):
        turn = decision_turn(case.trajectory, decision, options.seen_turn_format)
        gain = case.trajectory.steps[decision.step].iou - decision.iou
        columns = {TAG: gain > 0, "step": decision.step, "gain": gain}
        yield Sample((turn,), columns, kind="raised" if gain > 0 else "not raised")
