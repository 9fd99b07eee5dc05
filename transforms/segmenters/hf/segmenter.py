"""SAM, SAM-HQ, SAM 2, EdgeTAM and SAM 3 through Hugging Face transformers.

Every prediction asks for three masks and keeps the one with the best predicted IoU; its
low-resolution logits go back in with the next click, as in `hlmat.transforms.segmenters.sam`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hlmat.transforms.core.errors import SegmenterError
from hlmat.transforms.core.protocols import Image, Mask, Prediction, Request
from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.segmenters.hf.families import Prompts
from hlmat.transforms.segmenters.hf.files import read_checkpoint_folder
from hlmat.transforms.segmenters.hf.loading import load_model, preprocess
from hlmat.transforms.segmenters.hf.text_prompts import (
    TextDetector,
    load_detector,
    tokenizer_sha256,
)
from hlmat.transforms.segmenters.prompts import batches_of_one_kind, mask_logits, padded_size
from hlmat.transforms.torch_support.transformers import first_line

if TYPE_CHECKING:
    import torch


_PAIRS_AT_ONCE = 64
_IMAGES_AT_ONCE = 4


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """An encoded image.

    Attributes:
        maps: the encoder's outputs, on the device; each of shape (1, ...).
        size_hw: of the image.
        scaled_hw: of the image in the encoder's input, before padding.
    """

    maps: tuple[torch.Tensor, ...]
    size_hw: tuple[int, int]
    scaled_hw: tuple[int, int]


class HuggingFaceSegmenter:
    """A point-prompted SAM model of transformers.

    Args:
        checkpoint: the folder that `save_pretrained` writes: `config.json`, safetensors and
            optionally the image processor's settings. Model types: the keys of `families.FAMILIES`.
        device: a torch device, or "auto" for CUDA if available.

    Raises:
        ConfigError: no such folder, an unsupported model, inconsistent files, packages missing, or
            no such device.
    """

    def __init__(self, checkpoint: str | None = None, *, device: str = "auto") -> None:
        folder = read_checkpoint_folder(checkpoint)
        loaded = load_model(folder, device=device)
        self._folder = folder
        self._loaded = loaded
        self._detector: TextDetector | None = None
        self._model = loaded.model
        self._processor = loaded.processor
        self._device = loaded.device
        self._current: EncodedImage | None = None
        self._identity: dict[str, str | int | float | bool | None] = {
            "model_type": folder.model_type,
            "weights_sha256": folder.weights_sha256(),
            "settings_sha256": folder.settings_sha256(),
        }
        if (tokenizer := tokenizer_sha256(folder)) is not None:
            self._identity["tokenizer_sha256"] = tokenizer

    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the model type and the sha256 of weights, settings and a tokenizer."""
        return dict(self._identity)

    @property
    def leaves_cpu_free(self) -> bool:
        """Whether the model runs on a device other than the CPU."""
        return self._device.type != "cpu"

    def set_image(self, image: Image) -> None:
        """Encode the image once for all later predictions.

        Raises:
            SegmenterError: the image is so narrow that its shorter side scales to 0 pixels.
        """
        self._current = None
        self._current = self.encode_images([image])[0]

    def predict(
        self,
        *,
        clicks: Sequence[Click],
        box: Box | None = None,
        feedback: torch.Tensor | None = None,
    ) -> Prediction:
        """Segment one object.

        Args:
            clicks: every click so far, oldest first; may be empty when there is a box.
            box: a box around the object, or None.
            feedback: low-resolution logits of the previous prediction. Shape: (1, s, s); s is 256
                for the published SAM, SAM-HQ and SAM 2.
        """
        return self.predict_batch([Request(clicks=tuple(clicks), box=box, feedback=feedback)])[0]

    def predict_batch(self, requests: Sequence[Request]) -> list[Prediction]:
        """Segment several objects of the image in one decoder call for each kind of prompt."""
        if self._current is None:
            raise SegmenterError("no image is set: call set_image before predict")
        return self.predict_many([(self._current, request) for request in requests])

    def encode_images(self, images: Sequence[Image]) -> list[EncodedImage]:
        """Encode images; several per call on a device other than the CPU.

        Raises:
            SegmenterError: as `set_image`.
        """
        at_once = _IMAGES_AT_ONCE if self.leaves_cpu_free else 1
        encoded: list[EncodedImage] = []
        for start in range(0, len(images), at_once):
            encoded += self._encode(images[start : start + at_once])
        return encoded

    def predict_many(self, pairs: Sequence[tuple[EncodedImage, Request]]) -> list[Prediction]:
        """Segment objects of many images in one decoder call for each kind of prompt."""
        answers: dict[int, Prediction] = {}
        requests = [request for _, request in pairs]
        for indices in batches_of_one_kind(requests, at_most=_PAIRS_AT_ONCE):
            found = self._decode([pairs[i] for i in indices])
            answers.update(zip(indices, found, strict=True))
        return [answers[i] for i in range(len(pairs))]

    def feedback_of(self, mask: Mask) -> torch.Tensor:
        """Return a mask as low-resolution logits, see `mask_logits`. Shape: (1, s, s)."""
        import torch

        side, (height, width) = self._loaded.side, mask.shape
        resized_hw = (side, side)
        if self._loaded.keeps_aspect:
            resized_hw = padded_size(height, width, longest=side)
        logits = mask_logits(
            mask,
            resized_hw=resized_hw,
            square_size=side,
            logits_size=self._loaded.mask_side,
        )
        return torch.from_numpy(logits[None]).to(self._device)

    def load_texts(self) -> None:
        """Load the detector of SAM 3, which `predict_texts` needs; once.

        Raises:
            ConfigError: this model takes no text, or its detector or tokenizer cannot be loaded.
        """
        if self._detector is None:
            self._detector = load_detector(self._folder, tracker=self._loaded)

    def predict_texts(self, image: Image, texts: Sequence[str]) -> list[Prediction]:
        """Return the mask of the likeliest object for each text; see `TextDetector.find`.

        Raises:
            ConfigError: as `load_texts`.
            SegmenterError: as `set_image`.
        """
        self.load_texts()
        assert self._detector is not None
        pixels = self._preprocess(image)["pixel_values"].to(self._device)
        height, width = image.shape[:2]
        return self._detector.find(pixels, texts, size_hw=(height, width))

    def _encode(self, images: Sequence[Image]) -> list[EncodedImage]:
        import torch

        inputs = [self._preprocess(image) for image in images]
        with torch.inference_mode():
            pixels = torch.cat([given["pixel_values"] for given in inputs])
            maps = self._model.encode(pixels.to(self._device))
        encoded = []
        for index, (image, given) in enumerate(zip(images, inputs, strict=True)):
            # Only families that pad return the image's size within the square.
            height, width = given.get("reshaped_input_sizes", [pixels.shape[-2:]])[0]
            encoded.append(
                EncodedImage(
                    maps=tuple(m[index : index + 1] for m in maps),
                    size_hw=(image.shape[0], image.shape[1]),
                    scaled_hw=(int(height), int(width)),
                )
            )
        return encoded

    def _preprocess(self, image: Image) -> Any:
        try:
            return preprocess(self._processor, image)
        except (RuntimeError, ValueError) as error:
            raise SegmenterError(
                f"an image of {image.shape[1]} x {image.shape[0]} pixels cannot be scaled to the "
                f"model's input: {first_line(error)}"
            ) from error

    def _decode(self, pairs: Sequence[tuple[EncodedImage, Request]]) -> list[Prediction]:
        """Answer requests of one kind in one decoder call."""
        import torch

        request = pairs[0][1]
        if not request.clicks and request.box is None:
            raise ValueError("SAM needs at least one click or a box")
        with torch.inference_mode():
            logits, scores = self._model.decode(
                _stack_maps([image for image, _ in pairs]), self._prompts(pairs)
            )
            rows = torch.arange(len(pairs), device=logits.device)
            best = scores.argmax(dim=1)
            kept = logits[rows, best][:, None]
            masks = [self._upscale(kept[i : i + 1], image) for i, (image, _) in enumerate(pairs)]
            best_scores = scores[rows, best].tolist()
            feedback = self._model.to_feedback(kept)
        return [
            Prediction(mask=masks[i], score=best_scores[i], feedback=feedback[i])
            for i in range(len(pairs))
        ]

    def _upscale(self, logits: torch.Tensor, image: EncodedImage) -> Mask:
        """Return the full-size mask as the model's processor computes it; one at a time for memory.

        Args:
            logits: Shape: (1, 1, s, s).
            image: whose mask it is.
        """
        (full,) = self._processor.post_process_masks(
            [logits], [image.size_hw], reshaped_input_sizes=[image.scaled_hw]
        )
        return full[0, 0].cpu().numpy()

    def _prompts(self, pairs: Sequence[tuple[EncodedImage, Request]]) -> Prompts:
        """Return the prompts of requests of one kind, scaled as the model's processor does."""
        import torch

        scales_xy = np.array([np.divide(i.scaled_hw, i.size_hw)[::-1] for i, _ in pairs])
        requests = [request for _, request in pairs]

        def to_tensor(values: Any, dtype: torch.dtype) -> torch.Tensor:
            return torch.as_tensor(np.array(values), dtype=dtype, device=self._device)

        points = labels = boxes = masks = None
        if requests[0].clicks:
            coords = np.array([[(c.x, c.y) for c in r.clicks] for r in requests], np.float64)
            points = to_tensor((coords * scales_xy[:, None])[:, None], torch.float32)
            labels = to_tensor([[[c.is_positive for c in r.clicks]] for r in requests], torch.int64)
        if requests[0].box is not None:
            given = [b for b in (r.box for r in requests) if b is not None]
            corners = np.array([[(b.x0, b.y0), (b.x1, b.y1)] for b in given], np.float64)
            scaled = corners * scales_xy[:, None]
            boxes = to_tensor(scaled.reshape(-1, 1, 4), torch.float32)
        if requests[0].feedback is not None:
            masks = torch.stack([r.feedback for r in requests]).to(self._device, torch.float32)
        return Prompts(points=points, labels=labels, boxes=boxes, masks=masks)


def _stack_maps(images: Sequence[EncodedImage]) -> tuple[torch.Tensor, ...]:
    """Return the encoder's maps with one row per image; those of a single image are not copied."""
    import torch

    first = images[0].maps
    if all(image.maps is first for image in images):
        return tuple(m.expand(len(images), *m.shape[1:]) for m in first)
    return tuple(torch.cat(rows) for rows in zip(*(i.maps for i in images), strict=True))
