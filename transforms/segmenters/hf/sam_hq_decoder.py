"""SAM-HQ's mask decoder as its authors define it, built from the parts of transformers' model.

The decoder of transformers (as of 5.6.0) discards the image tokens that its attention blocks
compute and upscales the original image embedding, with rows and columns exchanged. That affects
masks but not predicted IoUs. Source: Ke et al. 2023, "Segment Anything in High Quality", and the
authors' `mask_decoder_hq.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def fuse_hq_features(
    decoder: Any, *, embedding: torch.Tensor, early_layer: torch.Tensor
) -> torch.Tensor:
    """Return the images' fine features, from which the HQ token's mask is computed.

    Args:
        decoder: `SamHQMaskDecoder` of transformers.
        embedding: of the images. Shape: (B, C, h, w).
        early_layer: output of the encoder's first block of global attention. Shape: (B, h, w, D).

    Returns:
        Shape: (B, C/8, 4h, 4w).
    """
    from_embedding = decoder.encoder_conv2(
        decoder.activation(decoder.encoder_norm(decoder.encoder_conv1(embedding)))
    )
    channels_first = early_layer.permute(0, 3, 1, 2)
    from_early_layer = decoder.compress_vit_conv2(
        decoder.activation(decoder.compress_vit_norm(decoder.compress_vit_conv1(channels_first)))
    )
    return from_embedding + from_early_layer


def decode_hq_masks(
    decoder: Any,
    *,
    embedding: torch.Tensor,
    hq_features: torch.Tensor,
    position: torch.Tensor,
    sparse: torch.Tensor,
    dense: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return SAM's three masks, the HQ token's mask added to each, and SAM's predicted IoUs.

    Args:
        decoder: `SamHQMaskDecoder` of transformers.
        embedding: of the N targets' images. Shape: (N, C, h, w).
        hq_features: their result of `fuse_hq_features`. Shape: (N, C/8, 4h, 4w).
        position: positional encoding of the embedding. Shape: (1, C, h, w).
        sparse: points and boxes of N targets. Shape: (N, 1, t, C).
        dense: previous masks of N targets, or the no-mask embedding. Shape: (N, C, h, w).

    Returns:
        Logits of shape (N, 3, 4h, 4w) and IoUs of shape (N, 3), in the order of the mask tokens.
    """
    import torch

    count = len(embedding)
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight, decoder.hq_token.weight])
    tokens = torch.cat([own.expand(count, 1, -1, -1), sparse], dim=2)
    tokens_out, image_out = decoder.transformer(
        point_embeddings=tokens,
        image_embeddings=embedding + dense,
        image_positional_embeddings=position.expand(count, -1, -1, -1),
        attention_similarity=None,
    )
    grid = image_out[:, 0].transpose(1, 2).reshape(count, *embedding.shape[1:])
    upscaled = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(grid)))
    upscaled = decoder.activation(decoder.upscale_conv2(upscaled))
    refined = decoder.activation(decoder.mask_norm(decoder.mask_conv1(upscaled)))
    refined = decoder.mask_conv2(refined) + hq_features

    scores = decoder.iou_prediction_head(tokens_out[:, 0, 0])
    mask_tokens = range(1, len(decoder.output_hypernetworks_mlps))
    weights = torch.stack(
        [decoder.output_hypernetworks_mlps[i](tokens_out[:, 0, 1 + i]) for i in mask_tokens], dim=1
    )
    hq_weights = decoder.hq_mask_mlp(tokens_out[:, 0, 1 + len(decoder.output_hypernetworks_mlps)])
    sam_masks = torch.einsum("nkc,nchw->nkhw", weights, upscaled)
    hq_mask = torch.einsum("nc,nchw->nhw", hq_weights, refined)
    return sam_masks + hq_mask[:, None], scores[:, 1:]
