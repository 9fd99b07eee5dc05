"""Reopen a finished run: its manifest, and the data set it was made from."""

from __future__ import annotations

from hlmat.export.runs.manifest import Manifest, read_manifest
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import DATASETS, open_reader
from hlmat.transforms.readers.shapes.options import ShapesOptions


def read_run_manifest(out: str) -> Manifest:
    """Read the manifest of a finished run.

    Raises:
        DataError: `out` holds no finished run.
    """
    return read_manifest(storage_for(out), out)


def open_source(manifest: Manifest, *, data_root: str | None) -> DatasetReader:
    """Open the data set that a run was made from, for its images.

    Args:
        data_root: where the data set is now; None takes the root named in the manifest.

    Raises:
        ConfigError: the manifest names no data root and none is given.
        LayoutError: the data set is not there.
    """
    config = manifest.config
    root = data_root or manifest.source.get("data_root")
    name = config["dataset"]
    if root is None and name in DATASETS and DATASETS[name].needs_data_root:
        raise ConfigError([f"--data-root is missing: the run does not record the root of {name}"])
    shapes = config.get("shapes")
    return open_reader(
        name,
        ReaderOptions(
            data_root=root,
            split=config["split"],
            storage=storage_for(root),
            split_by=config["split_by"],
            annotations=config["annotations"],
            mask_values=config.get("mask_values"),
            columns=config.get("columns"),
            follow_links=bool(manifest.source.get("follow_links")),
            shapes=ShapesOptions(**shapes) if shapes else ShapesOptions(),
        ),
    )
