"""The functions to program with; `from hlmat import ...` gives all of them.

They call what the command line calls, with plain arguments in place of settings objects.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.protocols import ClickPolicy, DatasetReader, Image, Mask, Segmenter
from hlmat.transforms.core.records import Provenance, Reject, Target, TargetRef, Trajectory
from hlmat.transforms.masks.rle import decode_rle, encode_mask

if TYPE_CHECKING:
    from hlmat.export.llama_factory.options import LlamaFactoryOptions


def open_dataset(
    name: str,
    root: str | None = None,
    *,
    split: str | None = None,
    annotations: str | None = None,
    follow_links: bool = False,
) -> DatasetReader:
    """Open a data set by its name.

    Args:
        name: as `hlmat trajectories --dataset` takes it; `docs/datasets.md` lists them.
        root: folder or URL of the data; generated data needs none.
        split: the data set's own name of a split; None takes its default.
        annotations: the JSON file of `coco` and `trace`, relative to `root`.
        follow_links: read files that a link in `root` leads to elsewhere.

    Returns:
        A reader: `read_targets()` yields a `TargetRef` or a `Reject` per entry, without opening an
        image; `load_target` reads one.

    Raises:
        ConfigError: no such data set or split.
        DataError: the data is not laid out as expected.

    >>> reader = open_dataset("shapes")
    >>> reader.name, reader.split
    ('shapes', 'train')
    """
    from hlmat.transforms.readers.options import ReaderOptions
    from hlmat.transforms.readers.registry import open_reader

    return open_reader(
        name,
        ReaderOptions(
            data_root=root,
            split=split,
            annotations=annotations,
            follow_links=follow_links,
            storage=_storage_for(root),
        ),
    )


def load_target(reader: DatasetReader, ref: TargetRef | Reject) -> tuple[Image, Target]:
    """Read the image and the ground truth of a listed target.

    Returns:
        The image, uint8 RGB of shape (H, W, 3), and the target.

    Raises:
        DataError: the entry is a reject.
        TargetError: image or mask cannot be read.

    >>> reader = open_dataset("shapes")
    >>> image, target = load_target(reader, next(iter(reader.read_targets())))
    >>> image.shape, image.dtype
    ((240, 320, 3), dtype('uint8'))
    """
    if isinstance(ref, Reject):
        raise DataError(f"{ref.ref.target_id} was rejected ({ref.reason}): {ref.message}")
    masks = reader.load_truth(ref)
    height, width = masks.truth.shape
    image = reader.load_image(ref.image_path, size_hw=(height, width))
    ignore = None if masks.ignore is None else encode_mask(masks.ignore)
    return image, Target(ref, encode_mask(masks.truth), ignore)


def build_target(
    truth: Mask,
    *,
    expressions: Sequence[str] = ("object",),
    ignore: Mask | None = None,
    target_id: str = "target",
    image_path: str = "image.png",
) -> Target:
    """Build a target from a ground-truth mask.

    Args:
        truth: bool, not empty. Shape: (H, W).
        expressions: texts that name the object; at least one.
        ignore: pixels that count neither as object nor as background. Shape: (H, W).
        target_id: names the target among others.
        image_path: names the image.

    Raises:
        ValueError: the mask is empty or not bool, or there is no expression.

    >>> truth = np.zeros((4, 6), dtype=bool)
    >>> truth[1:3, 2:5] = True
    >>> build_target(truth, expressions=["the bar"]).size_hw
    (4, 6)
    """
    for mask in (truth, truth if ignore is None else ignore):
        if mask.dtype != np.bool_ or mask.shape != truth.shape or mask.ndim != 2:
            raise ValueError(
                f"masks must be bool of one shape (H, W), got {mask.dtype} {mask.shape}"
            )
    if not truth.any():
        raise ValueError("the ground truth is empty: there is no object to click on")
    if not expressions or not all(text.strip() for text in expressions):
        raise ValueError(f"expressions must be at least one text, none blank, got {expressions!r}")
    ref = TargetRef(
        target_id=target_id,
        dataset="memory",
        split="",
        image_path=image_path,
        image_name=image_path,
        image_id=None,
        object_id=0,
        expressions=tuple(expressions),
        truth_ref=json.dumps({}),
        license="",
    )
    return Target(ref, encode_mask(truth), None if ignore is None else encode_mask(ignore))


def load_segmenter(
    name: str = "graphcut",
    *,
    checkpoint: str | None = None,
    device: str = "auto",
    **arguments: Any,
) -> Segmenter:
    """Load an interactive segmentation tool.

    Args:
        name: `graphcut`, `sam`, `hf`, `simpleclick`, or `package.module:Class` of your own.
        checkpoint: file or folder of its weights; `graphcut` needs none.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        arguments: further settings of the tool, or arguments of your class.

    Raises:
        ConfigError: no such tool, or it cannot be loaded.

    >>> segmenter = load_segmenter("graphcut")
    >>> segmenter.set_image(np.zeros((32, 32, 3), dtype=np.uint8))
    """
    from hlmat.transforms.segmenters.registry import SegmenterOptions
    from hlmat.transforms.segmenters.registry import load_segmenter as load

    return load(
        SegmenterOptions(
            name=name,
            checkpoint=checkpoint,
            device=device,
            arguments=arguments,
            storage=_storage_for(checkpoint),
        )
    )


def roll_out(
    target: Target,
    image: Image,
    *,
    segmenter: Segmenter,
    policy: ClickPolicy | None = None,
    max_clicks: int = 5,
    target_iou: float | None = 0.98,
    stop_on_no_gain: bool = True,
) -> Trajectory:
    """Click on one target until a stop rule ends the trajectory.

    Args:
        target: from `build_target` or `load_target`.
        image: uint8 RGB of the target's size. Shape: (H, W, 3).
        segmenter: answers each click with a mask.
        policy: chooses each click; None takes the oracle, which knows the ground truth.
        max_clicks: end after so many clicks.
        target_iou: end at this IoU; None never ends for it.
        stop_on_no_gain: end at the first click that does not raise the best IoU, unrecorded.

    Raises:
        SegmenterError: the segmenter failed.
        ValueError: the image is not of the target's size, or a limit is out of range.

    >>> truth = np.zeros((48, 64), dtype=bool)
    >>> truth[10:40, 20:50] = True
    >>> image = np.where(truth[..., None], (200, 60, 40), (30, 90, 160)).astype(np.uint8)
    >>> trajectory = roll_out(build_target(truth), image, segmenter=load_segmenter("graphcut"))
    >>> trajectory.num_clicks, trajectory.final_iou, trajectory.stop_reason.value
    (1, 1.0, 'reached_iou')
    """
    from hlmat.transforms.policies.oracle import OraclePolicy
    from hlmat.transforms.rollout.episode import Episode, Limits
    from hlmat.transforms.rollout.loop import roll_out as roll_out_episode

    if image.shape != (*target.size_hw, 3) or image.dtype != np.uint8:
        raise ValueError(
            f"the image must be uint8 of shape {(*target.size_hw, 3)}, got {image.dtype} "
            f"{image.shape}"
        )
    policy = policy or OraclePolicy()
    ignore = None if target.ignore is None else decode_rle(target.ignore)
    return roll_out_episode(
        Episode(target, decode_rle(target.truth), ignore),
        image=image,
        segmenter=segmenter,
        policy=policy,
        limits=Limits(
            max_clicks=max_clicks, target_iou=target_iou, stop_on_no_gain=stop_on_no_gain
        ),
        provenance=Provenance(
            segmenter=type(segmenter).__name__,
            weights_sha256="",
            policy=getattr(policy, "name", type(policy).__name__),
            seed=0,
            config_fingerprint="",
        ),
    )


def read_trajectories(out: str) -> Iterator[Trajectory]:
    """Read the trajectories of a finished run in their order, checking every file's sha256.

    Args:
        out: the run's output folder, a path or a URL.

    Raises:
        DataError: there is no finished run, or a file is not as the manifest lists it.

    >>> next(read_trajectories("/no/such/folder"))
    Traceback (most recent call last):
    hlmat.transforms.core.errors.DataError: ...
    """
    from hlmat.export.runs.trajectories import read_trajectories as read

    return read(_storage_for(out), out)


def training_rows(
    trajectories: Iterable[Trajectory],
    *,
    task: str = "next-click",
    options: LlamaFactoryOptions | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a LLaMA-Factory data set (ShareGPT form), images named but not written.

    `hlmat export --format llama-factory` writes the same rows with their images.

    Args:
        trajectories: those of one image one after another.
        task: what is learned, as `hlmat export --task` names it.
        options: how samples are made; None takes the defaults.

    Raises:
        ConfigError: no such task.

    >>> truth = np.zeros((48, 64), dtype=bool)
    >>> truth[10:40, 20:50] = True
    >>> image = np.where(truth[..., None], (200, 60, 40), (30, 90, 160)).astype(np.uint8)
    >>> target = build_target(truth, expressions=["the red square"])
    >>> (row,) = training_rows([roll_out(target, image, segmenter=load_segmenter())])
    >>> row["messages"][1]["content"]
    'Positive point: (0.539, 0.510)'
    """
    from hlmat.export.llama_factory.options import LlamaFactoryOptions as Options
    from hlmat.export.llama_factory.rows import rows_of
    from hlmat.export.llama_factory.samples import cases_of
    from hlmat.export.llama_factory.tasks.registry import training_task

    options = options or Options()
    chosen = training_task(task)
    for case in cases_of(trajectories):
        yield from rows_of(chosen, case, options)


def _storage_for(path: str | None) -> Any:
    """Return what reaches a path; only a URL needs Beam's file systems."""
    if path is not None and "://" in path:
        from hlmat.transforms.core.url_storage import storage_for

        return storage_for(path)
    from hlmat.transforms.core.storage import LocalStorage

    return LocalStorage()
