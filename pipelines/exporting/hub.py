"""`hlmat export --format hub`: finished runs as a data set for the Hugging Face Hub."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from hlmat.export.hub.card import LICENSE_FILE, render_card, render_terms
from hlmat.export.hub.croissant import croissant_json
from hlmat.export.hub.declared_license import DeclaredLicense, read_declared_license
from hlmat.export.hub.facts import (
    STATES,
    TRAJECTORIES,
    Publication,
    PublishedFile,
    SourceTerms,
    hub_split,
)
from hlmat.export.hub.state_rows import StateRows
from hlmat.export.image_tables.layout import TableLayout
from hlmat.export.image_tables.merge import TableCounts
from hlmat.export.image_tables.unit_tables import TableRecord
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.runs.manifest import Manifest
from hlmat.pipelines.exporting.exclusion import excluded_setting, excluded_targets
from hlmat.pipelines.exporting.execution import paths_by_flag
from hlmat.pipelines.exporting.folder import TableFolder
from hlmat.pipelines.exporting.hub_trajectories import publish_trajectories
from hlmat.pipelines.exporting.tables import (
    TableExportRequest,
    TableRun,
    digest_of,
    export_tables,
)
from hlmat.pipelines.run.finished import read_run_manifest
from hlmat.pipelines.settings.export_options import ExportOptions, Running
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.prompting.overlay import colour_rgb
from hlmat.transforms.prompting.rendering import StateView
from hlmat.transforms.readers.terms import LICENSES, ImageRights, image_rights

HUB = "hub"
CARD, CROISSANT, CHECKSUMS = "README.md", "croissant.json", "SHA256SUMS"

HUB_VERSION = 2
"""Of the files of a data set: it changes with what the same settings write."""

_NAMES = (CROISSANT, CHECKSUMS, LICENSE_FILE)


def export_hub(
    asked: ExportOptions, manifest: Manifest, options: LlamaFactoryOptions, running: Running
) -> dict[str, Any]:
    """Export runs as a data set for the Hub; errors as `export_run`."""
    out = str(asked.out)
    runs = _runs(asked, manifest)
    declared = None if asked.license is None else read_declared_license(asked.license)
    sources = _sources(runs, asked.images, declared)
    terms = {
        (source.name, LICENSES[source.name]): source.terms
        for source in sources
        if source.declared is not None
    }
    published = frozenset(source.name for source in sources if source.has_images)
    runs = [
        TableRun(
            run.out,
            run.manifest,
            run.split,
            run.data_root,
            needs_images=not published.isdisjoint(_terms(run.manifest)),
        )
        for run in runs
    ]
    name = running.fingerprint["name"] if "name" in running.given else _default_name(manifest)
    layout = TableLayout(out, CARD, (STATES, TRAJECTORIES), _NAMES)
    folder = TableFolder.of(layout, format=HUB)

    excluded = excluded_targets(asked, manifest, others=asked.also)
    date = asked.date or (None if running.overwrite else folder.earlier("date"))
    date = date or datetime.now(UTC).date().isoformat()

    def finish(records: Sequence[TableRecord]) -> bytes:
        facts = Publication(
            name=name,
            runs={run.split: run.manifest.config for run in runs},
            counts={run.split: run.manifest.counts for run in runs},
            sources=sources,
            states=_by_split(runs, records),
            trajectories={
                run.split: publish_trajectories(
                    run.files, folder, split=run.split, excluded=excluded, terms=terms
                )
                for run in runs
            },
            drawn=_drawn(options.view),
            version=version("hlmat"),
            date=date,
        )
        description = _description(facts)
        write = folder.storage.write_bytes
        write(layout.path(CROISSANT), croissant_json(facts, description=description))
        write(layout.path(CHECKSUMS), _checksums(facts))
        write(layout.path(LICENSE_FILE), render_terms(facts))
        return render_card(facts)

    counts = export_tables(
        TableExportRequest(
            runs=runs,
            form=StateRows(options, published, terms),
            options=options,
            folder=folder,
            rows_in=STATES,
            settings={
                **running.fingerprint,
                "format": HUB,
                "unit_size": running.unit_size,
                "run": digest_of(runs[0].manifest),
                "also": [digest_of(run.manifest) for run in runs[1:]],
                "name": name,
                "images": sorted(published),
                "date": date,
                "version": HUB_VERSION,
                **({} if declared is None else {"license": declared.identity()}),
                **excluded_setting(excluded),
            },
            why_none="each ended before a click",
            finish=finish,
            excluded=excluded,
        ),
        running,
        paths={
            **paths_by_flag(asked, manifest),
            **{f"--also {each}": each for each in asked.also},
        },
    )
    left_out = [source.name for source in sources if not source.has_images]
    return {
        "written": out,
        "data set": name,
        "splits": ", ".join(run.split for run in runs),
        **TableCounts(**counts).report(),
        **({"images left out": _why_left_out(left_out, images=asked.images)} if left_out else {}),
    }


def _runs(asked: ExportOptions, manifest: Manifest) -> list[TableRun]:
    """Return the runs, each with the name of its split on the Hub."""
    found: dict[str, TableRun] = {}
    problems: list[str] = []
    first = (str(asked.run_folder), manifest, asked.data_root)
    others = [(out, read_run_manifest(out), None) for out in asked.also]
    for out, each, data_root in [first, *others]:
        split = hub_split(each.config["split"])
        if split in found:
            problems.append(
                f"--also {out}: its split {each.config['split']!r} would be {split!r}, as that of "
                f"{found[split].out}; a data set for the hub has one run for each split: export "
                "this one to another --out"
            )
        found.setdefault(split, TableRun(out, each, split, data_root))
    if problems:
        raise ConfigError(problems)
    return list(found.values())


def _sources(
    runs: Sequence[TableRun], images: str, declared: DeclaredLicense | None
) -> list[SourceTerms]:
    """Return the data sets behind runs, their terms, and whether their images are included."""
    terms = {name: text for run in runs for name, text in sorted(_terms(run.manifest).items())}
    # Terms that the files of a data set name themselves are not the publisher's to declare.
    own = [
        name
        for name, text in terms.items()
        if image_rights(name) is ImageRights.OWN and text == LICENSES.get(name)
    ]
    problems = []
    if declared is not None and not own:
        problems.append(
            f"--license: it is for data of your own, but those of {', '.join(terms)} have terms "
            "already; leave it out"
        )
    included = {
        "auto": {ImageRights.GRANTED},
        "all": {ImageRights.GRANTED, ImageRights.OWN},
        "none": set[ImageRights](),
    }[images]
    if images == "all" and (
        refused := [n for n in terms if image_rights(n) is ImageRights.NOT_GRANTED]
    ):
        problems.append(
            f"--images all: no license lets the images of {', '.join(refused)} be published; "
            "leave the flag out: the card then says where they come from and how to add them"
        )
    elif images == "all" and own and declared is None:
        problems.append(
            f"--images all: the license of {', '.join(own)} is not known; declare it with "
            "--license, as the Hub names it, such as cc-by-4.0, or as a file with your terms"
        )
    if problems:
        raise ConfigError(problems)
    return [
        SourceTerms(
            name,
            text if declared is None or name not in own else declared.title,
            image_rights(name) in included,
            declared if name in own else None,
        )
        for name, text in terms.items()
    ]


def _terms(manifest: Manifest) -> Mapping[str, str]:
    """Return the terms of each data set with rows in a run."""
    dataset = manifest.config["dataset"]
    return manifest.source.get("licenses") or {dataset: LICENSES.get(dataset, "unknown")}


def _default_name(manifest: Manifest) -> str:
    dataset = str(manifest.config["dataset"]).replace("+", "-plus")
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', dataset).strip('-')}-click-trajectories"


def _drawn(view: StateView) -> dict[str, Any]:
    """Return how states are drawn, as the card states it."""
    bounds = [
        f"{flag} {value}"
        for flag, value in (("--max-side", view.max_side), ("--max-pixels", view.max_pixels))
        if value is not None
    ]
    return {
        "opacity": view.opacity,
        "rgb": colour_rgb(view.colour),
        "reduced": ", ".join(bounds),
    }


def _by_split(
    runs: Sequence[TableRun], records: Sequence[TableRecord]
) -> dict[str, list[PublishedFile]]:
    found: dict[str, list[PublishedFile]] = {run.split: [] for run in runs}
    for each in records:
        split = each.name.partition("/")[2].rsplit("-", 3)[0]
        found[split].append(
            PublishedFile(each.name, each.rows, each.size_bytes, each.table_bytes, each.sha256)
        )
    return found


def _checksums(facts: Publication) -> bytes:
    """Return the file that `sha256sum -c` reads."""
    return "".join(f"{file.sha256}  {file.name}\n" for file in facts.files).encode("ascii")


def _description(facts: Publication) -> str:
    names = ", ".join(source.name for source in facts.sources)
    return (
        f"Simulated annotation of {names}: at each step a click, the mask with which an "
        "interactive segmentation tool answers, and its IoU with the ground truth. Made with "
        f"hlmat {facts.version}."
    )


def _why_left_out(names: Sequence[str], *, images: str) -> str:
    named = ", ".join(names)
    if images == "none":
        return f"{named}: as --images none asks"
    if all(image_rights(name) is ImageRights.OWN for name in names):
        return f"{named}: if you may publish them, pass --images all and --license"
    return f"{named}: no license lets them be published"
