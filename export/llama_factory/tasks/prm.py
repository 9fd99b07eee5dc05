"""The task `prm`: as `next-click`, with the IoU of the mask shown first, also of the last mask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.samples import Case, Sample, Turn, iou_before, shown_before
from hlmat.export.llama_factory.tasks import next_click
from hlmat.transforms.prompting.predicted_iou import render_predicted_iou


def samples(case: Case, options: LlamaFactoryOptions) -> Iterator[Sample]:
    """List a target's samples, the score of each mask shown before the action taken.

    The last mask is scored too: before `Finish` if the turn format has it and the trajectory
    ended with it, otherwise in answer to the question for a score alone. Every answer to the
    question for a click therefore has an action.
    """
    scored = replace(options, turn_format=replace(options.turn_format, with_score=True))
    last = len(case.trajectory.steps)
    is_last_judged = last == 0
    for sample in next_click.samples(case, scored):
        is_last_judged |= sample.columns["step"] == last
        yield sample
    if not is_last_judged:
        asking = replace(options.seen_turn_format, prompt=options.score_prompt)
        answer = render_predicted_iou(iou_before(case.trajectory, last))
        yield Sample((Turn(shown_before(case.trajectory, last), asking, answer),), {"step": last})
