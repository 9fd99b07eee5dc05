"""Segment Anything of any size with random weights, for timing what the arithmetic costs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch

from hlmat.transforms.torch_support.torchvision import ensure_importable

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

MODELS = ("tiny", "vit_b", "vit_l", "vit_h")


def random_sam(name: str, *, seed: int = 0, device: str = "cpu") -> Sam:
    """Build a model; `tiny` sees images of 256 pixels, the others are the official ones.

    Args:
        device: where the weights are drawn: fast on a GPU, of no cost at all on "meta".
    """
    ensure_importable()
    from segment_anything import sam_model_registry

    torch.manual_seed(seed)
    with torch.device(device):
        model = _tiny_sam() if name == "tiny" else sam_model_registry[name](checkpoint=None)
    # Relative positions start at zero, which would hide what they cost and whether they are right.
    encoder: Any = model.image_encoder
    for block in encoder.blocks:
        torch.nn.init.normal_(block.attn.rel_pos_h, std=0.02)
        torch.nn.init.normal_(block.attn.rel_pos_w, std=0.02)
    return model.to(device).eval()


def encoder_flops(model: Sam) -> int:
    """Count the floating-point operations of encoding one image."""
    from torch.utils.flop_counter import FlopCounterMode

    encoder: Any = model.image_encoder
    size = encoder.img_size
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        encoder.to("meta")(torch.empty(1, 3, size, size, device="meta"))
    return counter.get_total_flops()


def _tiny_sam() -> Sam:
    from segment_anything.modeling import (
        ImageEncoderViT,
        MaskDecoder,
        PromptEncoder,
        Sam,
        TwoWayTransformer,
    )

    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=256,
            patch_size=16,
            embed_dim=64,
            depth=2,
            num_heads=2,
            mlp_ratio=4,
            norm_layer=cast("Any", partial(torch.nn.LayerNorm, eps=1e-6)),
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=(1,),
            window_size=14,
            out_chans=32,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=32,
            image_embedding_size=(16, 16),
            input_image_size=(256, 256),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=64, num_heads=4),
            transformer_dim=32,
            iou_head_depth=3,
            iou_head_hidden_dim=32,
        ),
    )
