"""Reopen a finished run: its manifest, and the data set it was made from."""

from __future__ import annotations

from hlmat.export.runs.manifest import Manifest, read_manifest
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.protocols import DatasetReader, Image
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.masks.images import decode_image
from hlmat.transforms.readers.files.confined_storage import ConfinedStorage
from hlmat.transforms.readers.files.images import read_below
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import DATASETS, open_reader
from hlmat.transforms.readers.shapes.options import ShapesOptions


def read_run_manifest(out: str) -> Manifest:
    """Read the manifest of a finished run.

    Raises:
        DataError: `out` has no finished run.
    """
    return read_manifest(storage_for(out), out)


def open_source(manifest: Manifest, *, data_root: str | None) -> DatasetReader:
    """Open the data set that a run was made from, for its images.

    Args:
        data_root: where the data set is now; None uses the root in the manifest.

    Raises:
        ConfigError: neither the manifest nor the caller gives a data root.
        LayoutError: the data set is missing.
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


def load_unsized_image(manifest: Manifest, image_path: str, *, data_root: str | None) -> Image:
    """Read an image whose mask does not give its size. Raises TargetError."""
    root = data_root or manifest.source.get("data_root") or ""
    storage = storage_for(root)
    if "://" not in root and not manifest.source.get("follow_links"):
        storage = ConfinedStorage(storage, root)
    data = read_below(
        storage,
        root,
        image_path,
        missing=RejectReason.MISSING_IMAGE,
        unreadable=RejectReason.UNREADABLE_IMAGE,
    )
    return decode_image(data, name=image_path)
