"""The task `refine`: a mask from another source, and the oracle's click that corrects it."""

from __future__ import annotations

from collections.abc import Iterator

from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.samples import Case, Sample, Shown, Turn
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.masks.corruption import (
    box_mask,
    coarse_polygon,
    corrupted_to_iou,
    random_discs,
)
from hlmat.transforms.masks.rle import decode_rle, encode_mask, mask_iou, rle_area
from hlmat.transforms.oracle.click import oracle_click

_GRADED_IOU = (0.2, 0.95)


def samples(case: Case, options: LlamaFactoryOptions) -> Iterator[Sample]:
    """List a target's foreign masks, each with the click that corrects it.

    The masks are of the kinds `options.foreign_masks`, or of `options.foreign_count` of them drawn
    at random. A kind that gives no mask is left out, or replaced by another one that was not drawn.
    A target without an object has none.
    """
    target = case.trajectory.target
    if not rle_area(target.truth):
        return
    truth = decode_rle(target.truth)
    ignore = None if target.ignore is None else decode_rle(target.ignore)
    seed, target_id = case.trajectory.provenance.seed, target.ref.target_id
    kinds = options.foreign_masks
    wanted = len(kinds) if options.foreign_count is None else options.foreign_count
    if wanted < len(kinds):
        drawn = target_rng(seed, target_id, "refine").permutation(len(kinds))
        kinds = tuple(kinds[int(index)] for index in drawn)
    for kind in kinds:
        if not wanted:
            return
        mask = foreign_mask(kind, case, truth=truth, ignore=ignore)
        click = None if mask is None else oracle_click(mask, truth, ignore=ignore)
        if mask is None or click is None:
            continue
        wanted -= 1
        iou = mask_iou(mask, truth, ignore=ignore)
        turn_format = options.seen_turn_format
        answer = turn_format.answer(click, size_hw=target.size_hw, iou=iou)
        turn = Turn(Shown(encode_mask(mask), kind), turn_format, answer)
        yield Sample((turn,), {"mask": kind, "iou": iou}, kind=kind)


def foreign_mask(kind: str, case: Case, *, truth: Mask, ignore: Mask | None) -> Mask | None:
    """Return a mask that could be mistaken for a target's; None if it would equal the truth.

    Args:
        kind: one of `FOREIGN_MASKS`.
        truth: of the target. Shape: (H, W).
        ignore: of the target, or None. Shape: (H, W).
    """
    trajectory = case.trajectory
    seed, target_id = trajectory.provenance.seed, trajectory.target.ref.target_id
    rng = target_rng(seed, target_id, "refine", kind)
    match kind:
        case "box":
            return box_mask(truth)
        case "polygon":
            return coarse_polygon(truth, rng=rng)
        case "discs":
            return random_discs(truth, rng=rng)
        case "neighbour":
            others = [t.target.truth for t in case.neighbours]
            others = [o for o in others if o != trajectory.target.truth and rle_area(o)]
            return decode_rle(others[int(rng.integers(len(others)))]) if others else None
        case _:
            low, high = _GRADED_IOU
            found = corrupted_to_iou(
                truth, low=low, high=high, rng=rng, ignore=ignore, kinds=(kind,)
            )
            return None if found is None else found.mask
