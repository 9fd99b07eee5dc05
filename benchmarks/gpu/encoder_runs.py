"""The image encoder by itself, its attention and compilation, and the mask decoder."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.comparison import wait
from benchmarks.gpu.device_facts import best_seconds
from benchmarks.gpu.parts import Recorder, Setup
from benchmarks.gpu.worker_runs import Bench
from hlmat.transforms.core.protocols import Request
from hlmat.transforms.core.records import Click
from hlmat.transforms.core.threads import Threads, available_cores
from hlmat.transforms.segmenters.sam.attention import (
    attend_with_bias,
    attend_with_products,
    fuse_encoder_attention,
)
from hlmat.transforms.segmenters.sam.decoder import SamDecoder
from hlmat.transforms.segmenters.sam.encoder import SamEncoder


def measure_encoder(setup: Setup, record: Recorder) -> None:
    """Time the encoder's arithmetic by precision and batch, then `SamEncoder` with its resizing."""
    bench = Bench.of(setup, setup.models[0])
    batches = (1, 4, 8, 16, 32) if setup.on_cuda else (1, 2)
    for dtype, name, tf32, sizes in (
        (torch.bfloat16, "bf16", False, batches),
        (torch.float16, "fp16", False, batches[-3:-1]),
        (torch.float32, "fp32, TF32", True, batches[1:2]),
        (torch.float32, "fp32", False, batches[1:2]),
    ):
        if tf32 and not setup.on_cuda:
            continue
        module = encoder_module(bench, dtype)

        def work(
            module: nn.Module = module,
            dtype: torch.dtype = dtype,
            name: str = name,
            tf32: bool = tf32,
            sizes: tuple[int, ...] = sizes,
        ) -> None:
            torch.backends.cuda.matmul.allow_tf32 = tf32
            for batch in sizes:
                record_encoder(record, "Encoder", bench, module, dtype, batch, name=name)

        record.attempt(name, work)
        torch.backends.cuda.matmul.allow_tf32 = False
    record.attempt("SamEncoder", lambda: _whole_encoder(setup, record, bench))


def encoder_module(bench: Bench, dtype: torch.dtype) -> nn.Module:
    """Return a copy of the encoder with the worker's attention, all of it in one type."""
    encoder: Any = copy.deepcopy(bench.model.image_encoder)
    fuse_encoder_attention(encoder)
    return encoder.to(dtype).requires_grad_(False)


def record_encoder(
    record: Recorder,
    table: str,
    bench: Bench,
    module: Callable[[Tensor], Tensor],
    dtype: torch.dtype,
    batch: int,
    *,
    name: str,
) -> None:
    """Time calls of one batch of random numbers and record the row."""
    encoder: Any = bench.model.image_encoder
    shape = (batch, 3, encoder.img_size, encoder.img_size)
    images = torch.randn(shape, device=bench.setup.device, dtype=dtype)
    with torch.inference_mode():
        started = time.perf_counter()
        module(images)
        wait(bench.setup.device)
        first = time.perf_counter() - started
        seconds = best_seconds(lambda: module(images), bench.setup.device, times=5)
    achieved = bench.encoder_flops * batch / seconds
    record.row(
        table,
        model=bench.name,
        what=name,
        batch=batch,
        ms_an_image=1000 * seconds / batch,
        images_s=batch / seconds,
        tflops=achieved / 1e12,
        share_of_product=achieved / bench.peak_flops,
        first_call_s=first,
    )


def _whole_encoder(setup: Setup, record: Recorder, bench: Bench) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (480, 640, 3), dtype=np.uint8) for _ in range(32)]
    for batch in (4, 8, 16) if setup.on_cuda else (1, 4):
        encoder = SamEncoder(
            copy.deepcopy(bench.model),
            bf16=setup.on_cuda,
            batch_size=batch,
            threads=Threads(available_cores()),
        )
        seconds = best_seconds(lambda e=encoder: e.encode(images), setup.device, times=2)
        achieved = bench.encoder_flops * len(images) / seconds
        record.row(
            "SamEncoder with resizing and copies, bf16",
            batch=batch,
            images_s=len(images) / seconds,
            share_of_product=achieved / bench.peak_flops,
        )


def measure_compilation(setup: Setup, record: Recorder) -> None:
    """Time `torch.compile` of the encoder, whole and block by block, and captured graphs."""
    if not setup.on_cuda:
        record.note("compile: left out on the CPU, where compiling takes longer than this part")
        record.note("cuda_graphs: left out, no CUDA device")
        return
    bench, batch = Bench.of(setup, setup.models[0]), 8
    table = "Compilation, bf16"
    module = encoder_module(bench, torch.bfloat16)

    def plain() -> None:
        record_encoder(record, table, bench, module, torch.bfloat16, batch, name="as it is")

    def captured() -> None:
        graphed = _captured(bench, module, batch)
        record_encoder(record, table, bench, graphed, torch.bfloat16, batch, name="CUDA graph")

    def by_block() -> None:
        blocks = encoder_module(bench, torch.bfloat16)
        for block in getattr(blocks, "blocks"):  # noqa: B009
            block.compile()
        what = "blocks compiled"
        record_encoder(record, table, bench, blocks, torch.bfloat16, batch, name=what)
        graphed = _captured(bench, blocks, batch)
        what = "blocks compiled, CUDA graph"
        record_encoder(record, table, bench, graphed, torch.bfloat16, batch, name=what)

    def whole() -> None:
        compiled = torch.compile(encoder_module(bench, torch.bfloat16))
        record_encoder(record, table, bench, compiled, torch.bfloat16, batch, name="compiled")

    record.attempt("as it is", plain)
    record.attempt("CUDA graph", captured)
    record.attempt("blocks compiled", by_block, needs_s=5)
    record.attempt("compiled", whole, needs_s=record.budget_s * 0.3)


def _captured(bench: Bench, module: Callable[[Tensor], Tensor], batch: int) -> Any:
    """Return a function that replays the module's kernels on its own buffers."""
    encoder: Any = bench.model.image_encoder
    size = encoder.img_size
    images = torch.randn(batch, 3, size, size, device=bench.setup.device, dtype=torch.bfloat16)
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode():
        module(images)
        wait(bench.setup.device)
        with torch.cuda.graph(graph):
            output = module(images)

    def replay(given: Tensor) -> Tensor:
        images.copy_(given)
        graph.replay()
        return output

    return replay


def measure_attention(setup: Setup, record: Recorder) -> None:
    """Time ways to compute the encoder's attention in bf16, each compared with float32."""
    heads_and_widths = {"vit_l": (16, 64), "vit_h": (16, 80), "vit_b": (12, 64)}
    for name in [m for m in ("vit_l", "vit_h") if m in setup.models] or ["tiny"]:
        heads, channels = heads_and_widths.get(name, (2, 32))
        grid = 64 if setup.on_cuda else 16
        batch = 4 if setup.on_cuda else 1
        for where, images, side in (("global", batch, grid), ("window", batch * 25, 14)):
            _compare_attention(
                setup, record, label=(name, where), images=images, heads=heads, side=side,
                channels=channels, batch=batch,
            )  # fmt: skip


def _compare_attention(
    setup: Setup,
    record: Recorder,
    *,
    label: tuple[str, str],
    images: int,
    heads: int,
    side: int,
    channels: int,
    batch: int,
) -> None:
    shape = (images, heads, side * side, channels)
    torch.manual_seed(0)
    query, key, value = (
        torch.randn(shape, device=setup.device, dtype=torch.bfloat16) for _ in range(3)
    )
    terms = (images, heads, side, side, side)
    by_row, by_column = (
        torch.randn(terms, device=setup.device, dtype=torch.bfloat16) for _ in range(2)
    )
    query *= channels**-0.5
    truth = attend_with_bias(
        query[:1].float(), key[:1].float(), value[:1].float(),
        by_row=by_row[:1].float(), by_column=by_column[:1].float(),
    )  # fmt: skip

    def products(backend: SDPBackend) -> Callable[[], Tensor]:
        def work() -> Tensor:
            with sdpa_kernel(backend):
                return attend_with_products(query, key, value, by_row=by_row, by_column=by_column)

        return work

    def bias(backend: SDPBackend) -> Callable[[], Tensor]:
        def work() -> Tensor:
            added = (by_row[..., :, None] + by_column[..., None, :]).reshape(
                images, heads, side * side, side * side
            )
            with sdpa_kernel(backend):
                return functional.scaled_dot_product_attention(
                    query, key, value, attn_mask=added, scale=1.0
                )

        return work

    ways: list[tuple[str, Callable[[], Tensor]]] = [("wide product, chosen kernel", lambda: (
        attend_with_products(query, key, value, by_row=by_row, by_column=by_column)
    ))]  # fmt: skip
    if setup.on_cuda:
        ways += [
            ("wide product, flash", products(SDPBackend.FLASH_ATTENTION)),
            ("wide product, cuDNN", products(SDPBackend.CUDNN_ATTENTION)),
            ("bias, memory-efficient", bias(SDPBackend.EFFICIENT_ATTENTION)),
            ("bias, cuDNN", bias(SDPBackend.CUDNN_ATTENTION)),
            ("flex_attention", _flex(query, key, value, by_row, by_column, side)),
            ("no terms, flash", lambda: _bare(query, key, value, SDPBackend.FLASH_ATTENTION)),
            ("no terms, cuDNN", lambda: _bare(query, key, value, SDPBackend.CUDNN_ATTENTION)),
        ]
    ways.append(("bias by rows", lambda: attend_with_bias(
        query, key, value, by_row=by_row, by_column=by_column
    )))  # fmt: skip
    for way, work in ways:

        def measure(way: str = way, work: Callable[[], Tensor] = work) -> None:
            with torch.inference_mode():
                started = time.perf_counter()
                found = work()[:1].float()
                first = time.perf_counter() - started
                seconds = best_seconds(work, setup.device, times=5)
            nominal = 4 * images * heads * (side * side) ** 2 * channels
            record.row(
                "Attention, bf16",
                model=label[0],
                where=label[1],
                way=way,
                us_an_image=1e6 * seconds / batch,
                tflops=nominal / seconds / 1e12,
                error=float((found - truth).norm() / truth.norm()),
                first_call_s=first,
            )

        record.attempt(f"{label[0]} {label[1]}, {way}", measure)


def _bare(query: Tensor, key: Tensor, value: Tensor, backend: SDPBackend) -> Tensor:
    with sdpa_kernel(backend):
        return functional.scaled_dot_product_attention(query, key, value, scale=1.0)


def _flex(
    query: Tensor, key: Tensor, value: Tensor, by_row: Tensor, by_column: Tensor, side: int
) -> Callable[[], Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    rows, columns = by_row.flatten(2, 3), by_column.flatten(2, 3)
    compiled: Any = torch.compile(flex_attention, dynamic=False)

    def with_terms(score: Any, b: Any, h: Any, q: Any, k: Any) -> Any:
        return score + rows[b, h, q, k // side] + columns[b, h, q, k % side]

    return lambda: compiled(query, key, value, score_mod=with_terms, scale=1.0)


def measure_decoder(setup: Setup, record: Recorder) -> None:
    """Time the decoder by pairs a call and precision."""
    bench = Bench.of(setup, setup.models[0])
    encoder = SamEncoder(copy.deepcopy(bench.model), batch_size=1)
    image = encoder.encode([np.zeros((480, 640, 3), dtype=np.uint8)])[0]
    decoder = SamDecoder(copy.deepcopy(bench.model))
    side = bench.model.prompt_encoder.mask_input_size[0]
    request = Request(
        clicks=(Click(5, 6, True), Click(50, 60, False), Click(70, 20, True)),
        feedback=torch.randn(1, side, side, device=setup.device),
    )
    kinds: list[tuple[str, bool, torch.dtype | None]] = [("fp32", False, None)]
    if setup.on_cuda:
        kinds += [("fp32, TF32", True, None), ("bf16 autocast", False, torch.bfloat16)]
    for name, tf32, cast in kinds:

        def work(name: str = name, tf32: bool = tf32, cast: torch.dtype | None = cast) -> None:
            torch.backends.cuda.matmul.allow_tf32 = tf32
            for pairs in (8, 32, 64, 128) if setup.on_cuda else (4, 16):
                # Different tensors, as the worker has them: none is shared.
                images = [copy.copy(image) for _ in range(pairs)]
                for each in images:
                    object.__setattr__(each, "embedding", image.embedding.clone())

                def decode(images: Any = images, pairs: int = pairs) -> None:
                    with torch.autocast(
                        "cuda" if setup.on_cuda else "cpu",
                        dtype=cast or torch.bfloat16,
                        enabled=cast is not None,
                    ):
                        decoder.decode(images, [request] * pairs)

                seconds = best_seconds(decode, setup.device, times=5)
                row = {"precision": name, "pairs": pairs, "us_a_pair": 1e6 * seconds / pairs}
                logits = torch.randn(pairs, side, side, device=setup.device)
                copied = best_seconds(lambda x=logits: x.cpu(), setup.device)
                row["us_a_pair_copied_back"] = 1e6 * copied / pairs
                record.row("Decoder", **row)

        record.attempt(f"decoder {name}", work)
        torch.backends.cuda.matmul.allow_tf32 = False
