"""Small SAM models of transformers' own classes with random weights, saved as checkpoints."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

_DECODER: dict[str, Any] = {
    "hidden_size": 32,
    "mlp_dim": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "iou_head_hidden_dim": 32,
}
_MEMORY = {
    "mask_downsampler_embed_dim": 32,
    "memory_attention_feed_forward_hidden_size": 64,
    "memory_attention_hidden_size": 32,
    "memory_attention_num_layers": 1,
    "memory_encoder_hidden_size": 32,
    "memory_encoder_output_channels": 16,
    "memory_fuser_embed_dim": 32,
    "memory_fuser_intermediate_dim": 64,
}
_EDGETAM_MEMORY = {
    "mask_downsampler_embed_dim": 32,
    "memory_attention_hidden_size": 32,
    "memory_attention_mlp_hidden_size": 64,
    "memory_attention_num_layers": 1,
    "memory_encoder_hidden_size": 32,
    "memory_encoder_output_channels": 16,
    "memory_fuser_embed_dim": 32,
    "memory_fuser_intermediate_dim": 64,
    "perceiver_resampler_hidden_size": 16,
    "perceiver_resampler_attention_head_dim": 16,
    "perceiver_resampler_mlp_intermediate_size": 32,
    "perceiver_resampler_num_latents": 16,
    "perceiver_resampler_num_latents_2d": 16,
}
_SAM3_VIDEO_SIZES = {"image_size": 112, "memory_attention_rope_feat_sizes": [8, 8]}


def _sam_parts() -> dict[str, Any]:
    """Return the settings that SAM and SAM-HQ have in common: 64 px, 8 x 8 patches."""
    return {
        "vision_config": {
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
        },
        "prompt_encoder_config": {"hidden_size": 32, "image_size": 64, "patch_size": 8},
        "mask_decoder_config": dict(_DECODER),
    }


def _sam2_parts() -> dict[str, Any]:
    """Return SAM 2's settings: 64 px, feature maps of 16, 8 and 4."""
    return {
        "vision_config": {
            "model_type": "sam2_vision_model",
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 16,
                "image_size": [64, 64],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [16, 32, 64, 128],
                "num_attention_heads_per_stage": [1, 2, 4, 8],
                "window_size_per_stage": [8, 4, 2, 2],
                "global_attention_blocks": [3],
                "window_positional_embedding_background_size": [4, 4],
            },
            "backbone_channel_list": [128, 64, 32, 16],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 32,
        },
        "prompt_encoder_config": {"hidden_size": 32, "image_size": 64, "patch_size": 16},
        "mask_decoder_config": dict(_DECODER),
    }


def edgetam_parts() -> dict[str, Any]:
    """Return EdgeTAM's settings: 64 px, feature maps of 16, 8 and 4; its own timm backbone."""
    return {
        "vision_config": {
            "model_type": "edgetam_vision_model",
            "backbone_config": {
                "model_type": "timm_wrapper",
                "architecture": "repvit_m1",
                "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
            },
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 32,
        },
        "prompt_encoder_config": {"hidden_size": 32, "image_size": 64, "patch_size": 16},
        "mask_decoder_config": dict(_DECODER),
    }


def _sam3_parts() -> dict[str, Any]:
    """Return the settings of SAM 3's clicking part: 112 px, 8 x 8 patches."""
    return {
        "vision_config": {
            "model_type": "sam3_vision_model",
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 112,
                "patch_size": 14,
                "window_size": 4,
                "global_attn_indexes": [1],
                "pretrain_image_size": 56,
            },
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        },
        "prompt_encoder_config": {"hidden_size": 32, "image_size": 112, "patch_size": 14},
        "mask_decoder_config": dict(_DECODER),
    }


def _sam() -> Any:
    from transformers import SamConfig, SamModel

    return SamModel(SamConfig(**_sam_parts()))


def _sam_hq() -> Any:
    from transformers import SamHQConfig, SamHQModel

    parts = _sam_parts()
    parts["mask_decoder_config"]["vit_dim"] = 32
    return SamHQModel(SamHQConfig(**parts))


def _sam2() -> Any:
    from transformers import Sam2Config, Sam2Model

    return Sam2Model(Sam2Config(**_sam2_parts()))


def _sam2_video() -> Any:
    from transformers import Sam2VideoConfig, Sam2VideoMaskDecoderConfig, Sam2VideoModel

    sizes = {"image_size": 64, "memory_attention_rope_feat_sizes": [4, 4]}
    config = Sam2VideoConfig(**_sam2_parts(), **_MEMORY, **sizes)
    # transformers 5.6.0 makes a configuration of the prompt encoder of it.
    config.mask_decoder_config = Sam2VideoMaskDecoderConfig(**_DECODER)
    return Sam2VideoModel(config)


def edgetam_config() -> Any:
    """Return the configuration of the small EdgeTAM for still images."""
    from transformers import EdgeTamConfig

    return EdgeTamConfig(**_with_no_defaults(edgetam_parts()))


def _edgetam() -> Any:
    from transformers import EdgeTamModel

    return EdgeTamModel(edgetam_config())


def _edgetam_video() -> Any:
    from transformers import EdgeTamVideoConfig, EdgeTamVideoModel

    sizes = {
        "image_size": 64,
        "memory_attention_rope_feat_sizes": [4, 4],
        "memory_attention_rope_k_sizes": [4, 4],
    }
    parts = _with_no_defaults(edgetam_parts())
    return EdgeTamVideoModel(EdgeTamVideoConfig(**parts, **_EDGETAM_MEMORY, **sizes))


_NO_DEFAULTS = "has_no_defaults_at_init"


def _with_no_defaults(parts: dict[str, Any]) -> dict[str, Any]:
    """Keep a configuration of EdgeTAM from asking the hub for its defaults when it is printed."""
    return {
        **parts,
        _NO_DEFAULTS: True,
        "vision_config": {**parts["vision_config"], _NO_DEFAULTS: True},
    }


def _sam3_tracker() -> Any:
    from transformers import Sam3TrackerConfig, Sam3TrackerModel

    return Sam3TrackerModel(Sam3TrackerConfig(**_sam3_parts()))


def _sam3_tracker_video() -> Any:
    from transformers import Sam3TrackerVideoConfig, Sam3TrackerVideoModel

    return Sam3TrackerVideoModel(
        Sam3TrackerVideoConfig(**_sam3_parts(), **_MEMORY, **_SAM3_VIDEO_SIZES)
    )


def _sam3_video() -> Any:
    with warnings.catch_warnings():
        # Importing it compiles a function in a way that torch has deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        from transformers import Sam3VideoConfig, Sam3VideoModel

    small = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}
    detector = {
        "vision_config": _sam3_parts()["vision_config"],
        "text_config": {
            **small,
            "num_hidden_layers": 1,
            "projection_dim": 32,
            "vocab_size": 100,
            "max_position_embeddings": 32,
        },
        "geometry_encoder_config": {**small, "num_layers": 1},
        "detr_encoder_config": {**small, "num_layers": 1},
        "detr_decoder_config": {**small, "num_layers": 1, "num_queries": 4},
        "mask_decoder_config": {"hidden_size": 32, "num_attention_heads": 2},
    }
    config = Sam3VideoConfig(
        tracker_config={**_sam3_parts(), **_MEMORY, **_SAM3_VIDEO_SIZES}, detector_config=detector
    )
    return Sam3VideoModel(config)


_BUILDERS: dict[str, Callable[[], Any]] = {
    "sam": _sam,
    "sam_hq": _sam_hq,
    "sam2": _sam2,
    "sam2_video": _sam2_video,
    "edgetam": _edgetam,
    "edgetam_video": _edgetam_video,
    "sam3_tracker": _sam3_tracker,
    "sam3_tracker_video": _sam3_tracker_video,
    "sam3_video": _sam3_video,
}


TIMM_TYPES = frozenset({"edgetam", "edgetam_video"})
"""The model types whose encoder timm builds."""


def tiny_model(model_type: str) -> Any:
    """Return a model whose random weights are large enough for masks with both values."""
    import torch

    torch.manual_seed(1)
    model = _BUILDERS[model_type]().eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        if ".timm_model." in name and weight.dim() > 1:
            # So many layers would let larger ones overflow, and timm's own vanish.
            weight.normal_(std=0.7 * weight[0].numel() ** -0.5)
        elif weight.dim() > 1:
            weight.normal_(std=0.2)
        elif "bias" in name:
            weight.normal_(std=0.1)
        else:
            weight.fill_(1.0)
    return model


def save(model: Any, folder: Path) -> Path:
    """Write a model as a checkpoint without an image processor; return the folder."""
    from safetensors.torch import save_file

    with quiet():
        model.save_pretrained(folder)
    if model.config.model_type in TIMM_TYPES:
        config = json.loads((folder / "config.json").read_bytes())
        config.pop(_NO_DEFAULTS)
        config["vision_config"].pop(_NO_DEFAULTS)
        (folder / "config.json").write_text(json.dumps(config))
    # transformers 5.6.0 renames the tensors of SAM 3's video model; the published file does not.
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if model.config.model_type == "sam3_video":
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def save_with_tokenizer(model: Any, folder: Path) -> Path:
    """Write a SAM 3 with a tokenizer that knows small letters; return the folder."""
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>"]
    vocabulary = {token: index for index, token in enumerate([*tokens, "<|endoftext|>"])}
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    return save(model, folder)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from drawing progress bars."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


def tiny_processor(model_type: str) -> Any:
    """Return transformers' own processor for a tiny model."""
    import transformers

    if model_type in ("sam", "sam_hq"):
        square = {"height": 64, "width": 64}
        images = transformers.SamImageProcessorFast(size={"longest_edge": 64}, pad_size=square)
        if model_type == "sam":
            return transformers.SamProcessor(images)
        return transformers.SamHQProcessor(images)
    if model_type.startswith(("sam2", "edgetam")):
        square = {"height": 64, "width": 64}
        return transformers.Sam2Processor(transformers.Sam2ImageProcessorFast(size=square))
    from transformers.models.sam3.image_processing_sam3_fast import Sam3ImageProcessorFast

    square = {"height": 112, "width": 112}
    return transformers.Sam3TrackerProcessor(Sam3ImageProcessorFast(size=square))


@contextmanager
def corrected_hq_decoder(model: Any) -> Iterator[None]:
    """Have transformers' SAM-HQ upscale what its attention blocks made of the image.

    Its own decoder drops that and takes the embedding as it came; see `sam_hq_decoder`.
    """
    decoder = model.mask_decoder
    attended: list[Any] = []

    def keep(module: Any, inputs: Any, output: Any) -> None:
        attended.append(output[1])

    def replace(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        (dropped,) = inputs
        return (attended.pop().transpose(2, 3).reshape(dropped.shape),)

    hooks = [
        decoder.transformer.register_forward_hook(keep),
        decoder.upscale_conv1.register_forward_pre_hook(replace),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


# What segment-anything calls otherwise, as patterns that are replaced in this order.
_SEGMENT_ANYTHING_NAMES = (
    (r"^vision_encoder\.patch_embed\.projection", "image_encoder.patch_embed.proj"),
    (r"^vision_encoder\.layers", "image_encoder.blocks"),
    (r"^vision_encoder\.neck\.conv1", "image_encoder.neck.0"),
    (r"^vision_encoder\.neck\.layer_norm1", "image_encoder.neck.1"),
    (r"^vision_encoder\.neck\.conv2", "image_encoder.neck.2"),
    (r"^vision_encoder\.neck\.layer_norm2", "image_encoder.neck.3"),
    (r"^vision_encoder", "image_encoder"),
    (r"^shared_image_embedding", "prompt_encoder.pe_layer"),
    (r"\bpositional_embedding$", "positional_encoding_gaussian_matrix"),
    (r"\.point_embed\.", ".point_embeddings."),
    (r"mask_embed\.conv1", "mask_downscaling.0"),
    (r"mask_embed\.layer_norm1", "mask_downscaling.1"),
    (r"mask_embed\.conv2", "mask_downscaling.3"),
    (r"mask_embed\.layer_norm2", "mask_downscaling.4"),
    (r"mask_embed\.conv3", "mask_downscaling.6"),
    (r"upscale_conv1", "output_upscaling.0"),
    (r"upscale_layer_norm", "output_upscaling.1"),
    (r"upscale_conv2", "output_upscaling.3"),
    (r"((?:mlps\.\d+|iou_prediction_head)\.)layers\.0", r"\1layers.1"),
    (r"((?:mlps\.\d+|iou_prediction_head)\.)proj_in", r"\1layers.0"),
    (r"((?:mlps\.\d+|iou_prediction_head)\.)proj_out", r"\1layers.2"),
    (r"layer_norm_final_attn", "norm_final_attn"),
    (r"\blayer_norm(\d)", r"norm\1"),
)


def segment_anything_name(name: str) -> str:
    """Return what segment-anything calls a weight of transformers' SAM."""
    for pattern, replacement in _SEGMENT_ANYTHING_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def to_segment_anything(model: Any) -> Any:
    """Return the tiny SAM as a model of segment-anything's classes, with the same weights."""
    import torch
    from segment_anything.modeling import ImageEncoderViT, PromptEncoder, Sam

    sam = Sam(
        image_encoder=ImageEncoderViT(
            img_size=64,
            patch_size=8,
            embed_dim=32,
            depth=2,
            num_heads=2,
            mlp_ratio=2,
            norm_layer=cast("Any", partial(torch.nn.LayerNorm, eps=1e-6)),
            use_rel_pos=True,
            window_size=3,
            global_attn_indexes=(1,),
            out_chans=32,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=32,
            image_embedding_size=(8, 8),
            input_image_size=(64, 64),
            mask_in_chans=16,
        ),
        mask_decoder=segment_anything_decoder(masks=3),
    )
    # The positions of image and prompts are one matrix there.
    state = {
        segment_anything_name(name): weight
        for name, weight in model.state_dict().items()
        if not name.startswith("prompt_encoder.shared_embedding")
    }
    missing, unexpected = sam.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"pixel_mean", "pixel_std"}
    return sam.eval()


def segment_anything_decoder(*, masks: int) -> Any:
    """Return segment-anything's mask decoder in the tiny models' size.

    Args:
        masks: how many are drawn in addition to the single one.
    """
    from segment_anything.modeling import MaskDecoder, TwoWayTransformer

    return MaskDecoder(
        num_multimask_outputs=masks,
        transformer=TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=64, num_heads=4),
        transformer_dim=32,
        iou_head_depth=3,
        iou_head_hidden_dim=32,
    ).eval()
