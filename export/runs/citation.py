"""What to cite for the data of runs: the task, the data sets, the segmenters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hlmat.transforms.readers.citations import CITATIONS, CITATIONS_IN_FORMATS, METHOD
from hlmat.transforms.segmenters.citations import segmenter_citations


def references(datasets: Iterable[str], segmenters: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the references that are known, each once: task, data sets, segmenters.

    Args:
        datasets: names as of `--dataset`.
        segmenters: identities, as runs' configurations have them.
    """
    found = [text for name in datasets for text in CITATIONS.get(name, ())]
    found += [text for identity in segmenters for text in segmenter_citations(identity)]
    return [METHOD, *dict.fromkeys(found)]


def citation_texts(datasets: Sequence[str], segmenters: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what a card says on citing, one sentence each: references, and what has none here.

    Args:
        datasets: names as of `--dataset`, without those whose data is the publisher's own.
        segmenters: identities, as runs' configurations have them.
    """
    texts = [f"{text}." for text in references(datasets, segmenters)]
    texts += [
        _in_format(name, CITATIONS_IN_FORMATS[name])
        for name in dict.fromkeys(datasets)
        if name in CITATIONS_IN_FORMATS
    ]
    unknown = [each["name"] for each in segmenters if not segmenter_citations(each)]
    texts += [
        f"For the segmenter {name}: what its authors ask for." for name in dict.fromkeys(unknown)
    ]
    return texts


def _in_format(name: str, known: Mapping[str, str]) -> str:
    asked = f"For the data in the format {name}: what its authors ask for"
    return "; ".join([asked, *(f"for {data}, {text}" for data, text in known.items())]) + "."
