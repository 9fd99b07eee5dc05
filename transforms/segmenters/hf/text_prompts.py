"""SAM 3's detector: the mask of the object that a text names.

SAM 3 consists of a detector, which takes texts, and a tracker, which takes clicks. Their image
encoders share the backbone; each has its own neck. Source: Carion et al. 2025, "SAM 3: Segment
Anything with Concepts", and `Sam3Model` of transformers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.protocols import Prediction
from hlmat.transforms.segmenters.hf.families import DETECTORS
from hlmat.transforms.segmenters.hf.files import CheckpointFolder
from hlmat.transforms.segmenters.hf.loading import LoadedModel, check_parts, load_network
from hlmat.transforms.torch_support.transformers import first_line, quiet_transformers

if TYPE_CHECKING:
    import torch

_TOKENIZER = "tokenizer.json"
_TEXTS_AT_ONCE = 8


@dataclass(frozen=True)
class TextDetector:
    """The detector of a checkpoint and its tokenizer. Built by `load_detector`.

    Attributes:
        network: `Sam3Model` of transformers, on the device, without gradients.
        tokenizer: `CLIPTokenizer` of transformers.
        max_tokens: of a text with its two end tokens; longer texts are cut.
    """

    network: Any
    tokenizer: Any
    max_tokens: int

    def find(
        self, pixel_values: torch.Tensor, texts: Sequence[str], *, size_hw: tuple[int, int]
    ) -> list[Prediction]:
        """Return the instance with the best score for each text, however low that score is.

        Args:
            pixel_values: the image, output of the image processor. Shape: (1, 3, S, S).
            texts: each names one object.
            size_hw: of the image, and of the masks returned.

        Returns:
            The mask where the instance's probability, scaled bilinearly to the image, is above 0.5;
            its score is the query's probability times that of the text's presence.
        """
        import torch

        with torch.inference_mode():
            seen = self.network.get_vision_features(pixel_values=pixel_values)
            found: list[Prediction] = []
            for start in range(0, len(texts), _TEXTS_AT_ONCE):
                found += self._find(seen, list(texts[start : start + _TEXTS_AT_ONCE]), size_hw)
        return found

    def _find(self, seen: Any, texts: list[str], size_hw: tuple[int, int]) -> list[Prediction]:
        import torch
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        def repeated(maps: Sequence[torch.Tensor]) -> Any:
            return tuple(m.expand(len(texts), *m.shape[1:]) for m in maps)

        device = seen.fpn_hidden_states[0].device
        tokens = self.tokenizer(
            texts,
            padding="max_length",
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        ).to(device)
        output = self.network(
            vision_embeds=Sam3VisionEncoderOutput(
                fpn_hidden_states=repeated(seen.fpn_hidden_states),
                fpn_position_encoding=repeated(seen.fpn_position_encoding),
            ),
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
        )
        scores = output.pred_logits.sigmoid() * output.presence_logits.sigmoid()
        best = scores.argmax(dim=1)
        rows = torch.arange(len(texts), device=device)
        probabilities = output.pred_masks[rows, best].sigmoid()
        values = scores[rows, best].tolist()
        return [
            Prediction(mask=_scaled(probabilities[i], size_hw) > 0.5, score=values[i])
            for i in range(len(texts))
        ]


def _scaled(probabilities: torch.Tensor, size_hw: tuple[int, int]) -> Any:
    """Return a map (s, s) scaled to (H, W), as an array."""
    import torch

    full = torch.nn.functional.interpolate(
        probabilities[None, None], size=size_hw, mode="bilinear", align_corners=False
    )
    return full[0, 0].cpu().numpy()


def load_detector(folder: CheckpointFolder, *, tracker: LoadedModel) -> TextDetector:
    """Load the detector of a checkpoint, whose tracker is loaded already.

    Args:
        folder: the checkpoint.
        tracker: keeps the only copy of the backbone.

    Raises:
        ConfigError: a checkpoint without a detector or tokenizer, or with one that does not fit.
    """
    family = DETECTORS.get(folder.model_type)
    if family is None:
        raise ConfigError(
            [
                f"--initial-action text: {folder.path} is of model_type {folder.model_type!r}, "
                f"which takes no text; {' and '.join(DETECTORS)} (SAM 3 as published) does"
            ]
        )
    check_parts(folder, family=family)
    with quiet_transformers():
        network = load_network(folder, family=family)
        tokenizer = _load_tokenizer(folder, vocabulary=network.config.text_config.vocab_size)
    side = network.config.vision_config.image_size
    if side != tracker.side:
        raise ConfigError(
            [
                f"the detector in {folder.path} takes images of {side} x {side} pixels, its "
                f"tracker of {tracker.side} x {tracker.side}; both must take the same"
            ]
        )
    network = network.to(tracker.device).eval().requires_grad_(False)
    network.vision_encoder.backbone = tracker.network.vision_encoder.backbone
    return TextDetector(network, tokenizer, network.config.text_config.max_position_embeddings)


def tokenizer_sha256(folder: CheckpointFolder) -> str | None:
    """Return the sha256 of a checkpoint's tokenizer in hex, None for one that takes no text."""
    path = folder.path / _TOKENIZER
    if folder.model_type not in DETECTORS or not path.is_file():
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _load_tokenizer(folder: CheckpointFolder, *, vocabulary: int) -> Any:
    import transformers

    path = Path(folder.path) / _TOKENIZER
    if not path.is_file():
        raise ConfigError(
            [
                f"--initial-action text: {path} is missing, without which no text can be read; "
                "fetch the folder again"
            ]
        )
    try:
        tokenizer = transformers.CLIPTokenizer.from_pretrained(folder.path, local_files_only=True)
        size = len(tokenizer)
    except Exception as error:  # the library can raise anything on a malformed file
        raise ConfigError(
            [f"{path} cannot be read: {first_line(error)}; fetch the folder again"]
        ) from error
    if size > vocabulary:
        raise ConfigError(
            [
                f"{path} has {size} tokens, the model {vocabulary}; it belongs to another model, "
                "so fetch the folder again"
            ]
        )
    return tokenizer
