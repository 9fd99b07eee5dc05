"""SimpleClick: from clicks to a mask, zoomed in on the object (Liu et al. 2023).

A reimplementation of the authors' predictor as in their evaluation: every prediction averages the
image and its mirror image, uses a crop that follows the object, and takes the previous
probabilities as input. Paper: "SimpleClick: Interactive Image Segmentation with Simple Vision
Transformers".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hlmat.transforms.core.errors import ConfigError, SegmenterError
from hlmat.transforms.core.protocols import Image, Mask, Prediction, Request
from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.core.storage import LocalStorage, Storage
from hlmat.transforms.segmenters.simpleclick.target import TargetRequest, TargetState, check_image
from hlmat.transforms.segmenters.simpleclick.zoom import NETWORK_SIDE, point_rows, rows_needed
from hlmat.transforms.torch_support.device import resolve_device

if TYPE_CHECKING:
    import torch

OFFICIAL_CHECKPOINTS = "https://github.com/uncbiag/SimpleClick"

Network = Callable[["torch.Tensor", "torch.Tensor"], Any]
"""Maps images (B, 4, 448, 448) and points (B, 2n, 3) to logits (B, 1, 448, 448).

As `simpleclick_network.SimpleClickNetwork.forward`, points in float64. Logits are returned directly
or, as by the authors' classes, under the key "instances".
"""


class SimpleClick:
    """SimpleClick with a checkpoint of the official layout.

    The mask is where the probability exceeds 0.49. A target's next prediction needs the feedback of
    its last one. Without feedback the target is new and all its clicks go into one prediction, as
    in the authors' predictor; the result differs from that of one prediction per click.

    Args:
        checkpoint: path of an official `.pth` file; ViT-B, ViT-L or ViT-H is recognised from its
            config.
        device: a torch device, or "auto" for CUDA if available.
        storage: reads `checkpoint`.
        max_targets: targets per call of the network, each counted twice for its mirror image; about
            0.2 GB of memory per target with ViT-B.

    Raises:
        ConfigError: no such file, not a SimpleClick checkpoint, torch missing, or no such device.
    """

    takes_boxes = False

    def __init__(
        self,
        checkpoint: str | None = None,
        *,
        device: str = "auto",
        storage: Storage | None = None,
        max_targets: int = 16,
    ) -> None:
        storage = storage or LocalStorage()
        if not checkpoint or not storage.is_file(checkpoint):
            raise ConfigError([_missing_checkpoint(checkpoint)])
        load_networks = _import_loader()
        where = resolve_device(device)
        data = storage.read_bytes(checkpoint)
        networks = load_networks(data, name=checkpoint)
        self._use(networks, device=where, max_targets=max_targets)
        self._identity: dict[str, str | int | float | bool | None] = {
            "model_size": networks[0].architecture.name,
            "weights_sha256": hashlib.sha256(data).hexdigest(),
        }

    @classmethod
    def from_network(
        cls, network: torch.nn.Module, *, device: str = "cpu", max_targets: int = 16
    ) -> SimpleClick:
        """Wrap another network, for tests and modified models.

        Args:
            network: called as in `Network`.
        """
        segmenter = cls.__new__(cls)
        segmenter._use((network,), device=resolve_device(device), max_targets=max_targets)
        segmenter._identity = {"model_size": "custom", "weights_sha256": _state_sha256(network)}
        return segmenter

    def _use(
        self, networks: Sequence[torch.nn.Module], *, device: torch.device, max_targets: int
    ) -> None:
        if max_targets < 1:
            raise ConfigError([f"max_targets is {max_targets}; expected 1 or more"])
        self.networks = tuple(n.to(device).eval().requires_grad_(False) for n in networks)
        self._device = device
        self._max_targets = max_targets
        self._current: torch.Tensor | None = None

    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the model's size and the sha256 of the weights."""
        return dict(self._identity)

    @property
    def leaves_cpu_free(self) -> bool:
        """Whether the network runs on a device other than the CPU."""
        return self._device.type != "cpu"

    def set_image(self, image: Image) -> None:
        """Set the image of the next predictions.

        Args:
            image: uint8 RGB. Shape: (H, W, 3).

        Raises:
            SegmenterError: another dtype or shape, or no pixels.
        """
        self._current = self.encode_images([image])[0]

    def encode_images(self, images: Sequence[Image]) -> list[torch.Tensor]:
        """Move images to the device; the network runs only after the first click.

        Returns:
            uint8. Shape of each: (3, H, W).

        Raises:
            SegmenterError: as `set_image`.
        """
        import torch

        for image in images:
            check_image(image)
        planes = [np.ascontiguousarray(image.transpose(2, 0, 1)) for image in images]
        return [torch.tensor(p, device=self._device) for p in planes]

    def predict(
        self, *, clicks: Sequence[Click], box: Box | None = None, feedback: Any = None
    ) -> Prediction:
        """Segment one object.

        Args:
            clicks: every click so far, oldest first, at least one.
            box: None; SimpleClick takes no boxes.
            feedback: the `TargetState` of the target's last prediction, None for a new target.

        Raises:
            ValueError: a box was given.
            SegmenterError: no image, no click, a click outside the image, or feedback from another
                tool or for an image of another size.
        """
        return self.predict_batch([Request(clicks=tuple(clicks), box=box, feedback=feedback)])[0]

    def predict_batch(self, requests: Sequence[Request]) -> list[Prediction]:
        """Segment several objects of the image in one call of the network.

        Raises:
            ValueError, SegmenterError: as `predict`.
        """
        if self._current is None:
            raise SegmenterError("no image is set: call set_image before predict")
        current = self._current
        return self.predict_many([(current, request) for request in requests])

    def predict_many(self, pairs: Sequence[tuple[torch.Tensor, Request]]) -> list[Prediction]:
        """Segment objects of several images in one call of the network.

        Args:
            pairs: an image's result of `encode_images`, and a request about it.

        Raises:
            ValueError, SegmenterError: as `predict`.
        """
        targets = [TargetRequest.of(image, request) for image, request in pairs]
        answers: dict[int, Prediction] = {}
        for network, indices in self._batches(targets):
            predictions = self._answer(network, [targets[i] for i in indices])
            answers.update(zip(indices, predictions, strict=True))
        return [answers[i] for i in range(len(pairs))]

    def feedback_of(self, mask: Mask) -> TargetState:
        """Return a mask as the previous probabilities, 0 and 1. Shape: (H, W)."""
        return TargetState.of_mask(mask)

    def _batches(self, targets: Sequence[TargetRequest]) -> Iterator[tuple[Network, list[int]]]:
        """Yield networks with the targets that each answers, at most `max_targets` at once."""
        # A checkpoint may hold one network per click; the last one answers all further clicks.
        numbers = [min(len(t.clicks), len(self.networks)) - 1 for t in targets]
        for number, network in enumerate(self.networks):
            indices = [i for i, n in enumerate(numbers) if n == number]
            for start in range(0, len(indices), self._max_targets):
                yield network, indices[start : start + self._max_targets]

    def _answer(self, network: Network, targets: Sequence[TargetRequest]) -> list[Prediction]:
        """Answer several targets in one call of the network."""
        import torch

        with torch.inference_mode():
            images = torch.cat([target.network_input() for target in targets])
            both = torch.cat([images, images.flip(3)])
            count = max(rows_needed(target.clicks) for target in targets)
            rows = [
                point_rows(t.clicks, t.crop, rows_per_sign=count, mirrored=mirrored)
                for mirrored in (False, True)
                for t in targets
            ]
            # float32 would change a few pixels at the rims of the disks.
            points = torch.tensor(rows, dtype=torch.float64, device=self._device)
            logits = _logits(network(both, points), count=len(both))
            straight, mirrored = logits.chunk(2)
            probabilities = (0.5 * (straight + mirrored.flip(3))).sigmoid()
            return [t.prediction(p[None]) for t, p in zip(targets, probabilities, strict=True)]


def _logits(output: Any, *, count: int) -> torch.Tensor:
    logits = output["instances"] if isinstance(output, Mapping) else output
    expected = (count, 1, NETWORK_SIDE, NETWORK_SIDE)
    if tuple(logits.shape) != expected:
        raise SegmenterError(
            f"the network must return logits of shape {expected}, got {tuple(logits.shape)}"
        )
    return logits


def _import_loader() -> Callable[..., Any]:
    try:
        from hlmat.transforms.segmenters.simpleclick.checkpoint import load_networks
    except ImportError as error:
        raise ConfigError(
            [
                f"the segmenter 'simpleclick' needs the package {error.name!r}, which is not "
                "installed; run `make install-sam`, or pip install 'hlmat[sam]'"
            ]
        ) from error
    return load_networks


def _missing_checkpoint(checkpoint: str | None) -> str:
    what = f"there is no checkpoint at {checkpoint!r}" if checkpoint else "no checkpoint was given"
    return (
        f"segmenter 'simpleclick': {what}; pass the path of an official file with --checkpoint, "
        f"for instance cocolvis_vit_large.pth (linked at {OFFICIAL_CHECKPOINTS})"
    )


def _state_sha256(network: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
