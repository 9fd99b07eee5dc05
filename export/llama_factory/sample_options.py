"""Options of a training task's samples and of the files of its data set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from hlmat.transforms.core.options import options, setting

MAX_CANDIDATES = 10

FOREIGN_MASKS = ("box", "polygon", "shrunk", "grown", "cut", "shifted", "discs", "neighbour")
"""Kinds of foreign masks: the object's box, its outline with few corners, the object eroded,
dilated, cut along a line or shifted, random discs on it, another object of the image."""


@options
class SampleOptions:
    """The number of samples, and their files.

    Attributes:
        candidates: masks to score per target, each from a different tenth of the IoU range.
        foreign_masks: kinds of masks to correct.
        foreign_count: masks to correct per target, each of another kind; None for one of each kind.
        min_margin: IoU by which a preferred click must be better, and by more than 0.
        expressions: "each" makes samples for each expression of a target, "first" for one.
        name: of the data set in dataset_info.json, and of its JSON file.
    """

    candidates: int = setting(
        default=5,
        ge=1,
        le=MAX_CANDIDATES,
        help=f"filter: masks per target, 1 to {MAX_CANDIDATES}",
    )
    foreign_masks: tuple[str, ...] = setting(
        default=FOREIGN_MASKS,
        metavar="M",
        choices=lambda: FOREIGN_MASKS,
        help=f"refine: masks to be corrected, with commas: {', '.join(FOREIGN_MASKS)} (all)",
    )
    foreign_count: int | None = setting(
        default=None,
        ge=1,
        metavar="N",
        help="refine: masks per target, of N kinds drawn from --foreign-masks (one of each)",
    )
    min_margin: float = setting(
        default=0.0, ge=0, le=1, help="preference: IoU by which the chosen click must be better"
    )
    expressions: Literal["each", "first"] = setting(
        default="each", help="expressions of a target that get samples"
    )
    image_format: Literal["jpg", "png"] = setting(
        default="jpg", metavar="F", help="format of the images"
    )
    jpeg_quality: int = setting(default=95, ge=1, le=100, help="quality of JPEG images")
    name: str = setting(
        default="next_click",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        metavar="N",
        help="a data set's name of letters, digits, '_' and '-'",
    )

    def conflicts(self) -> Iterator[str]:
        """Yield what is wrong with several values together."""
        names = self.foreign_masks
        if not names or len(set(names)) < len(names):
            yield "{foreign_masks}: name at least one kind, none twice"
        if self.foreign_count is not None and self.foreign_count > len(names):
            yield f"{{foreign_count}}: there are only {len(names)} kinds to draw from"
