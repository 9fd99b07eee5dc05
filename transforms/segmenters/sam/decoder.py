"""SAM's prompt encoder and mask decoder for pairs of an image and a prompt.

segment-anything's decoder repeats one image's embedding for all prompts. Here every prompt has its
own embedding, so one call handles targets of many images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hlmat.transforms.core.protocols import Request
from hlmat.transforms.segmenters.sam.attention import fuse_decoder_attention

if TYPE_CHECKING:
    from segment_anything.modeling import Sam


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """An encoded image, the decoder's input.

    Attributes:
        embedding: float32 or float16. Shape: (C, h, w).
        size_hw: height and width of the image.
        resized_hw: height and width of the image within the encoder's square.
    """

    embedding: Tensor
    size_hw: tuple[int, int]
    resized_hw: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Decoded:
    """The best of three masks for each prompt.

    Attributes:
        low_res_logits: float32, on the device. Shape: (N, 1, s, s).
        scores: predicted IoU, on the device. Shape: (N,).
    """

    low_res_logits: Tensor
    scores: Tensor


class SamDecoder:
    """Answers prompts about encoded images.

    Args:
        model: SAM built from segment-anything's classes, on its device and in evaluation mode; its
            decoder is rebuilt for speed.
    """

    def __init__(self, model: Sam) -> None:
        fuse_decoder_attention(model.mask_decoder)
        self._model = model
        self._upscaling = _TokenUpscaling(model.mask_decoder.output_upscaling)
        self._position = model.prompt_encoder.get_dense_pe()

    def decode(self, images: Sequence[EncodedImage], requests: Sequence[Request]) -> Decoded:
        """Answer each request about the image at the same index.

        Args:
            images: one per request.
            requests: all with the same number of clicks; all or none with a box, all or none with
                feedback.

        Raises:
            ValueError: a request has neither clicks nor a box.
        """
        if not requests[0].clicks and requests[0].box is None:
            raise ValueError("SAM needs at least one click or a box")
        with torch.inference_mode():
            sparse, dense = self._model.prompt_encoder(
                points=self._points(images, requests),
                boxes=self._boxes(images, requests),
                masks=self._masks(requests),
            )
            embeddings = _stacked([image.embedding for image in images]).to(sparse.dtype)
            return self._best_masks(embeddings, sparse=sparse, dense=dense)

    def _best_masks(self, embeddings: Tensor, *, sparse: Tensor, dense: Tensor) -> Decoded:
        """Run the decoder on pairs; upscale only the best mask.

        Args:
            embeddings: Shape: (N, C, h, w).
            sparse: point and box tokens. Shape: (N, k, C).
            dense: mask prompts. Shape: (N, C, h, w).
        """
        decoder: Any = self._model.mask_decoder
        count = embeddings.shape[0]
        outputs = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([outputs.expand(count, -1, -1), sparse], dim=1)
        source = embeddings + dense
        answered, source_tokens = decoder.transformer(
            source, self._position.expand(count, -1, -1, -1), tokens
        )
        # Mask 0 is for unambiguous prompts; use the three multimask outputs.
        scores, best = decoder.iou_prediction_head(answered[:, 0])[:, 1:].max(dim=1)
        weights = torch.stack(
            [
                network(answered[:, 1 + index])
                for index, network in enumerate(decoder.output_hypernetworks_mlps)
                if index > 0
            ],
            dim=1,
        )[torch.arange(count, device=best.device), best]
        logits = self._upscaling.logits(source_tokens, weights, size_hw=source.shape[2:])
        return Decoded(
            low_res_logits=logits[:, None].float(),
            scores=scores.float(),
        )

    def _points(
        self, images: Sequence[EncodedImage], requests: Sequence[Request]
    ) -> tuple[Tensor, Tensor] | None:
        """Return `point_coords` (N, t, 2) in the encoder's pixels and `point_labels` (N, t)."""
        if not requests[0].clicks:
            return None
        coords = np.array([[(c.x, c.y) for c in r.clicks] for r in requests], dtype=np.float64)
        labels = np.array([[c.is_positive for c in r.clicks] for r in requests], dtype=np.int64)
        scaled = coords * _scales_xy(images)[:, None]
        device = self._position.device
        return (
            torch.as_tensor(scaled, dtype=torch.float32, device=device),
            torch.as_tensor(labels, device=device),
        )

    def _boxes(self, images: Sequence[EncodedImage], requests: Sequence[Request]) -> Tensor | None:
        """Return corners (N, 4) in the encoder's pixels."""
        boxes = [request.box for request in requests]
        corners = [(box.x0, box.y0, box.x1, box.y1) for box in boxes if box is not None]
        if len(corners) < len(boxes):
            return None
        scaled = np.array(corners, dtype=np.float64) * np.tile(_scales_xy(images), 2)
        return torch.as_tensor(scaled, dtype=torch.float32, device=self._position.device)

    def _masks(self, requests: Sequence[Request]) -> Tensor | None:
        """Return the previous low-resolution logits (N, 1, s, s)."""
        if any(request.feedback is None for request in requests):
            return None
        return torch.stack([r.feedback for r in requests]).to(self._position.device)


class _TokenUpscaling:
    """Computes mask logits from the image's tokens without rearranging all channels into maps.

    SAM upscales its tokens twice by a transposed convolution of stride 2, which maps each token to
    a 2 x 2 block: a matrix product. Only the final logits are rearranged.

    Args:
        layers: transposed convolution, normalisation, activation, transposed convolution,
            activation.
    """

    def __init__(self, layers: Any) -> None:
        self._first, self._norm, self._activation, self._second, self._last_activation = layers

    def logits(self, tokens: Tensor, weights: Tensor, *, size_hw: Sequence[int]) -> Tensor:
        """Return the logits of one mask per prompt.

        Args:
            tokens: Shape: (N, h * w, C).
            weights: the mask's weight of each upscaled channel. Shape: (N, c).
            size_hw: h and w.

        Returns:
            Shape: (N, 4 * h, 4 * w).
        """
        norm = self._norm
        x = _enlarged(tokens, self._first)
        x = functional.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps)
        x = self._last_activation(_enlarged(self._activation(x), self._second))
        logits = torch.bmm(x.flatten(1, 3), weights[:, :, None])
        height, width = size_hw
        blocks = logits.reshape(-1, height, width, 2, 2, 2, 2)
        return blocks.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, 4 * height, 4 * width)


def _enlarged(x: Tensor, convolution: Any) -> Tensor:
    """Apply a transposed convolution of kernel and stride 2 to the last axis.

    Args:
        x: Shape: (..., C).
        convolution: from C to c channels.

    Returns:
        Shape: (..., 4, c), the four cells of a block in row-major order.
    """
    weight = convolution.weight.permute(2, 3, 1, 0).reshape(-1, convolution.weight.shape[0])
    bias = convolution.bias.repeat(4)
    return functional.linear(x, weight, bias).unflatten(-1, (4, -1))


def _stacked(embeddings: Sequence[Tensor]) -> Tensor:
    """Stack embeddings; targets of one image share its embedding without a copy."""
    first = embeddings[0]
    if all(embedding is first for embedding in embeddings):
        return first.expand(len(embeddings), *first.shape)
    return torch.stack(list(embeddings))


def _scales_xy(images: Sequence[EncodedImage]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the factors from an image's pixels to the encoder's. Shape: (N, 2)."""
    return np.array(
        [
            (image.resized_hw[1] / image.size_hw[1], image.resized_hw[0] / image.size_hw[0])
            for image in images
        ]
    )
