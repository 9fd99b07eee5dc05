"""A folder with the small base model: built, its vision tower pre-trained, saved."""

from __future__ import annotations

from collections.abc import Callable

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.prompting.coordinates import make_codec
from hlmat.transforms.readers.shapes.scene import ShapesOptions
from hlmat.transforms.tiny_vlm.architecture import (
    MiniArchitecture,
    make_mini_model,
    make_mini_processor,
    make_mini_tokenizer,
)
from hlmat.transforms.tiny_vlm.localization import labelled_images
from hlmat.transforms.tiny_vlm.pretraining import (
    PretrainingOptions,
    PretrainingReport,
    pretrain_vision_tower,
)
from hlmat.transforms.torch_support.torchvision import ensure_importable

CODEC = make_codec("decimal", digits=2)
"""How the clicks are written that the tower learns to tell."""


def build_mini_base(
    folder: str,
    architecture: MiniArchitecture,
    options: PretrainingOptions,
    *,
    images: ShapesOptions,
    held_out: ShapesOptions,
    device: str,
    report: Callable[[PretrainingReport], None],
) -> tuple[float, ...]:
    """Write model, tokenizer and processor into a folder that exists.

    Args:
        images: of the split "train", to learn from.
        held_out: of the split "val", to report on.
        device: "cpu", "cuda", "cuda:N", or "auto" for a GPU if there is one.
        report: takes each report on the pre-training.

    Returns:
        The accuracies of the last report; empty without pre-training.

    Raises:
        ConfigError: torch or transformers is not installed, or the device is not there.
    """
    try:
        ensure_importable()
        import torch
        import transformers
    except ImportError as error:
        raise ConfigError(
            [f"the mini model needs torch and transformers ({error}); run make install-train"]
        ) from error
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError([f"--device {device}: no CUDA device was found; use --device cpu"])
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(options.seed)
    tokenizer = make_mini_tokenizer()
    model = make_mini_model(architecture, tokenizer).to(device)
    processor = make_mini_processor(architecture, tokenizer)
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
