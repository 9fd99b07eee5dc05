"""The card of a published data set: README.md with the Hub's metadata, and LICENSE.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from hlmat.export.hub.facts import STATES, TRAJECTORIES, Publication, PublishedFile
from hlmat.export.hub.state_rows import COLUMNS
from hlmat.export.runs.data_card import cell, citation_section, settings_rows

LICENSE_NAME = "terms-of-each-source"
LICENSE_FILE = "LICENSE.md"

_JOIN = """\
import os

import numpy as np
from datasets import Image, load_dataset
from PIL import Image as Images

ROOTS = {roots}
states = load_dataset("{name}", "states", split="{split}")


def join(row):
    path = os.path.join(ROOTS[row["dataset"]], row["image_path"])
    image = Images.open(path).convert("RGB")
    pixels = np.asarray(image).astype(float)
    mask = np.asarray(row["mask"].convert("L")) > 0
    pixels[mask] = {rest} * pixels[mask] + {opacity} * np.array({rgb})
    state = Images.fromarray(np.rint(pixels).astype(np.uint8))
    return {{"image": image, "state": state}}


features = states.features.copy()
features["image"] = features["state"] = Image()
states = states.map(join, features=features)
"""


def hub_metadata(facts: Publication) -> dict[str, Any]:
    """Return the metadata that the Hub reads from a card, as its documentation defines them."""
    is_original = all(source.is_original for source in facts.sources)
    license_fields: dict[str, Any] = {"license": facts.license_id}
    if facts.license_id == "other":
        license_fields |= {"license_name": LICENSE_NAME, "license_link": LICENSE_FILE}
    tables = {STATES: facts.states, TRAJECTORIES: facts.trajectories}
    return {
        "pretty_name": facts.name,
        **license_fields,
        "task_categories": ["image-segmentation", "mask-generation", "image-text-to-text"],
        "tags": ["interactive-segmentation", "click-trajectories"],
        "size_categories": [facts.size_category],
        "annotations_creators": ["machine-generated"],
        "source_datasets": ["original" if is_original else "extended"],
        "dataset_info": [{"config_name": name, **_sizes(table)} for name, table in tables.items()],
        "configs": [
            {
                "config_name": name,
                **({"default": True} if name == STATES else {}),
                "data_files": [
                    {"split": split, "path": f"{name}/{split}-*.parquet"} for split in table
                ],
            }
            for name, table in tables.items()
        ],
    }


def render_card(facts: Publication) -> bytes:
    """Return README.md; the same facts give the same bytes."""
    metadata = yaml.safe_dump(hub_metadata(facts), sort_keys=False, allow_unicode=True)
    body = "".join(f"{line}\n" for line in _body(facts))
    return f"---\n{metadata}---\n\n{body}".encode()


def render_terms(facts: Publication) -> bytes:
    """Return LICENSE.md: the terms of every source."""
    lines = ["# Terms", "", *_terms(facts)]
    for source in facts.sources:
        if source.declared is not None and source.declared.terms:
            lines += ["", f"## Terms of {cell(source.name)}", "", source.declared.terms]
    return "".join(f"{line}\n" for line in lines).encode()


def _sizes(table: Mapping[str, Sequence[PublishedFile]]) -> dict[str, Any]:
    splits = [
        {
            "name": split,
            "num_bytes": sum(file.table_bytes for file in files),
            "num_examples": sum(file.rows for file in files),
        }
        for split, files in table.items()
    ]
    files = [file for each in table.values() for file in each]
    return {
        "splits": splits,
        "download_size": sum(file.size_bytes for file in files),
        "dataset_size": sum(split["num_bytes"] for split in splits),
    }


def _body(facts: Publication) -> Iterator[str]:
    yield f"# {cell(facts.name)}"
    yield ""
    yield "Simulated annotation: at each step a click, the mask with which an interactive"
    yield "segmentation tool answers, and its IoU with the ground truth. Clicks and masks are made"
    yield f"by software (hlmat {facts.version}); images, expressions and ground truth come from the"
    yield "data sets listed under [Terms](#terms)."
    yield from (
        "",
        "## Content",
        "",
        "| split | table | rows | files | bytes |",
        "|---|---|---|---|---|",
    )
    for name, table in ((STATES, facts.states), (TRAJECTORIES, facts.trajectories)):
        for split, files in table.items():
            rows, size = sum(f.rows for f in files), sum(f.size_bytes for f in files)
            yield f"| {cell(split)} | `{name}` | {rows} | {len(files)} | {size} |"
    yield from (
        "",
        f"`{STATES}` has one row for each state in which an action was chosen:",
        "",
        "| column | content |",
        "|---|---|",
    )
    yield from (f"| `{name}` | {meaning} |" for name, _, meaning in COLUMNS)
    yield from (
        "",
        f"`{TRAJECTORIES}` has one row for each target: all steps, with masks as COCO run lengths",
        '(`pycocotools.mask.decode({"counts": ..., "size": [height, width]})`). The description of',
        "each of its columns is in the metadata of the Parquet files.",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        f'states = load_dataset("{facts.name}", "{STATES}", split="{next(iter(facts.states))}")',
        "```",
        "",
        "`SHA256SUMS` lists every file of the tables: `sha256sum -c SHA256SUMS`.",
    )
    yield from ("", "## How it was made")
    for split, config in facts.runs.items():
        counts = facts.counts[split]
        yield from ("", f"### {cell(split)}", "", "| | |", "|---|---|")
        yield f"| source | {cell(config['dataset'])}, split {cell(config['split'])} |"
        published = sum(file.rows for file in facts.trajectories[split])
        yield f"| trajectories | {published} of {counts['targets']} targets |"
        if left_out := counts["trajectories"] - published:
            yield f"| trajectories left out by flags | {left_out} |"
        yield from settings_rows(config)
    yield from ("", "## Terms", "", *_terms(facts))
    if not facts.has_all_images:
        yield from _how_to_join(facts)
    yield from ("", *citation_section(facts.cited_sources, facts.segmenters))


def _terms(facts: Publication) -> Iterator[str]:
    yield "| data set | terms | images | source |"
    yield "|---|---|---|---|"
    for source in facts.sources:
        images = "included" if source.has_images else "left out"
        origin = f"<{source.origin}>" if "://" in source.origin else cell(source.origin)
        terms = cell(source.terms)
        if source.declared is not None and source.declared.url:
            terms = f"[{terms}]({source.declared.url})"
        yield f"| {cell(source.name)} | {terms} | {images} | {origin} |"
    yield ""
    yield "Redistribution must comply with the terms of every data set listed."


def _how_to_join(facts: Publication) -> Iterator[str]:
    left_out = [source for source in facts.sources if not source.has_images]
    split = next(iter(facts.states))
    yield from (
        "",
        "## How to add the images",
        "",
        f"The images of {', '.join(cell(source.name) for source in left_out)} are not in this data",
        "set: `image` and `state` are null. Download them from their source; `image_path` is",
        "relative to the folder below. `state` is the image with `mask` over it:",
        "",
        "```python",
    )
    roots = {source.name: f"/data/{source.name}" for source in left_out}
    shown = facts.drawn
    text = _JOIN.format(
        roots=roots,
        name=facts.name,
        split=split,
        opacity=shown["opacity"],
        rest=round(1 - shown["opacity"], 6),
        rgb=tuple(shown["rgb"]),
    )
    yield from text.rstrip("\n").split("\n")
    yield "```"
    if shown["reduced"]:
        yield ""
        yield f"Here states were also reduced in size ({cell(shown['reduced'])}) after drawing."
