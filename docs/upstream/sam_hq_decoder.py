"""Show that SAM-HQ's decoder in transformers ignores what its attention makes of the image.

Run: python sam_hq_decoder.py. It needs torch and transformers, and downloads nothing. It prints
what it found, and exits with 1 where the fault is there.
"""

from __future__ import annotations

import sys

import torch
import transformers
from transformers import SamConfig, SamHQConfig, SamHQModel, SamModel

VISION = {
    "hidden_size": 32,
    "output_channels": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 64,
    "patch_size": 8,
    "window_size": 3,
    "global_attn_indexes": [1],
    "num_pos_feats": 16,
    "mlp_dim": 64,
}
PROMPT = {"hidden_size": 32, "image_size": 64, "patch_size": 8}
DECODER = {
    "hidden_size": 32,
    "mlp_dim": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "iou_head_hidden_dim": 32,
}


def tiny(config_class: type, model_class: type, **decoder: int) -> torch.nn.Module:
    """Return a model of 64 x 64 px with random weights."""
    torch.manual_seed(0)
    config = config_class(
        vision_config=VISION,
        prompt_encoder_config=PROMPT,
        mask_decoder_config={**DECODER, **decoder},
    )
    return model_class(config).eval()


def masks_change(model: torch.nn.Module) -> bool:
    """Return whether masks change with the attention's output for the image.

    The decoder's transformer returns the tokens and the image. Here the image is replaced by
    noise; the tokens stay as they are.
    """

    def replace(module: object, inputs: object, output: tuple) -> tuple:
        torch.manual_seed(1)
        return (output[0], torch.randn_like(output[1]), *output[2:])

    given = {
        "pixel_values": torch.zeros(1, 3, 64, 64),
        "input_points": torch.tensor([[[[20.0, 40.0]]]]),
    }
    with torch.inference_mode():
        before = model(**given).pred_masks
        hook = model.mask_decoder.transformer.register_forward_hook(replace)
        after = model(**given).pred_masks
        hook.remove()
    return not torch.equal(before, after)


def main() -> int:
    """Compare SAM-HQ with SAM, whose decoder it extends."""
    sam = masks_change(tiny(SamConfig, SamModel))
    hq = masks_change(tiny(SamHQConfig, SamHQModel, vit_dim=32))
    sys.stdout.write(
        f"transformers {transformers.__version__}: masks depend on the image that the decoder's "
        f"attention returns: SamModel {sam}, SamHQModel {hq}\n"
    )
    return int(not hq)


if __name__ == "__main__":
    sys.exit(main())
