"""The task `multi-turn`: a trajectory as one conversation with an image in each turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.samples import Case, Sample
from hlmat.export.llama_factory.tasks.next_click import decision_turn, decisions


def samples(case: Case, options: LlamaFactoryOptions) -> Iterator[Sample]:
    """Yield a target's conversation, if it has a decision.

    The first turn asks the question; later ones only show the new state.
    """
    turn_format = options.seen_turn_format
    made = list(decisions(case.trajectory, turn_format.offer))
    turns = [decision_turn(case.trajectory, decision, turn_format) for decision in made]
    if turns:
        later = (replace(turn, turn_format=None) for turn in turns[1:])
        yield Sample((turns[0], *later), {"steps": [decision.step for decision in made]})
