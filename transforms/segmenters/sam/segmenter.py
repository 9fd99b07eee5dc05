"""The Segment Anything Model with segment-anything's weights, for many images and targets at once.

Every prediction asks for three masks and keeps the one with the best predicted IoU; its
low-resolution logits go back in with the next click, as in the authors' interactive setting
(Kirillov et al. 2023, "Segment Anything").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.protocols import Image, Mask, Prediction, Request
from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.core.storage import LocalStorage, Storage
from hlmat.transforms.core.threads import Threads
from hlmat.transforms.masks.upsampling import Upsampling
from hlmat.transforms.segmenters.prompts import batches_of_one_kind, mask_logits
from hlmat.transforms.segmenters.sam.checkpoint import Identity, load_sam, model_identity
from hlmat.transforms.segmenters.sam.embedding_cache import (
    EmbeddingStore,
    StoreLimits,
    embedding_key,
)
from hlmat.transforms.segmenters.sam.options import SamOptions
from hlmat.transforms.torch_support.device import resolve_device

if TYPE_CHECKING:
    import torch
    from segment_anything.modeling import Sam

    from hlmat.transforms.segmenters.sam.decoder import EncodedImage

_PAIRS_ON_DEVICE = 64
_PAIRS_ON_CPU = 16


class SamSegmenter:
    """SAM with a checkpoint of the official layout.

    Masks equal the best of the three masks of segment-anything's `SamPredictor`, except for pixels
    decided by rounding: IoU at least 0.999 in float32.

    Args:
        checkpoint: path of the official `.pth` file; ViT-B, ViT-L or ViT-H is recognised from its
            weights.
        device: a torch device, or "auto" for CUDA if available.
        options: precision, compilation, kept embeddings.
        storage: reads `checkpoint`.
        threads: share the CPU work; if the model runs on the CPU, each uses one PyTorch thread.
            None leaves threading to PyTorch.

    Raises:
        ConfigError: no such file, not a SAM checkpoint, packages missing, or no such device.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        *,
        device: str = "auto",
        options: SamOptions | None = None,
        storage: Storage | None = None,
        threads: Threads | None = None,
    ) -> None:
        model, identity = load_sam(checkpoint, storage=storage or LocalStorage())
        self._use(model, identity, device=device, options=options, threads=threads)

    @classmethod
    def from_model(
        cls,
        model: Sam,
        *,
        device: str = "cpu",
        options: SamOptions | None = None,
        threads: Threads | None = None,
        identity: Identity | None = None,
    ) -> SamSegmenter:
        """Wrap a model built from segment-anything's classes; it is rebuilt for speed.

        Args:
            identity: the model's identity; None hashes all weights.
        """
        segmenter = cls.__new__(cls)
        identity = identity or model_identity(model)
        segmenter._use(model, identity, device=device, options=options, threads=threads)
        return segmenter

    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the model type, the sha256 of the weights, and settings that change masks."""
        return dict(self._identity)

    @property
    def leaves_cpu_free(self) -> bool:
        """Whether the model runs on a device other than the CPU."""
        return self._device.type != "cpu"

    def set_image(self, image: Image) -> None:
        """Encode the image once for all later predictions."""
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
            feedback: `low_res_logits` of the previous prediction. Shape: (1, 256, 256).
        """
        return self.predict_batch([Request(clicks=tuple(clicks), box=box, feedback=feedback)])[0]

    def predict_batch(self, requests: Sequence[Request]) -> list[Prediction]:
        """Segment several objects of the image in one decoder call for each kind of prompt."""
        if self._current is None:
            raise ValueError("SAM has no image yet; call set_image first")
        return self.predict_many([(self._current, request) for request in requests])

    def encode_images(self, images: Sequence[Image]) -> list[EncodedImage]:
        """Encode images, or load their embeddings from the store."""
        if self._store is None:
            return self._encoder.encode(images)
        return self._recall(self._store, images)

    def predict_many(self, pairs: Sequence[tuple[EncodedImage, Request]]) -> list[Prediction]:
        """Segment objects of many images, as many as fit in one decoder call.

        Requests in one call have the same number of clicks, and either all or none have a box or
        feedback, so no prompt needs padding. On the CPU, calls are small and spread over the
        threads; neither their size nor the masks depend on the number of threads.
        """
        at_most = _PAIRS_ON_DEVICE if self.leaves_cpu_free else _PAIRS_ON_CPU
        batches = list(batches_of_one_kind([request for _, request in pairs], at_most=at_most))
        calls = [[pairs[index] for index in batch] for batch in batches]
        if self.leaves_cpu_free:
            found = [self._predict(call, threads=self._threads) for call in calls]
        else:
            found = self._threads.map(self._predict, calls)
        by_index = dict(zip(chain.from_iterable(batches), chain.from_iterable(found), strict=True))
        return [by_index[index] for index in range(len(pairs))]

    def feedback_of(self, mask: Mask) -> torch.Tensor:
        """Return a mask as low-resolution logits, see `mask_logits`. Shape: (1, 256, 256)."""
        import torch

        logits = mask_logits(
            mask,
            resized_hw=self._encoder.resized_hw(mask.shape[0], mask.shape[1]),
            square_size=self._encoder.size,
            logits_size=self._logits_size,
        )
        return torch.from_numpy(logits[None]).to(self._device)

    def _use(
        self,
        model: Sam,
        identity: Identity,
        *,
        device: str,
        options: SamOptions | None,
        threads: Threads | None,
    ) -> None:
        from hlmat.transforms.segmenters.sam.decoder import SamDecoder
        from hlmat.transforms.segmenters.sam.encoder import SamEncoder

        options = options or SamOptions()
        self._device = resolve_device(device)
        if options.cuda_graphs and self._device.type != "cuda":
            raise ConfigError(
                [f"cuda_graphs needs a CUDA device, this one is {self._device}; leave it out"]
            )
        if threads is not None and not self.leaves_cpu_free:
            import torch

            # Fix the order of summation, independent of the number of cores.
            torch.set_num_threads(1)
        self._threads = threads or Threads()
        self._identity: Identity = {**identity, **options.identity()}
        self._store_identity = str(sorted(self._identity.items()))
        self._threshold = model.mask_threshold
        self._logits_size: int = model.prompt_encoder.mask_input_size[0]
        model = model.to(self._device).eval().requires_grad_(False)
        self._decoder = SamDecoder(model)
        self._encoder = SamEncoder(
            model,
            bf16=options.precision == "bf16",
            half_embeddings=options.embeddings == "float16",
            batch_size=options.encoder_batch or (4 if self.leaves_cpu_free else 1),
            compiled=options.compile,
            cuda_graphs=options.cuda_graphs,
            threads=self._threads,
        )
        limits = StoreLimits(
            device_bytes=options.bytes_of("device_gb"),
            host_bytes=options.bytes_of("memory_gb"),
            folder=options.store,
            folder_bytes=options.bytes_of("store_gb"),
        )
        keeps = options.keeps_embeddings
        self._store = EmbeddingStore(limits, device=self._device) if keeps else None
        self._current: EncodedImage | None = None

    def _recall(self, store: EmbeddingStore, images: Sequence[Image]) -> list[EncodedImage]:
        """Load embeddings from the store and encode the rest in batches."""
        keys = self._threads.map(
            lambda image: embedding_key(image, identity=self._store_identity), images
        )
        found: dict[int, EncodedImage] = {}
        for index, key in enumerate(keys):
            embedding = store.get(key)
            if embedding is not None:
                found[index] = self._encoder.encoded(images[index], embedding)
        missing = [index for index in range(len(images)) if index not in found]
        for index, encoded in zip(
            missing, self._encoder.encode([images[i] for i in missing]), strict=True
        ):
            store.put(keys[index], encoded.embedding)
            found[index] = encoded
        return [found[index] for index in range(len(images))]

    def _predict(
        self, pairs: Sequence[tuple[EncodedImage, Request]], *, threads: Threads | None = None
    ) -> list[Prediction]:
        """Answer requests of one kind in one decoder call."""
        images = [image for image, _ in pairs]
        decoded = self._decoder.decode(images, [request for _, request in pairs])
        logits = decoded.low_res_logits[:, 0].cpu().numpy()
        scores = decoded.scores.tolist()
        ways = {image: self._upsampling(image, logits.shape[-1]) for image in set(images)}

        def mask(index: int) -> Mask:
            return ways[images[index]].mask(logits[index], threshold=self._threshold)

        masks = (threads or Threads()).map(mask, range(len(pairs)))
        return [
            Prediction(mask=masks[i], score=scores[i], feedback=decoded.low_res_logits[i])
            for i in range(len(pairs))
        ]

    def _upsampling(self, image: EncodedImage, logits_size: int) -> Upsampling:
        return Upsampling.of(
            logits_size=logits_size,
            square_size=self._encoder.size,
            resized_hw=image.resized_hw,
            size_hw=image.size_hw,
        )
