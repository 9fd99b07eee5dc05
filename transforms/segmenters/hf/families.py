"""Adapters that encode and decode for each family of SAM models in transformers.

Every target has its own row in the batch dimension, and so does its image: transformers' dimension
for several prompts of one image (`point_batch_size`) does not support a previous mask per prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from hlmat.transforms.segmenters.hf.sam_hq_decoder import decode_hq_masks, fuse_hq_features

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Prompts:
    """The prompts of N targets, in the pixels of the encoder's input.

    Attributes:
        points: (x, y), float32, or None. Shape: (N, 1, t, 2).
        labels: 1 positive, 0 negative, int64, or None. Shape: (N, 1, t).
        boxes: x0, y0, x1, y1, float32, or None. Shape: (N, 1, 4).
        masks: feedback of the previous predictions, float32, or None. Shape: (N, 1, s, s).
    """

    points: torch.Tensor | None
    labels: torch.Tensor | None
    boxes: torch.Tensor | None
    masks: torch.Tensor | None


class PromptedModel(Protocol):
    """A model of one family, behind one interface."""

    def encode(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the encoder's maps, computed once per image; each of shape (B, ...).

        Args:
            pixel_values: output of the model's image processor. Shape: (B, 3, S, S).
        """
        ...

    def decode(
        self, encoded: tuple[torch.Tensor, ...], prompts: Prompts
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits of three masks per target (N, 3, s, s) and their predicted IoU (N, 3).

        Args:
            encoded: the results of `encode` for the N targets' images; each of shape (N, ...).
            prompts: of the N targets.
        """
        ...

    def to_feedback(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the kept masks' logits as feedback for the model. Shape: (N, 1, s, s)."""
        ...


class SamAdapter:
    """SAM (Kirillov et al. 2023)."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def encode(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self._model.get_image_embeddings(pixel_values),)

    def decode(
        self, encoded: tuple[torch.Tensor, ...], prompts: Prompts
    ) -> tuple[torch.Tensor, torch.Tensor]:
        (embedding,) = encoded
        return _ask(self._model, prompts, image_embeddings=embedding)

    def to_feedback(self, logits: torch.Tensor) -> torch.Tensor:
        return logits


class SamHqAdapter:
    """SAM-HQ (Ke et al. 2023): the best of SAM's three masks plus the mask of the HQ token.

    Like the authors' predictor with its defaults, `multimask_output=True, hq_token_only=False`.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def encode(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        embedding, intermediate = self._model.get_image_embeddings(pixel_values)
        features = fuse_hq_features(
            self._model.mask_decoder, embedding=embedding, early_layer=intermediate[0]
        )
        return embedding, features

    def decode(
        self, encoded: tuple[torch.Tensor, ...], prompts: Prompts
    ) -> tuple[torch.Tensor, torch.Tensor]:
        embedding, features = encoded
        sparse, dense = self._model.get_prompt_embeddings(
            input_points=prompts.points,
            input_labels=prompts.labels,
            input_boxes=prompts.boxes,
            input_masks=prompts.masks,
        )
        return decode_hq_masks(
            self._model.mask_decoder,
            embedding=embedding,
            hq_features=features,
            position=self._model.get_image_wide_positional_embeddings(),
            sparse=sparse,
            dense=dense,
        )

    def to_feedback(self, logits: torch.Tensor) -> torch.Tensor:
        return logits


class Sam2Adapter:
    """SAM 2 (Ravi et al. 2024) on still images, and models with its decoder: EdgeTAM, SAM 3.

    As in the authors' predictor, feedback is clipped to `FEEDBACK_LIMIT`.
    """

    FEEDBACK_LIMIT = 32.0

    def __init__(self, model: Any) -> None:
        self._model = model

    def encode(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self._model.get_image_embeddings(pixel_values))

    def decode(
        self, encoded: tuple[torch.Tensor, ...], prompts: Prompts
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return _ask(self._model, prompts, image_embeddings=list(encoded))

    def to_feedback(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.clamp(-self.FEEDBACK_LIMIT, self.FEEDBACK_LIMIT)


@dataclass(frozen=True)
class Family:
    """The parts of a family's models.

    Attributes:
        config_class: name in transformers; so are the next two.
        model_class: takes points and boxes on still images.
        processor_class: scales and normalises images.
        keeps_aspect: whether images are scaled by their longer side and padded, not stretched.
        wrap: puts the model behind `PromptedModel`.
        parts: the model types that nested configurations must have, by dotted name.
        section: the key of the model's configuration inside a larger one, or None.
        has_timm_backbone: whether the encoder is timm's, as `timm_backbone` allows it.
    """

    config_class: str
    model_class: str
    processor_class: str
    keeps_aspect: bool
    wrap: Callable[[Any], PromptedModel]
    parts: Mapping[str, str]
    section: str | None = None
    has_timm_backbone: bool = False


_SAM2 = Family(
    "Sam2Config",
    "Sam2Model",
    "Sam2ImageProcessorFast",
    keeps_aspect=False,
    wrap=Sam2Adapter,
    parts={
        "vision_config": "sam2_vision_model",
        "vision_config.backbone_config": "sam2_hiera_det_model",
    },
)

_SAM3 = Family(
    "Sam3TrackerConfig",
    "Sam3TrackerModel",
    "Sam3ImageProcessorFast",
    keeps_aspect=False,
    wrap=Sam2Adapter,
    parts={
        "vision_config": "sam3_vision_model",
        "vision_config.backbone_config": "sam3_vit_model",
    },
)

_EDGETAM = Family(
    "EdgeTamConfig",
    "EdgeTamModel",
    "Sam2ImageProcessorFast",
    keeps_aspect=False,
    wrap=Sam2Adapter,
    parts={
        "vision_config": "edgetam_vision_model",
        "vision_config.backbone_config": "timm_wrapper",
    },
    has_timm_backbone=True,
)

FAMILIES: Mapping[str, Family] = {
    "sam": Family(
        "SamConfig",
        "SamModel",
        "SamImageProcessorFast",
        keeps_aspect=True,
        wrap=SamAdapter,
        parts={},
    ),
    "sam_hq": Family(
        "SamHQConfig",
        "SamHQModel",
        "SamImageProcessorFast",
        keeps_aspect=True,
        wrap=SamHqAdapter,
        parts={},
    ),
    "sam2": _SAM2,
    # The published SAM 2 checkpoints: the still-image model is part of the video model.
    "sam2_video": _SAM2,
    "edgetam": _EDGETAM,
    # The published EdgeTAM checkpoint, in the same way.
    "edgetam_video": _EDGETAM,
    "sam3_tracker": _SAM3,
    "sam3_tracker_video": _SAM3,
    "sam3_video": replace(_SAM3, section="tracker_config"),
}
"""By the `model_type` of a checkpoint's config.json."""

DETECTORS: Mapping[str, Family] = {
    "sam3_video": replace(
        _SAM3,
        config_class="Sam3Config",
        model_class="Sam3Model",
        section="detector_config",
    ),
}
"""The part that finds objects by text, of the checkpoints that have one. It takes no clicks, so
`wrap` does not apply."""


def _ask(model: Any, prompts: Prompts, *, image_embeddings: Any) -> tuple[Any, Any]:
    output = model(
        image_embeddings=image_embeddings,
        input_points=prompts.points,
        input_labels=prompts.labels,
        input_boxes=prompts.boxes,
        input_masks=prompts.masks,
        multimask_output=True,
        return_dict=True,
    )
    return output.pred_masks[:, 0], output.iou_scores[:, 0]
