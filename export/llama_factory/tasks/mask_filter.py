"""The task `filter`: candidate masks and their IoU, spread evenly over the whole range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.sample_options import MAX_CANDIDATES
from hlmat.export.llama_factory.samples import Case, Sample, Shown, Turn, shown_before
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.masks.corruption import corrupted_to_iou
from hlmat.transforms.masks.rle import decode_rle, encode_mask, rle_area
from hlmat.transforms.prompting.predicted_iou import render_predicted_iou

# Each tenth of the range is used at most once; the last one includes 1.
_BINS = MAX_CANDIDATES


def samples(case: Case, options: LlamaFactoryOptions) -> Iterator[Sample]:
    """List a target's candidates, each from a different tenth of the IoU range.

    The tenths are drawn first, so that all are equally frequent over many targets. Each takes a
    mask of the trajectory or else a corruption of the truth; if the object is too small for both,
    it stays empty. A target without an object has no candidates.
    """
    target = case.trajectory.target
    if not rle_area(target.truth):
        return
    provenance = case.trajectory.provenance
    rng = target_rng(provenance.seed, target.ref.target_id, "filter")
    truth = decode_rle(target.truth)
    ignore = None if target.ignore is None else decode_rle(target.ignore)
    asking = replace(options.seen_turn_format, prompt=options.score_prompt)
    for number in rng.permutation(_BINS)[: options.candidates]:
        found = _of_the_trajectory(case, int(number), rng) or _corrupted(
            truth, ignore, int(number), rng
        )
        if found is not None:
            shown, source, iou = found
            turn = Turn(shown, asking, render_predicted_iou(iou))
            yield Sample((turn,), {"mask": source, "iou": iou}, kind=bin_name(int(number)))


def bin_of(iou: float) -> int:
    """Return which tenth of [0, 1] an IoU belongs to, 0 to 9; 1 belongs to the last."""
    return min(int(iou * _BINS), _BINS - 1)


def bin_name(number: int) -> str:
    """Return a tenth's range in percent.

    >>> bin_name(8)
    '80-90'
    """
    return f"{100 * number // _BINS}-{100 * (number + 1) // _BINS}"


def _of_the_trajectory(
    case: Case, number: int, rng: np.random.Generator
) -> tuple[Shown, str, float] | None:
    steps = case.trajectory.steps
    fitting = [
        k for k, step in enumerate(steps) if bin_of(step.iou) == number and rle_area(step.mask)
    ]
    if not fitting:
        return None
    step = fitting[int(rng.integers(len(fitting)))]
    return shown_before(case.trajectory, step + 1), f"after step {step}", steps[step].iou


def _corrupted(
    truth: Mask, ignore: Mask | None, number: int, rng: np.random.Generator
) -> tuple[Shown, str, float] | None:
    found = corrupted_to_iou(
        truth, low=number / _BINS, high=(number + 1) / _BINS, rng=rng, ignore=ignore
    )
    if found is None:
        return None
    shown = Shown(encode_mask(found.mask), bin_name(number))
    return shown, found.kind, found.iou
