"""The Segment Anything Model through the package segment-anything.

Every prediction asks for three masks and keeps the one with the best predicted IoU; its
low-resolution logits go back in with the next click, as in the authors' own interactive use
(Kirillov et al. 2023, "Segment Anything").
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from transforms.errors import ConfigError
from transforms.protocols import Image, Prediction, Request
from transforms.records import Box, Click
from transforms.storage import LocalStorage, Storage

if TYPE_CHECKING:
    import torch
    from segment_anything.modeling import Sam

OFFICIAL_CHECKPOINTS = {
    "vit_b": "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth",
    "vit_l": "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_l_0b3195.pth",
    "vit_h": "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
}
_MODEL_TYPE_OF_WIDTH = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
_PATCH_EMBEDDING = "image_encoder.patch_embed.proj.weight"


class SamSegmenter:
    """SAM with a checkpoint of the official layout.

    Args:
        checkpoint: path of the official `.pth` file, ViT-B, ViT-L or ViT-H; which of them it is
            is read off the weights.
        device: a torch device, or "auto" for CUDA where there is one.
        storage: where `checkpoint` lies.

    Raises:
        ConfigError: no such file, not a SAM checkpoint, packages missing, or no such device.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        *,
        device: str = "auto",
        storage: Storage | None = None,
    ) -> None:
        storage = storage or LocalStorage()
        if not checkpoint or not storage.is_file(checkpoint):
            raise ConfigError([_missing_checkpoint(checkpoint)])
        data = storage.read_bytes(checkpoint)
        model, model_type = _load_model(data, name=checkpoint)
        self._use(model, device=device)
        self._description: dict[str, str | int | float | bool | None] = {
            "model_type": model_type,
            "weights_sha256": hashlib.sha256(data).hexdigest(),
        }

    @classmethod
    def from_model(cls, model: Sam, *, device: str = "cpu") -> SamSegmenter:
        """Wrap a model of segment-anything's own classes, for tests and modified models."""
        segmenter = cls.__new__(cls)
        segmenter._use(model, device=device)
        segmenter._description = {"model_type": "custom", "weights_sha256": _state_sha256(model)}
        return segmenter

    def describe(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the model type and the sha256 of the weights."""
        return dict(self._description)

    def set_image(self, image: Image) -> None:
        """Encode the picture once for all predictions that follow."""
        self._predictor.set_image(image)

    def held_image(self) -> Any:
        """Return the picture's embedding with its size before and after SAM's resize."""
        predictor = self._predictor
        return predictor.features, predictor.original_size, predictor.input_size

    def hold_image(self, held: Any) -> None:
        """Take up an earlier picture without encoding it again."""
        predictor = self._predictor
        predictor.features, predictor.original_size, predictor.input_size = held
        predictor.is_image_set = True

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
            feedback: `low_res_logits` of the previous prediction. Shape: (1, 256, 256).
        """
        return self.predict_batch([Request(clicks=tuple(clicks), box=box, feedback=feedback)])[0]

    def predict_batch(self, requests: Sequence[Request]) -> list[Prediction]:
        """Segment several objects of the picture in one decoder call for each kind of prompt.

        Requests of one kind agree in the number of clicks and in whether they carry a box and
        feedback, so that no prompt has to be padded.
        """
        kinds: dict[tuple[int, bool, bool], list[int]] = {}
        for index, request in enumerate(requests):
            kind = (len(request.clicks), request.box is not None, request.feedback is not None)
            kinds.setdefault(kind, []).append(index)
        answers: dict[int, Prediction] = {}
        for indices in kinds.values():
            answers.update(zip(indices, self._decode([requests[i] for i in indices]), strict=True))
        return [answers[i] for i in range(len(requests))]

    def _use(self, model: Sam, *, device: str) -> None:
        from segment_anything import SamPredictor

        self._model = model.to(_resolve_device(device)).eval().requires_grad_(False)
        self._predictor = SamPredictor(self._model)

    def _decode(self, requests: Sequence[Request]) -> list[Prediction]:
        import torch

        if not requests[0].clicks and requests[0].box is None:
            raise ValueError("SAM needs at least one click or a box")
        with torch.inference_mode():
            sparse, dense = self._model.prompt_encoder(
                points=self._point_prompts(requests),
                boxes=self._box_prompts(requests),
                masks=self._mask_prompts(requests),
            )
            logits, scores = self._model.mask_decoder(
                image_embeddings=self._predictor.features,
                image_pe=self._model.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=True,
            )
            rows = torch.arange(len(requests), device=logits.device)
            best = scores.argmax(dim=1)
            low_res_logits = logits[rows, best][:, None]
            full = self._model.postprocess_masks(
                low_res_logits, self._predictor.input_size, self._predictor.original_size
            )
            masks = (full[:, 0] > self._model.mask_threshold).cpu().numpy()
            best_scores = scores[rows, best].float().cpu().numpy()
        return [
            Prediction(mask=masks[i], score=float(best_scores[i]), feedback=low_res_logits[i])
            for i in range(len(requests))
        ]

    def _point_prompts(
        self, requests: Sequence[Request]
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return `point_coords` (N, t, 2) in the encoder's pixels and `point_labels` (N, t)."""
        import torch

        if not requests[0].clicks:
            return None
        coords = np.array([[(c.x, c.y) for c in r.clicks] for r in requests], dtype=np.float64)
        labels = np.array([[c.is_positive for c in r.clicks] for r in requests], dtype=np.int64)
        scaled = self._predictor.transform.apply_coords(coords, self._predictor.original_size)
        device = self._predictor.device
        return (
            torch.as_tensor(scaled, dtype=torch.float32, device=device),
            torch.as_tensor(labels, device=device),
        )

    def _box_prompts(self, requests: Sequence[Request]) -> torch.Tensor | None:
        """Return corners (N, 4) in the encoder's pixels."""
        import torch

        if any(r.box is None for r in requests):
            return None
        corners = np.array(
            [(b.x0, b.y0, b.x1, b.y1) for b in (r.box for r in requests) if b], dtype=np.float64
        )
        scaled = self._predictor.transform.apply_boxes(corners, self._predictor.original_size)
        return torch.as_tensor(scaled, dtype=torch.float32, device=self._predictor.device)

    def _mask_prompts(self, requests: Sequence[Request]) -> torch.Tensor | None:
        """Return the previous low-resolution logits (N, 1, 256, 256)."""
        import torch

        if any(r.feedback is None for r in requests):
            return None
        return torch.stack([r.feedback for r in requests]).to(self._predictor.device)


def _load_model(data: bytes, *, name: str) -> tuple[Sam, str]:
    try:
        import torch

        from transforms.torchvision_ops import ensure_importable

        ensure_importable()
        from segment_anything import sam_model_registry
    except ImportError as error:
        raise ConfigError(
            [
                f"the segmenter 'sam' needs the package {error.name!r}, which is not installed; "
                "run `make install-sam`, or pip install 'hlmat[sam]'"
            ]
        ) from error
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        raise ConfigError(
            [
                f"{name} cannot be read as a checkpoint of plain tensors: "
                f"{str(error).splitlines()[0]}; expected an official SAM file, for instance "
                f"{OFFICIAL_CHECKPOINTS['vit_b']}"
            ]
        ) from error
    width = _patch_embedding_width(state)
    model_type = _MODEL_TYPE_OF_WIDTH.get(width or 0)
    if model_type is None:
        raise ConfigError(
            [
                f"{name} is not a SAM checkpoint: expected {_PATCH_EMBEDDING!r} of width "
                f"{sorted(_MODEL_TYPE_OF_WIDTH)}, got {width or 'no such tensor'}"
            ]
        )
    model = sam_model_registry[model_type](checkpoint=None)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ConfigError(
            [f"{name} does not fit SAM {model_type}: {' '.join(str(error).split())[:300]}"]
        ) from error
    return model, model_type


def _patch_embedding_width(state: Any) -> int | None:
    weight = state.get(_PATCH_EMBEDDING) if isinstance(state, Mapping) else None
    return int(weight.shape[0]) if weight is not None and hasattr(weight, "shape") else None


def _missing_checkpoint(checkpoint: str | None) -> str:
    where = "\n".join(f"  {name}: {url}" for name, url in OFFICIAL_CHECKPOINTS.items())
    what = f"there is no checkpoint at {checkpoint!r}" if checkpoint else "no checkpoint was given"
    return (
        f"segmenter 'sam': {what}; download one of the official files and pass its path with "
        f"--checkpoint:\n{where}"
    )


def _resolve_device(device: str) -> torch.device:
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ConfigError([f"{device!r} is no torch device; use cpu, cuda or cuda:N"]) from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            [f"device {device!r} was asked for, but this torch sees no CUDA device; use cpu"]
        )
    return resolved


def _state_sha256(model: Sam) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
