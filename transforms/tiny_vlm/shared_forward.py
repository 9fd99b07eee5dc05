"""The small model's forward pass with one picture shared by several texts.

It computes what `Qwen3VLForConditionalGeneration` computes for each pair of picture and text, with
the picture first. The picture's part does not depend on a text, so its states are computed once.
The weights are those of the model passed in, which is trained in place.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from hlmat.transforms.tiny_vlm.conversation import Conversation
from hlmat.transforms.tiny_vlm.kernels import RmsNorm, Rotation

_EPSILON = 1e-6


class SharedForward:
    """Runs a model on pictures of one size with several texts each.

    Args:
        model: a `Qwen3VLForConditionalGeneration` with as many heads for keys as for queries and
            patches that are not merged.
        conversation: the tokens around texts.
        grid: patches along one side.
        longest: the most tokens of a text.
        dtype: the type of the products; weights stay as they are.
    """

    def __init__(
        self,
        model: Any,
        conversation: Conversation,
        *,
        grid: int,
        longest: int,
        dtype: torch.dtype,
    ) -> None:
        self.visual, self.text = model.model.visual, model.model.language_model
        self.lm_head = model.lm_head
        self.dtype = dtype
        self._edges = [*conversation.before, conversation.after]
        self._before, self._cells = len(conversation.before), grid**2
        self._shared = self._before + self._cells + 1
        device = model.lm_head.weight.device
        self._grid = torch.tensor([[1, grid, grid]], device=device)
        turn = self.visual.rot_pos_emb(self._grid).repeat(1, 2)[:, None]
        self._turn = turn.cos().to(dtype), turn.sin().to(dtype)
        self._rope = self._text_positions(grid, longest, device)
        most = max(self._shared, longest)
        later = torch.full((most, most), -torch.inf, device=device)
        self._later = later.triu(1).to(dtype)

    def look(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return what the language model gets of each patch.

        Args:
            pixels: normalised patches. Shape: (B, C, 3 * patch ** 2).

        Returns:
            Shape: (B, C, width).
        """
        v = self.visual
        first = v.patch_embed.proj
        # Both frames of a still picture are the same, so their weights add up.
        x = functional.linear(
            pixels.to(self.dtype),
            first.weight.sum(2).flatten(1).to(self.dtype),
            first.bias.to(self.dtype),
        )
        x = x + v.fast_pos_embed_interpolate(self._grid).to(self.dtype)
        for b in v.blocks:
            heads = b.attn.num_heads
            qkv = self._linear(b.attn.qkv, self._layer_norm(b.norm1, x))
            qkv = qkv.unflatten(-1, (3 * heads, -1))
            qk = Rotation.apply(qkv[:, :, : 2 * heads], *self._turn)
            q, k = qk.transpose(1, 2).split(heads, 1)  # pyright: ignore[reportOptionalMemberAccess]
            values = qkv[:, :, 2 * heads :].transpose(1, 2)
            mixed = _attend(q * q.shape[-1] ** -0.5, k, values)
            x = x + self._linear(b.attn.proj, mixed)
            inner = functional.gelu(self._linear(b.mlp.linear_fc1, self._layer_norm(b.norm2, x)))
            x = x + self._linear(b.mlp.linear_fc2, inner)
        m = v.merger
        inner = functional.gelu(self._linear(m.linear_fc1, self._layer_norm(m.norm, x)))
        return self._linear(m.linear_fc2, inner)

    def read(self, seen: torch.Tensor, texts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the states of texts, and how much of the picture one head attends to.

        Args:
            seen: from `look`. Shape: (B, C, width).
            texts: tokens. Shape: (B, T, L).

        Returns:
            states before the last map, and the attention of the first head in the last layer but
            one (the only one, if there is one) to each patch. Shapes: (B, T, L, width) and
            (B, T, L, C).
        """
        batch, amount, length = texts.shape
        layers = self.text.layers
        heads = self.text.config.num_attention_heads
        size = self.text.config.head_dim
        words = self.text.embed_tokens.weight.to(self.dtype)
        edges = words[torch.tensor(self._edges, device=texts.device)].expand(batch, -1, -1)
        x = torch.cat([edges[:, :-1], seen, edges[:, -1:]], 1)
        y = functional.embedding(texts, words).flatten(1, 2)
        at_x = [t[: self._shared] for t in self._rope]
        at_y = [t[self._shared : self._shared + length].repeat(amount, 1, 1) for t in self._rope]
        spot = None
        for i, layer in enumerate(layers):
            qx, kx, vx = self._project(layer, x, at_x, heads)
            qy, ky, vy = self._project(layer, y, at_y, heads)
            whole = [z.reshape(batch * heads, -1, size) for z in (qy, kx, vx)]
            parts = [z.reshape(-1, length, size) for z in (qy, ky, vy)]
            there = torch.bmm(whole[0], whole[1].mT).unflatten(1, (amount, length))
            here = torch.baddbmm(self._later[:length, :length], parts[0], parts[1].mT)
            scores = torch.cat([there, here.view(*there.shape[:3], length)], -1)
            there, here = scores.softmax(-1).split([self._shared, length], -1)
            own = torch.bmm(here.reshape(-1, length, length), parts[2])
            mixed = torch.bmm(there.flatten(1, 2), whole[2]) + own.view(batch * heads, -1, size)
            mixed = mixed.unflatten(0, (batch, heads)).transpose(1, 2).flatten(2)
            if i == max(0, len(layers) - 2):
                spot = there.unflatten(0, (batch, heads))[:, 0, ..., self._before : -1]
            y = self._think(layer, y + self._linear(layer.self_attn.o_proj, mixed))
            if i + 1 < len(layers):
                seen_by = _attend(qx, kx, vx, self._later[: self._shared, : self._shared])
                x = self._think(layer, x + self._linear(layer.self_attn.o_proj, seen_by))
        y = _rms(y) * self.text.norm.weight.to(self.dtype)
        assert spot is not None
        return y.unflatten(1, (amount, length)), spot

    def write(self, states: torch.Tensor) -> torch.Tensor:
        """Return the logits of the tokens after the states. Shape: (..., vocabulary)."""
        return functional.linear(states, self.lm_head.weight.to(self.dtype)).float()

    def _text_positions(self, grid: int, longest: int, device: Any) -> list[torch.Tensor]:
        n, at = self._before, torch.arange(self._cells, device=device)
        where = torch.arange(self._shared + longest, device=device).expand(3, 1, -1).clone()
        where[:, 0, n : n + self._cells] = n + torch.stack([at * 0, at // grid, at % grid])
        where[:, 0, n + self._cells :] += grid - self._cells
        turns = self.text.rotary_emb(torch.zeros(1, device=device), where)
        return [t[0, :, None].to(self.dtype) for t in turns]

    def _project(
        self, layer: Any, z: torch.Tensor, at: list[torch.Tensor], heads: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        t = layer.self_attn
        z = self._normed_linear((t.q_proj, t.k_proj, t.v_proj), layer.input_layernorm, z)
        z = z.unflatten(-1, (3 * heads, -1))
        sharp = torch.cat(
            [
                (t.q_norm.weight * t.head_dim**-0.5).expand(heads, -1),
                t.k_norm.weight.expand(heads, -1),
            ]
        ).to(self.dtype)
        turned = Rotation.apply(_rms(z[:, :, : 2 * heads]) * sharp, *at)
        q, k = turned.transpose(1, 2).split(heads, 1)  # pyright: ignore[reportOptionalMemberAccess]
        return q, k, z[:, :, 2 * heads :].transpose(1, 2)

    def _think(self, layer: Any, z: torch.Tensor) -> torch.Tensor:
        maps = layer.mlp.gate_proj, layer.mlp.up_proj
        gate, up = self._normed_linear(maps, layer.post_attention_layernorm, z).chunk(2, -1)
        return z + self._linear(layer.mlp.down_proj, functional.silu(gate) * up)

    def _linear(self, module: Any, x: torch.Tensor) -> torch.Tensor:
        bias = None if module.bias is None else module.bias.to(self.dtype)
        return functional.linear(x, module.weight.to(self.dtype), bias)

    def _normed_linear(self, modules: tuple[Any, ...], norm: Any, x: torch.Tensor) -> torch.Tensor:
        """Several maps of a normed state in one product, the norm's weight folded in."""
        weight = torch.cat([m.weight for m in modules]) * norm.weight
        return functional.linear(_rms(x), weight.to(self.dtype))

    def _layer_norm(self, m: Any, x: torch.Tensor) -> torch.Tensor:
        size = x.shape[-1:]
        return functional.layer_norm(
            x, size, m.weight.to(self.dtype), m.bias.to(self.dtype), _EPSILON
        )


def _rms(x: torch.Tensor) -> torch.Tensor:
    return RmsNorm.apply(x)  # pyright: ignore[reportReturnType]


def _attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Return attention with scaled queries; heads side by side. Shape: (B, N, heads * size)."""
    batch, heads, n, size = q.shape
    q, k, v = (t.reshape(batch * heads, n, size) for t in (q, k, v))
    scores = torch.bmm(q, k.mT) if mask is None else torch.baddbmm(mask, q, k.mT)
    mixed = torch.bmm(scores.softmax(-1), v).view(batch, heads, n, size)
    return mixed.transpose(1, 2).reshape(batch, n, heads * size)
