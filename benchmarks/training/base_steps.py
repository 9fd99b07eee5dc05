"""Steps of base building: the real one, and the plain way with transformers' own class."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.nn import functional

from hlmat.transforms.readers.shapes.scene import ShapesOptions
from hlmat.transforms.tiny_vlm import build
from hlmat.transforms.tiny_vlm.architecture import build_tiny_vlm_model, build_tiny_vlm_tokenizer
from hlmat.transforms.tiny_vlm.batches import Batch
from hlmat.transforms.tiny_vlm.muon import Muon
from hlmat.transforms.tiny_vlm.options import PretrainingOptions, TinyVlmArchitecture
from hlmat.transforms.tiny_vlm.pretraining import Pretraining
from hlmat.transforms.tiny_vlm.scenes import LabelledScenes, label_scenes
from hlmat.transforms.torch_support.torchvision import ensure_importable

ARCHITECTURE = TinyVlmArchitecture()
OPTIONS = PretrainingOptions(
    steps=3800, tower_steps=2600, mask_share=0.3, text_mask_share=0.5, scores=True, seed=1
)
"""Those of the recipe mini_prm."""

TOWER_STEP, TEXT_STEP = 1500, 3000
"""A step of the tower alone, and one with texts; both with masks."""


def draw_scenes(count: int) -> LabelledScenes:
    """Return scenes like the recipe's."""
    a = ARCHITECTURE
    options = ShapesOptions(
        count=count,
        height=a.image,
        width=a.image,
        objects_min=2,
        objects_max=3,
        difficulty="mixed",
    )
    return label_scenes(options, split="train", tokenizer=build_tiny_vlm_tokenizer())


def build_pretraining(*, in_bfloat16: bool) -> Pretraining:
    """Return the recipe's pre-training before its first step."""
    ensure_importable()
    torch.manual_seed(OPTIONS.seed)
    tokenizer = build_tiny_vlm_tokenizer()
    model = build_tiny_vlm_model(ARCHITECTURE, tokenizer)
    with patch.object(build, "computes_bfloat16", lambda device: in_bfloat16):
        return build.prepare_pretraining(model, tokenizer, ARCHITECTURE, OPTIONS)


class RealStep:
    """The step that `hlmat mini-base` makes.

    Attributes:
        parts: seconds of processor time by part, in the last step.
    """

    def __init__(self, scenes: LabelledScenes, *, in_bfloat16: bool) -> None:
        self.pretraining = build_pretraining(in_bfloat16=in_bfloat16)
        self._scenes = scenes
        self.parts: dict[str, float] = {}

    def __call__(self, step: int) -> None:
        self.pretraining.step = step
        self.pretraining.update(self._scenes)

    def timed(self, step: int) -> None:
        """Make the step, and note its parts."""
        spent: dict[str, float] = defaultdict(float)
        p, tensor = self.pretraining, torch.Tensor
        with (
            _clocked(spent, "batch", type(p.maker), "make"),
            _clocked(spent, "derivatives", tensor, "backward"),
            _clocked(spent, "AdamW", torch.optim.AdamW, "step"),
            _clocked(spent, "Muon", Muon, "step"),
        ):
            started = time.process_time()
            self(step)
            whole = time.process_time() - started
        spent["forward pass, losses, clipping"] = whole - sum(spent.values())
        self.parts = dict(spent)


class PlainStep:
    """The same batch by transformers' own class: one row and one picture for each text.

    Heads on patches, the weights of tokens and the optimisers are the same. The attention head is
    not taught where to look, and rows with texts leave out the questions about patches, so this
    way has less to do.
    """

    def __init__(self, scenes: LabelledScenes, *, in_bfloat16: bool) -> None:
        self._real = build_pretraining(in_bfloat16=in_bfloat16)
        self._real.model.set_attn_implementation("eager")
        self._scenes, self._in_bfloat16 = scenes, in_bfloat16

    def __call__(self, step: int) -> None:
        self._real.learn(self.loss(step))

    def loss(self, step: int) -> torch.Tensor:
        """Return the loss of a step's batch: of patches, or the written answers' alone."""
        r = self._real
        r.step = step
        batch = r.make_batch(self._scenes)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._in_bfloat16):
            if batch.texts.shape[1]:
                return written_loss(r, batch, self._logits(batch))
            return r.heads.loss(self._look(batch.pixels), batch)

    def _look(self, pixels: torch.Tensor) -> torch.Tensor:
        rows, grid = _rows(pixels)
        seen = self._real.model.model.visual(rows, grid_thw=grid).pooler_output
        return seen.unflatten(0, pixels.shape[:2])

    def _logits(self, batch: Batch) -> torch.Tensor:
        """Return the logits of every text's tokens. Shape: (B, T, L, vocabulary)."""
        c, config = self._real.maker.conversation, self._real.model.config
        count, texts, length = batch.texts.shape
        cells = batch.pixels.shape[1]
        shared = torch.tensor([*c.before, *[config.image_token_id] * cells, c.after])
        ids = torch.cat([shared.expand(count * texts, -1), batch.texts.flatten(0, 1)], 1)
        pixels, grid = _rows(batch.pixels.repeat_interleave(texts, 0))
        logits = self._real.model(
            input_ids=ids,
            attention_mask=(ids != c.padding).long(),
            pixel_values=pixels,
            image_grid_thw=grid,
        ).logits
        return logits[:, -length:].unflatten(0, (count, texts))


def written_loss(pretraining: Pretraining, batch: Batch, logits: torch.Tensor) -> torch.Tensor:
    """Return the weighted loss of the answers' tokens. Logits' shape: (B, T, L, vocabulary)."""
    following = functional.pad(
        batch.texts[..., 1:], (0, 1), value=pretraining.maker.conversation.padding
    )
    weights = functional.pad(batch.weights[..., 1:], (0, 1))
    asked = weights > 0
    each = functional.cross_entropy(logits[asked].float(), following[asked], reduction="none")
    return (each * weights[asked]).sum() / weights[asked].sum()


def greatest_difference(scenes: LabelledScenes) -> float:
    """Return by how much the losses of both ways differ in float32, in one step of each kind.

    Weights that write into the residual stream begin as zero; they are drawn at random first.
    """
    real, plain = build_pretraining(in_bfloat16=False), PlainStep(scenes, in_bfloat16=False)
    generator = torch.Generator().manual_seed(0)
    ours, theirs = real.model.parameters(), plain._real.model.parameters()
    with torch.no_grad():
        for p, q in zip(ours, theirs, strict=True):
            p.add_(torch.randn(p.shape, generator=generator) * 0.05)
            q.copy_(p)
        differences = []
        for step in (TOWER_STEP, TEXT_STEP):
            real.step = step
            batch = real.make_batch(scenes)
            seen = real.forward.look(batch.pixels)
            if batch.texts.shape[1]:
                states, _ = real.forward.read(seen, batch.texts)
                expected = written_loss(real, batch, real.forward.write(states))
            else:
                expected = real.heads.loss(seen, batch)
            differences.append(abs(float(expected - plain.loss(step))) / float(expected))
    return max(differences)


def _rows(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pictures as the processor makes them: both frames of a still picture are the same."""
    count, cells, values = pixels.shape
    side = round((values // 3) ** 0.5)
    frames = pixels.view(count * cells, 3, 1, side, side).expand(-1, -1, 2, -1, -1)
    grid = torch.tensor([[1, round(cells**0.5), round(cells**0.5)]]).expand(count, -1)
    return frames.reshape(count * cells, -1), grid


@contextmanager
def _clocked(spent: dict[str, float], part: str, owner: Any, name: str) -> Iterator[None]:
    """Add the processor time that calls of a method take."""
    function: Callable[..., Any] = getattr(owner, name)

    def timed(*args: Any, **kwargs: Any) -> Any:
        started = time.process_time()
        made = function(*args, **kwargs)
        spent[part] += time.process_time() - started
        return made

    with patch.object(owner, name, timed):
        yield
