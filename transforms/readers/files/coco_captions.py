"""Expressions in COCO-like files: of annotations, or of images as MDETR writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.masks.rle import whole_number
from hlmat.transforms.readers.files.expressions import (
    clean_expressions,
    expressions_of,
    sentences_of,
)


def caption_texts(
    annotation: Mapping[str, Any], image: Mapping[str, Any], *, of_image: int, name: str
) -> tuple[str, ...]:
    """Return an annotation's expressions; () if the file has none.

    The annotation's own come first. MDETR (https://github.com/ashkamath/mdetr) repeats an image
    for each caption: `tokens_positive` are the spans of the phrase that names the annotation. In
    its files of the RefCOCO family the caption is the expression and the spans are only the
    syntactic root. A caption without spans belongs to the image's only annotation.

    Args:
        annotation: an entry of `annotations`.
        image: the entry of its image.
        of_image: number of annotations of the image's entry.
        name: of the annotation, for messages.

    Raises:
        TargetError: MALFORMED_ENTRY: the spans are not in the caption.
    """
    if own := expressions_of(annotation):
        return own
    caption = image.get("caption")
    if not isinstance(caption, str):
        return sentences_of(caption) if of_image == 1 else ()
    if not clean_expressions([caption]):
        return ()
    spans = annotation.get("tokens_positive")
    if "ref" in str(image.get("dataset_name", "")).casefold():
        return clean_expressions([caption])
    if spans:
        return clean_expressions([" ".join(caption[a:b] for a, b in _spans(spans, caption, name))])
    return clean_expressions([caption]) if of_image == 1 else ()


def _spans(spans: object, caption: str, name: str) -> list[tuple[int, int]]:
    found = []
    for span in spans if isinstance(spans, list) else [spans]:
        ends = [whole_number(end) for end in span] if isinstance(span, list | tuple) else []
        match ends:
            case [int(start), int(end)] if 0 <= start < end <= len(caption):
                found.append((start, end))
            case _:
                raise TargetError(
                    RejectReason.MALFORMED_ENTRY,
                    f"{name} has the tokens_positive {spans!r:.80}, expected pairs of places in "
                    f"the {len(caption)} characters of its image's caption",
                )
    return sorted(found)
