"""Pre-training of the small model on generated scenes: to see, to find the object a text names.

At first the vision tower alone learns what is under each patch (`DenseHeads`): the object's colour,
kind, pattern and outline, and the click that the oracle would make. Then the language model learns
to write that click for a text, in the words of the dialogue `segagent`, while one of its attention
heads is taught to look at the object. From half of the tower's steps on, some images show a mask,
and the answer is what the oracle would do about it: click what is missing or wrong, or finish. On
request, the answer says first how good that mask is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from hlmat.transforms.tiny_vlm.batches import Batch, BatchMaker
from hlmat.transforms.tiny_vlm.dense_heads import QUESTIONS, DenseHeads
from hlmat.transforms.tiny_vlm.measuring import answer_shares
from hlmat.transforms.tiny_vlm.muon import Muon
from hlmat.transforms.tiny_vlm.options import PretrainingOptions
from hlmat.transforms.tiny_vlm.report import PretrainingReport
from hlmat.transforms.tiny_vlm.scenes import LabelledScenes
from hlmat.transforms.tiny_vlm.shared_forward import SharedForward

REPORT_EVERY = 250
"""Steps between reports, each of which also saves the progress."""

_ANSWER_WEIGHT = 4.0
_ATTENTION_WEIGHT = 0.3
_FALL = 0.65
_CLIP_NORM = 1.0


class Pretraining:
    """The state of a pre-training: resumable, and the same for the same settings and images.

    Args:
        model: a `Qwen3VLForConditionalGeneration`, trained in place.
        tokenizer: of the model.
        maker: makes the batches.
        options: length and learning rates.
        forward: runs the model.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        maker: BatchMaker,
        options: PretrainingOptions,
        forward: SharedForward,
    ) -> None:
        self.model, self.maker, self.options, self.forward = model, maker, options, forward
        self.heads = DenseHeads(model.model.language_model.embed_tokens, tokenizer)
        self.heads.to(model.lm_head.weight.device)
        matrices, others, fused = [], [], set()
        for name, p in [*model.named_parameters(), *self.heads.named_parameters()]:
            if "q_norm" in name or "k_norm" in name:
                continue
            is_plain = any(w in name for w in ("embed", "lm_head", "digits", "outline"))
            is_plain = is_plain or name.startswith(("action", "no_object"))
            (others if is_plain or p.ndim != 2 else matrices).append(p)
            if "qkv" in name:
                fused.add(id(p))
        self._others = others
        self._optimisers: list[tuple[torch.optim.Optimizer, float]] = [
            (
                torch.optim.AdamW(
                    others, lr=options.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
                ),
                options.learning_rate,
            ),
            (Muon(matrices, options.matrix_rate, fused), options.matrix_rate),
        ]
        self.step = 0

    def run(
        self,
        scenes: LabelledScenes,
        held_out: LabelledScenes,
        *,
        report: Callable[[PretrainingReport], None],
        progress: str | None = None,
    ) -> None:
        """Train to the end.

        Args:
            scenes: for training.
            held_out: for the reports.
            report: called every 250 steps and at the end.
            progress: file of the state, written with each report; None for none.
        """
        o = self.options
        self.model.train()
        while self.step < o.steps:
            self.update(scenes)
            if self.step % REPORT_EVERY == 0 or self.step == o.steps:
                report(self.measure(held_out))
                if progress is not None:
                    self.save(progress)
        self.model.eval()

    def update(self, scenes: LabelledScenes) -> None:
        """Make one update."""
        self.learn(self.loss(self.make_batch(scenes)))

    def make_batch(self, scenes: LabelledScenes) -> Batch:
        """Return the batch of the next update."""
        o = self.options
        has_texts = self._has_texts(self.step + 1)
        rng = np.random.default_rng([o.seed, self.step])
        batch = self.maker.make(
            scenes,
            rng.integers(len(scenes), size=o.batch),
            texts=o.texts if has_texts else 0,
            mask_share=self._mask_share(has_texts=has_texts),
            rng=rng,
        )
        return Batch(*(t.to(self.model.lm_head.weight.device) for t in batch))

    def loss(self, batch: Batch) -> torch.Tensor:
        """Return the loss over a batch's patches and, if it has any, texts."""
        seen = self.forward.look(batch.pixels)
        loss = self.heads.loss(seen, batch)
        return loss + self._text_loss(seen, batch) if batch.texts.shape[1] else loss

    def learn(self, loss: torch.Tensor) -> None:
        """Update the weights by a loss's derivatives."""
        rate = learning_rate_share(self.step, self.options)
        for optimiser, top in self._optimisers:
            optimiser.param_groups[0]["lr"] = top * rate
            optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._others, _CLIP_NORM)
        for optimiser, _ in self._optimisers:
            optimiser.step()
        self.step += 1

    def measure(self, held_out: LabelledScenes) -> PretrainingReport:
        """Return the accuracies on held-out scenes."""
        seen, answered = answer_shares(
            self.forward, self.heads, self.maker, held_out, with_texts=self._has_texts(self.step)
        )
        return PretrainingReport(self.step, dict(zip(QUESTIONS, seen, strict=True)), answered)

    def save(self, path: str) -> None:
        """Write the state, whole or not at all."""
        temporary = f"{path}.tmp"
        torch.save(self.state(), temporary)
        os.replace(temporary, path)

    def load(self, path: str) -> None:
        """Continue from a saved state.

        Raises:
            ValueError: the file is damaged or of a model of another size.
        """
        try:
            self.restore(torch.load(path, weights_only=True))
        except Exception as error:
            raise ValueError(f"{path} cannot be continued: {error}") from error

    def state(self) -> dict[str, Any]:
        """Return everything that the next updates depend on, not copied."""
        return {
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser, _ in self._optimisers],
            "step": self.step,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a state."""
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        for (optimiser, _), saved in zip(self._optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step = int(state["step"])

    def _has_texts(self, step: int) -> bool:
        return step > self.options.tower_steps

    def _mask_share(self, *, has_texts: bool) -> float:
        o = self.options
        if has_texts and o.text_mask_share is not None:
            return o.text_mask_share
        return o.mask_share if 2 * self.step >= o.tower_steps else 0.0

    def _text_loss(self, seen: torch.Tensor, batch: Batch) -> torch.Tensor:
        c = self.maker.conversation
        states, spot = self.forward.read(seen, batch.texts)
        following = functional.pad(batch.texts[..., 1:], (0, 1), value=c.padding)
        weights = functional.pad(batch.weights[..., 1:], (0, 1))
        asked = weights > 0
        logits, wanted = self.forward.write(states[asked]), following[asked]
        each = functional.cross_entropy(logits, wanted, reduction="none")
        weight = weights[asked]
        written = (each * weight).sum() / weight.sum()
        meant = batch.owners[:, None] == batch.targets[..., None] + 1
        is_judged = asked & meant.any(-1)[..., None]
        hit = (spot.float() * meant[:, :, None]).sum(-1)[is_judged]
        return _ANSWER_WEIGHT * written - _ATTENTION_WEIGHT * (hit + 1e-4).log().mean()


def learning_rate_share(step: int, options: PretrainingOptions) -> float:
    """Return the share of the peak learning rates: a warm-up, a plateau, a linear fall to 0.

    Steps with texts take longer, and the language model begins with the first of them: the tower's
    steps count as half of the training, however many they are.
    """
    tower = min(options.tower_steps, options.steps)
    if step < tower:
        done = step / tower * (0.5 if tower < options.steps else 1.0)
    else:
        start = 0.5 if tower else 0.0
        done = start + (1 - start) * (step - tower) / (options.steps - tower)
    return min(1.0, (step + 1) / options.warm_up, (1 - done) / _FALL)
