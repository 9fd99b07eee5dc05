"""Build the small base model, pre-train it and save it to a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.prompting.coordinates import build_codec
from hlmat.transforms.readers.shapes.scene import ShapesOptions
from hlmat.transforms.tiny_vlm.architecture import (
    END,
    build_tiny_vlm_model,
    build_tiny_vlm_processor,
    build_tiny_vlm_tokenizer,
)
from hlmat.transforms.tiny_vlm.options import PretrainingOptions, TinyVlmArchitecture
from hlmat.transforms.tiny_vlm.report import PretrainingReport
from hlmat.transforms.torch_support.device import computes_bfloat16, describe_arithmetic
from hlmat.transforms.torch_support.torchvision import ensure_importable

if TYPE_CHECKING:
    from hlmat.transforms.tiny_vlm.pretraining import Pretraining

CODEC = build_codec("decimal", digits=2)
"""Codec of the click coordinates that the model learns to write."""


def build_tiny_vlm(
    folder: str,
    architecture: TinyVlmArchitecture,
    options: PretrainingOptions,
    *,
    images: ShapesOptions,
    held_out: ShapesOptions,
    device: str,
    report: Callable[[PretrainingReport], None],
    note: Callable[[str], None] = lambda text: None,
    progress: str | None = None,
) -> PretrainingReport | None:
    """Write model, tokenizer and processor into an existing folder.

    Args:
        folder: an existing folder; files of the same name are overwritten.
        architecture: size of the model.
        options: length and learning rates of the pre-training; 0 steps keeps random weights.
        images: scenes of the split "train", for training.
        held_out: scenes of the split "val", for the accuracy.
        device: "cpu", "cuda", "cuda:N", or "auto" for a GPU if available.
        report: called with each report on the pre-training.
        note: called with sentences on what is computed, and how long it will take.
        progress: file that a stopped pre-training continues from, if it exists, and that is
            written with each report; None for none.

    Returns:
        The last report; None without pre-training.

    Raises:
        ConfigError: torch or transformers is not installed, or the device does not exist.
        ValueError: the file `progress` is damaged or of another model.
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
    last: list[PretrainingReport] = []

    def keep(made: PretrainingReport) -> None:
        last[:] = [made]
        report(made)

    if options.steps:
        from hlmat.transforms.tiny_vlm.rehearsal import LEAST_STEPS, measure_steps, say_time_left
        from hlmat.transforms.tiny_vlm.scenes import label_scenes

        pretraining = prepare_pretraining(model, tokenizer, architecture, options)
        if progress is not None and os.path.exists(progress):
            pretraining.load(progress)
        note(f"training in {describe_arithmetic(device)}; drawing {images.count:,} images first")
        scenes = label_scenes(images, split="train", tokenizer=tokenizer)
        if options.steps - pretraining.step >= LEAST_STEPS:
            seconds = measure_steps(pretraining, scenes)
            note(say_time_left(seconds, step=pretraining.step, options=options))
        pretraining.run(
            scenes,
            label_scenes(held_out, split="val", tokenizer=tokenizer),
            report=keep,
            progress=progress,
        )
    model.to("cpu").save_pretrained(folder)
    build_tiny_vlm_processor(architecture, tokenizer).save_pretrained(folder)
    return last[0] if last else None


def prepare_pretraining(
    model: Any, tokenizer: Any, architecture: TinyVlmArchitecture, options: PretrainingOptions
) -> Pretraining:
    """Set the model's initial weights and return its pre-training, not begun.

    Random numbers come from torch's global generator.
    """
    import torch

    from hlmat.transforms.tiny_vlm.batches import BatchMaker, mirrored_words
    from hlmat.transforms.tiny_vlm.conversation import build_conversation
    from hlmat.transforms.tiny_vlm.initial_weights import initialise
    from hlmat.transforms.tiny_vlm.pretraining import Pretraining
    from hlmat.transforms.tiny_vlm.scenes import WORDS
    from hlmat.transforms.tiny_vlm.shared_forward import SharedForward

    initialise(model)
    conversation = build_conversation(tokenizer, CODEC, end=END)
    mirrored = mirrored_words(tokenizer)
    maker = BatchMaker(architecture.patch, conversation, CODEC, mirrored, scores=options.scores)
    is_fast = computes_bfloat16(model.lm_head.weight.device)
    forward = SharedForward(
        model,
        conversation,
        grid=architecture.grid,
        longest=WORDS
        + len(conversation.between)
        + conversation.longest_score
        + conversation.longest_answer,
        dtype=torch.bfloat16 if is_fast else torch.float32,
    )
    return Pretraining(model, tokenizer, maker, options, forward)
