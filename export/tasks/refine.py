"""The task `refine`: a mask from elsewhere, and the oracle's click that mends it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from export.llama_factory_options import LlamaFactoryOptions
from export.training_samples import Case, Sample, Shown, Turn
from transforms.clicks import oracle_click
from transforms.mask_corruptions import (
    box_mask,
    coarse_polygon,
    corrupted_to_iou,
    random_discs,
)
from transforms.masks import decode_rle, encode_mask, mask_iou
from transforms.protocols import Mask
from transforms.randomness import target_rng

_GRADED_IOU = (0.5, 0.95)


def samples(case: Case, options: LlamaFactoryOptions) -> Iterator[Sample]:
    """List a target's foreign masks, each with the click; where a kind gives none it is left out.

    Which kinds is `options.foreign_masks`.
    """
    target = case.trajectory.target
    truth = decode_rle(target.truth)
    ignore = None if target.ignore is None else decode_rle(target.ignore)
    for kind, mask in foreign_masks(case, truth=truth, ignore=ignore):
        if kind not in options.foreign_masks:
            continue
        click = oracle_click(mask, truth, ignore=ignore)
        if click is None:
            continue
        iou = mask_iou(mask, truth, ignore=ignore)
        dialogue = options.seen_dialogue
        answer = dialogue.answer(click, size_hw=target.size_hw, iou=iou)
        turn = Turn(Shown(encode_mask(mask), kind), dialogue, answer)
        yield Sample((turn,), {"mask": kind, "iou": iou}, kind=kind)


def foreign_masks(case: Case, *, truth: Mask, ignore: Mask | None) -> Iterator[tuple[str, Mask]]:
    """List what a target's mask could be mistaken for, each kind once; none is the truth.

    Args:
        truth: of the target. Shape: (H, W).
        ignore: of the target, or None. Shape: (H, W).
    """

    def rng(kind: str) -> np.random.Generator:
        provenance = case.trajectory.provenance
        return target_rng(provenance.seed, case.trajectory.target.ref.target_id, "refine", kind)

    masks: dict[str, Mask | None] = {
        "box": box_mask(truth),
        "polygon": coarse_polygon(truth, rng=rng("polygon")),
    }
    low, high = _GRADED_IOU
    for kind in ("shrunk", "grown"):
        found = corrupted_to_iou(
            truth, low=low, high=high, rng=rng(kind), ignore=ignore, kinds=(kind,)
        )
        masks[kind] = None if found is None else found.mask
    masks["discs"] = random_discs(truth, rng=rng("discs"))
    others = [
        t.target.truth for t in case.neighbours if t.target.truth != case.trajectory.target.truth
    ]
    masks["neighbour"] = (
        decode_rle(others[int(rng("neighbour").integers(len(others)))]) if others else None
    )
    return ((kind, mask) for kind, mask in masks.items() if mask is not None)
