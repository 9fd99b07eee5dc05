"""The data card of a run: what the data is, how it was made, its license terms, what to cite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hlmat.export.runs.citation import citation_texts
from hlmat.transforms.core.visible_text import visible
from hlmat.transforms.readers.sources import SOURCES
from hlmat.transforms.readers.terms import ImageRights, image_rights

_RIGHTS = {
    ImageRights.GRANTED: "yes",
    ImageRights.OWN: "as those of the files",
    ImageRights.NOT_GRANTED: "none known",
}

_SETTINGS = {
    "policy": "clicks by",
    "initial_action": "before the first click",
    "max_clicks": "clicks at most",
    "target_iou": "ends at IoU",
    "stop_on_no_gain": "ends at a click without gain",
    "seed": "seed",
    "limit": "only the first targets",
    "partition": "part of the data set",
    "min_area": "masks of at least (pixels)",
    "max_area": "masks of at most (pixels)",
}


def render_data_card(
    *, config: Mapping[str, Any], counts: Mapping[str, Any], licenses: Mapping[str, str]
) -> str:
    """Return the card as Markdown; the same arguments give the same text.

    Args:
        config: the run's configuration, as in its manifest.
        counts: as in its manifest.
        licenses: the terms by name of the data set that a row belongs to.
    """
    lines = [
        f"# Click trajectories on {cell(config['dataset'])} ({cell(config['split'])})",
        "",
        "Simulated annotation: at each step a click, the mask with which an interactive",
        "segmentation tool answers, and its IoU with the ground truth. Clicks and masks are made",
        "by software; expressions and ground truth come from the data sets below. No image is",
        "included.",
        "",
        "| | |",
        "|---|---|",
        f"| trajectories | {counts['trajectories']} of {counts['targets']} targets |",
        *settings_rows(config),
    ]
    lines += ["", "## Terms", ""]
    lines += ["| data set | terms | right to publish images | source |", "|---|---|---|---|"]
    lines += [_source(name, terms) for name, terms in sorted(licenses.items())]
    lines += ["", "Redistribution must comply with the terms of every data set listed.", ""]
    lines += [*citation_section(sorted(licenses), [config["segmenter"]]), ""]
    return "\n".join(lines)


def citation_section(datasets: Sequence[str], segmenters: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the section of a card that says what to cite, as lines of Markdown.

    Args:
        datasets: names as of `--dataset`, without those whose data is the publisher's own.
        segmenters: identities, as runs' configurations have them.
    """
    texts = citation_texts(datasets, segmenters)
    return ["## Citation", "", *(f"- {cell(text)}" for text in texts)]


def settings_rows(config: Mapping[str, Any]) -> list[str]:
    """Return how a run was made, as rows of a table.

    Args:
        config: the run's configuration, as in its manifest.
    """
    segmenter = config["segmenter"]
    lines = [f"| segmenter | {cell(segmenter['name'])} |"]
    if segmenter.get("weights_sha256"):
        lines.append(f"| weights (sha256) | {cell(segmenter['weights_sha256'])} |")
    lines += [
        f"| {label} | {cell(config[key])} |"
        for key, label in _SETTINGS.items()
        if config.get(key) is not None
    ]
    for step in config.get("derived") or ():
        made_of = ", ".join(str(digest)[:12] for digest in step.get("from", ()))
        lines.append(f"| then | {cell(step.get('by'))} of run {cell(made_of)} |")
    return lines


def _source(name: str, terms: str) -> str:
    origin = SOURCES[name].origin if name in SOURCES else "unknown"
    shown = f"<{origin}>" if "://" in origin else cell(origin)
    return f"| {cell(name)} | {cell(terms)} | {_RIGHTS[image_rights(name)]} | {shown} |"


def cell(value: Any) -> str:
    """Return a value as text that cannot break out of a table cell or become markup."""
    text = visible(" ".join(str(value).split()))
    for character in "\\|`*_<>[]#":
        text = text.replace(character, "\\" + character)
    return text
