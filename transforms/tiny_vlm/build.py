"""Build the small base model, pre-train its vision tower and save it to a folder."""

from __future__ import annotations

from collections.abc import Callable

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.prompting.coordinates import build_codec
from hlmat.transforms.readers.shapes.scene import ShapesOptions
from hlmat.transforms.tiny_vlm.architecture import (
    TinyVlmArchitecture,
    build_tiny_vlm_model,
    build_tiny_vlm_processor,
    build_tiny_vlm_tokenizer,
)
from hlmat.transforms.tiny_vlm.localization import labelled_images
from hlmat.transforms.tiny_vlm.pretraining import (
    PretrainingOptions,
    PretrainingReport,
    pretrain_vision_tower,
)
from hlmat.transforms.torch_support.torchvision import ensure_importable

CODEC = build_codec("decimal", digits=2)
"""Codec of the click coordinates that the vision tower learns to predict."""


def build_tiny_vlm(
    folder: str,
    architecture: TinyVlmArchitecture,
    options: PretrainingOptions,
    *,
    images: ShapesOptions,
    held_out: ShapesOptions,
    device: str,
    report: Callable[[PretrainingReport], None],
) -> tuple[float, ...]:
    """Write model, tokenizer and processor into an existing folder.

    Args:
        folder: an existing folder; files of the same name are overwritten.
        architecture: size of the model.
        options: length and learning rate of the pre-training; 0 steps keeps random weights.
        images: scenes of the split "train", for training.
        held_out: scenes of the split "val", for the accuracy.
        device: "cpu", "cuda", "cuda:N", or "auto" for a GPU if available.
        report: called with each report on the pre-training.

    Returns:
        The accuracies of the last report, in [0, 1]; empty without pre-training.

    Raises:
        ConfigError: torch or transformers is not installed, or the device does not exist.
    """
    try:
        ensure_importable()
        import torch
        import transformers
    except ImportError as error:
        raise ConfigError(
            [
                f"the mini model needs torch and transformers ({error}); run "
                "`make install-train`, or pip install 'hlmat[train]'"
            ]
        ) from error
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError([f"--device {device}: torch sees no CUDA device; use --device cpu"])
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(options.seed)
    tokenizer = build_tiny_vlm_tokenizer()
    model = build_tiny_vlm_model(architecture, tokenizer).to(device)
    processor = build_tiny_vlm_processor(architecture, tokenizer)
    last: list[PretrainingReport] = []

    def note(progress: PretrainingReport) -> None:
        last[:] = [progress]
        report(progress)

    if options.steps:
        grid = architecture.grid
        pretrain_vision_tower(
            model,
            processor,
            labelled_images(images, split="train", grid=grid, codec=CODEC),
            labelled_images(held_out, split="val", grid=grid, codec=CODEC),
            options,
            report=note,
        )
    model.to("cpu").save_pretrained(folder)
    processor.save_pretrained(folder)
    return last[0].accuracy if last else ()
