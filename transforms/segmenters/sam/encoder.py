"""SAM's image encoder, in batches of one size and the requested precision."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor, nn
from torch.nn import functional

from hlmat.transforms.core.errors import is_out_of_memory
from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.threads import Threads
from hlmat.transforms.segmenters.prompts import padded_size
from hlmat.transforms.segmenters.sam.attention import fuse_encoder_attention
from hlmat.transforms.segmenters.sam.decoder import EncodedImage

if TYPE_CHECKING:
    from segment_anything.modeling import Sam


class SamEncoder:
    """Encode images as embeddings.

    All batches have the same size (the last one is padded), so an embedding does not depend on the
    number of images and a compiled encoder sees a single shape. Batches of one image are spread
    over the threads.

    Args:
        model: SAM built from segment-anything's classes, on its device and in evaluation mode; its
            encoder is rebuilt for speed.
        bf16: compute the blocks of the transformer in bfloat16.
        half_embeddings: return float16.
        batch_size: images per call; halved permanently when out of memory.
        compiled: compile the blocks of the transformer.
        cuda_graphs: capture a batch's kernels once and replay them as one launch; needs a CUDA
            device.
        threads: resize images, and encode them if the batch size is 1.
    """

    def __init__(
        self,
        model: Sam,
        *,
        bf16: bool = False,
        half_embeddings: bool = False,
        batch_size: int = 1,
        compiled: bool = False,
        cuda_graphs: bool = False,
        threads: Threads | None = None,
    ) -> None:
        encoder: Any = model.image_encoder
        fuse_encoder_attention(encoder)
        if bf16:
            encoder.to(torch.bfloat16)
            encoder.neck = _InFloat32(encoder.neck)
        if compiled:
            # Block by block: all blocks of one kind share the code, which is compiled once.
            for block in encoder.blocks:
                block.compile()
        self._encoder = _Captured(encoder) if cuda_graphs else encoder
        self._input_type = torch.bfloat16 if bf16 else torch.float32
        self._output_type = torch.float16 if half_embeddings else torch.float32
        self._batch_size = batch_size
        self._threads = threads or Threads()
        self._mean = cast("Tensor", model.pixel_mean)
        self._std = cast("Tensor", model.pixel_std)
        self._own_stream = torch.cuda.Stream(self._mean.device) if self._mean.is_cuda else None
        self.size: int = encoder.img_size

    def encode(self, images: Sequence[Image]) -> list[EncodedImage]:
        """Encode images of any sizes.

        Raises:
            RuntimeError: out of memory for a single image, or another error of torch.
        """
        if self._batch_size == 1:
            return self._threads.map(self._encode_one, images)
        resized = self._threads.map(self._resize, images)
        embeddings: list[Tensor] = []
        while len(embeddings) < len(images):
            batch = resized[len(embeddings) : len(embeddings) + self._batch_size]
            try:
                embeddings += self._encode_batch(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self._batch_size == 1:
                    raise
                self._batch_size //= 2
        return [self.encoded(i, e) for i, e in zip(images, embeddings, strict=True)]

    def _encode_one(self, image: Image) -> EncodedImage:
        return self.encoded(image, self._encode_batch([self._resize(image)])[0])

    def encoded(self, image: Image, embedding: Tensor) -> EncodedImage:
        """Combine an embedding with the sizes of its image."""
        height, width = image.shape[:2]
        return EncodedImage(
            embedding, size_hw=(height, width), resized_hw=self.resized_hw(height, width)
        )

    def resized_hw(self, height: int, width: int) -> tuple[int, int]:
        """Scale the longer side to the encoder's, as segment-anything's predictor does."""
        return padded_size(height, width, longest=self.size)

    def _resize(self, image: Image) -> Image:
        height, width = self.resized_hw(image.shape[0], image.shape[1])
        resized = PillowImage.fromarray(image).resize(
            (width, height), PillowImage.Resampling.BILINEAR
        )
        return np.array(resized)

    def _encode_batch(self, images: Sequence[Image]) -> list[Tensor]:
        with torch.inference_mode(), self._stream():
            squares = [self._normalise(image) for image in images]
            missing = self._batch_size - len(squares)
            batch = torch.stack(squares + squares[-1:] * missing).to(self._input_type)
            embeddings = self._encoder(batch)[: len(images)]
            # Copy each: a cached embedding must not keep the batch or a graph's memory alive.
            copies = [e.to(self._output_type, copy=True) for e in embeddings.unbind(0)]
        if self._own_stream is not None:
            self._own_stream.synchronize()
        return copies

    def _stream(self) -> AbstractContextManager[Any]:
        """Encode concurrently with the decoder on the same device."""
        return nullcontext() if self._own_stream is None else torch.cuda.stream(self._own_stream)

    def _normalise(self, image: Image) -> Tensor:
        """Return the image on the device, normalised and padded. Shape: (3, size, size)."""
        pixels = torch.from_numpy(image).to(self._mean.device)
        normal = (pixels.permute(2, 0, 1).float() - self._mean) / self._std
        return functional.pad(
            normal, (0, self.size - normal.shape[2], 0, self.size - normal.shape[1])
        )


class _InFloat32(nn.Module):
    """Run a module in float32 for any input dtype."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._module = module.float()

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self._module(x.float()))


class _Captured:
    """Launches a module's kernels as one CUDA graph, captured from its first call.

    torch.compile's graphs belong to the thread that captured them, but batches come from several
    threads. Hundreds of separate launches would also compete for Python's lock with the threads
    that search clicks; this is a single launch. Call it with a dedicated stream set as the current
    one.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._graph: torch.cuda.CUDAGraph | None = None
        self._input = torch.empty(0)
        self._output = torch.empty(0)

    def __call__(self, batch: Tensor) -> Tensor:
        """Return the module's output; the next call overwrites it."""
        if self._graph is None or self._input.shape != batch.shape:
            self._capture(batch)
        else:
            self._input.copy_(batch)
        cast("torch.cuda.CUDAGraph", self._graph).replay()
        return self._output

    def _capture(self, batch: Tensor) -> None:
        self._graph = None
        stream = torch.cuda.current_stream(batch.device)
        # Warm up first: compilation, planning and allocation must not be captured.
        for _ in range(2):
            self._module(batch)
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Other threads keep using the device meanwhile.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            self._output = self._module(batch)
        self._input, self._graph = batch, graph
