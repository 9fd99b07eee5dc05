"""SAM: equal to the package's own predictor, batched, with checkpoints of the official layout."""

from __future__ import annotations

import copy
import io
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.random_sam import random_sam
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.protocols import (
    BatchSegmenter,
    ManyImagesSegmenter,
    MaskPromptSegmenter,
    Request,
    Segmenter,
)
from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.core.storage import MemoryStorage
from hlmat.transforms.core.threads import Threads
from hlmat.transforms.masks.rle import mask_iou
from hlmat.transforms.segmenters.sam.options import SamOptions
from hlmat.transforms.segmenters.sam.segmenter import SamSegmenter
from hlmat.transforms.torch_support.torchvision import ensure_importable

torch = pytest.importorskip("torch")
ensure_importable()
segment_anything = pytest.importorskip("segment_anything")

from hlmat.transforms.segmenters.sam import attention as sam_attention  # noqa: E402
from hlmat.transforms.segmenters.sam.decoder import Decoded  # noqa: E402


@pytest.fixture
def model() -> Any:
    """A SAM of segment-anything's own classes with random weights, for images of 256 px."""
    return random_sam("tiny")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


@pytest.fixture
def segmenter(model: Any, image: np.ndarray) -> SamSegmenter:
    tool = SamSegmenter.from_model(copy.deepcopy(model))
    tool.set_image(image)
    return tool


CLICKS = (Click(30, 40, True), Click(100, 10, False), Click(60, 80, True))


def test_it_fits_the_protocols(segmenter: SamSegmenter):
    assert isinstance(segmenter, Segmenter)
    assert isinstance(segmenter, BatchSegmenter)
    assert isinstance(segmenter, ManyImagesSegmenter)


def test_it_answers_as_the_packages_predictor_does(
    segmenter: SamSegmenter, model: Any, image: np.ndarray
):
    predictor = segment_anything.SamPredictor(model)
    predictor.set_image(image)
    theirs_logits = None
    ours_feedback = None
    for count in range(1, 4):
        clicks = CLICKS[:count]
        masks, scores, logits = predictor.predict(
            point_coords=np.array([(c.x, c.y) for c in clicks]),
            point_labels=np.array([int(c.is_positive) for c in clicks]),
            mask_input=theirs_logits,
            multimask_output=True,
        )
        best = int(scores.argmax())
        theirs_logits = logits[best][None]
        ours = segmenter.predict(clicks=clicks, feedback=ours_feedback)
        ours_feedback = ours.feedback
        assert ours.score == pytest.approx(scores[best], abs=1e-6)
        assert mask_iou(ours.mask, masks[best]) >= 0.999
        np.testing.assert_allclose(ours.feedback.numpy(), theirs_logits, atol=1e-5)
        assert tuple(ours.feedback.shape) == (1, 64, 64)


def test_a_box_is_a_prompt_of_its_own(segmenter: SamSegmenter, model: Any, image: np.ndarray):
    predictor = segment_anything.SamPredictor(model)
    predictor.set_image(image)
    masks, scores, _ = predictor.predict(box=np.array([10, 20, 80, 70]), multimask_output=True)
    ours = segmenter.predict(clicks=(), box=Box(10, 20, 80, 70))
    assert mask_iou(ours.mask, masks[int(scores.argmax())]) >= 0.999


def test_a_batch_of_mixed_prompts_answers_each_as_alone(segmenter: SamSegmenter):
    first = segmenter.predict(clicks=CLICKS[:1])
    requests = [
        Request(clicks=CLICKS[:1]),
        Request(clicks=CLICKS[:2], feedback=first.feedback),
        Request(clicks=(), box=Box(5, 5, 60, 60)),
        Request(clicks=CLICKS[1:2]),
    ]
    together = segmenter.predict_batch(requests)
    for request, answer in zip(requests, together, strict=True):
        alone = segmenter.predict(clicks=request.clicks, box=request.box, feedback=request.feedback)
        assert mask_iou(alone.mask, answer.mask) >= 0.999
        assert answer.score == pytest.approx(alone.score, abs=1e-5)


def make_images() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    sizes = ((90, 120), (64, 64), (200, 30), (1, 1), (256, 300))
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def test_the_targets_of_many_images_are_answered_as_each_alone(model: Any):
    tool = SamSegmenter.from_model(model, threads=Threads(2), options=SamOptions(encoder_batch=2))
    images = make_images()
    encoded = tool.encode_images(images)
    clicks = [(Click(image.shape[1] // 2, image.shape[0] // 3, True),) for image in images]
    pairs = [(e, Request(clicks=c)) for e, c in zip(encoded, clicks, strict=True)]
    pairs.append((encoded[0], Request(clicks=(), box=Box(5, 5, 60, 60))))
    together = tool.predict_many(pairs)
    assert [p.mask.shape for p in together[:5]] == [image.shape[:2] for image in images]
    for image, (_, request), answer in zip([*images, images[0]], pairs, together, strict=True):
        tool.set_image(image)
        alone = tool.predict(clicks=request.clicks, box=request.box)
        assert mask_iou(alone.mask, answer.mask) >= 0.999
        assert answer.score == pytest.approx(alone.score, abs=1e-5)


@pytest.mark.parametrize("bias_elements", [1, 100_000, 10**9])
def test_attention_with_relative_positions_is_the_packages_own(
    model: Any, bias_elements: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sam_attention, "_BIAS_ELEMENTS", bias_elements)
    theirs = model.image_encoder.blocks[0].attn
    assert theirs.rel_pos_h.abs().max() > 0
    x = torch.randn(3, 14, 14, 64)
    with torch.inference_mode():
        ours = sam_attention.FusedAttention(theirs)(x)
        torch.testing.assert_close(ours, theirs(x), atol=1e-5, rtol=1e-5)


def test_both_ways_to_add_the_terms_agree():
    query, key, value = (torch.randn(2, 3, 20, 8) for _ in range(3))
    terms = {"by_row": torch.randn(2, 3, 4, 5, 4), "by_column": torch.randn(2, 3, 4, 5, 5)}
    torch.testing.assert_close(
        sam_attention.attend_with_products(query, key, value, **terms),
        sam_attention.attend_with_bias(query, key, value, **terms),
        atol=1e-5,
        rtol=1e-5,
    )


def test_attention_to_few_keys_is_the_packages_own(model: Any):
    theirs = model.mask_decoder.transformer.layers[0].cross_attn_image_to_token
    q, k, v = torch.randn(2, 50, 32), torch.randn(2, 7, 32), torch.randn(2, 7, 32)
    with torch.inference_mode():
        ours = sam_attention.FewKeysAttention(theirs)(q, k, v)
        torch.testing.assert_close(ours, theirs(q, k, v), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "least_iou"),
    [
        (SamOptions(embeddings="float16"), 0.999),
        (SamOptions(precision="bf16"), 0.95),
    ],
)
def test_coarser_arithmetic_moves_masks_a_little(
    model: Any, image: np.ndarray, options: SamOptions, least_iou: float
):
    exact = SamSegmenter.from_model(copy.deepcopy(model))
    coarse = SamSegmenter.from_model(model, options=options)
    exact.set_image(image)
    coarse.set_image(image)
    a, b = (tool.predict(clicks=CLICKS) for tool in (exact, coarse))
    assert mask_iou(a.mask, b.mask) >= least_iou
    assert a.score != b.score
    assert coarse.identity().items() >= options.identity().items() != {}.items()


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler here")
# What the compiler warns of is between it and its own dependencies.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_a_compiled_encoder_answers_the_same(model: Any, image: np.ndarray):
    plain = SamSegmenter.from_model(copy.deepcopy(model))
    compiled = SamSegmenter.from_model(model, options=SamOptions(compile=True))
    plain.set_image(image)
    compiled.set_image(image)
    assert mask_iou(plain.predict(clicks=CLICKS).mask, compiled.predict(clicks=CLICKS).mask) > 0.999


def test_an_image_in_the_store_is_not_encoded_again(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    images = make_images()[:3]
    first = SamSegmenter.from_model(
        copy.deepcopy(model), options=SamOptions(store=str(tmp_path), encoder_batch=2)
    )
    encoded = first.encode_images(images)
    later = SamSegmenter.from_model(model, options=SamOptions(store=str(tmp_path)))
    monkeypatch.setattr(model.image_encoder, "forward", None)
    found = later.encode_images(images[::-1])
    for a, b in zip(encoded, found[::-1], strict=True):
        assert torch.equal(a.embedding, b.embedding)
        assert (a.size_hw, a.resized_hw) == (b.size_hw, b.resized_hw)
    with pytest.raises(TypeError):
        later.encode_images([images[0][:-1]])


def test_other_weights_find_nothing_in_the_store(tmp_path: Path):
    image = make_images()[0]
    for seed in (0, 1):
        tool = SamSegmenter.from_model(
            random_sam("tiny", seed=seed), options=SamOptions(store=str(tmp_path))
        )
        tool.encode_images([image])
        assert len(list(tmp_path.iterdir())) == seed + 1


def test_where_memory_runs_out_the_batch_is_halved(model: Any, monkeypatch: pytest.MonkeyPatch):
    whole = model.image_encoder.forward
    sizes: list[int] = []

    def forward(batch: Any) -> Any:
        sizes.append(len(batch))
        if len(batch) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return whole(batch)

    monkeypatch.setattr(model.image_encoder, "forward", forward)
    tool = SamSegmenter.from_model(model, options=SamOptions(encoder_batch=4))
    assert len(tool.encode_images(make_images()[:3])) == 3
    assert sizes == [4, 2, 1, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precison": "bf16"}, "precison: is not a setting; did you mean 'precision'"),
        ({"precision": "fp8"}, "precision 'fp8': choose from fp32, bf16"),
        ({"embeddings": 16}, "embeddings 16: choose from float32, float16"),
        ({"encoder_batch": 0}, "encoder_batch 0: must be at least 1"),
        ({"compile": 1}, "compile 1: expected true or false"),
        ({"memory_gb": -1}, "memory_gb -1: must be at least 0"),
        ({"store": 5}, "store 5: expected text"),
    ],
)
def test_a_setting_that_makes_no_sense_is_reported(arguments: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        SamOptions.of(arguments)


def test_cuda_graphs_need_cuda(model: Any):
    with pytest.raises(ConfigError, match="cuda_graphs needs a CUDA device, this one is cpu"):
        SamSegmenter.from_model(model, options=SamOptions(cuda_graphs=True))


def test_predicting_without_an_image_is_an_error(model: Any):
    with pytest.raises(ValueError, match="no image yet; call set_image first"):
        SamSegmenter.from_model(model).predict(clicks=CLICKS)


def test_a_request_without_clicks_or_a_box_is_an_error(segmenter: SamSegmenter):
    with pytest.raises(ValueError, match="at least one click or a box"):
        segmenter.predict(clicks=())


@pytest.mark.parametrize(
    ("checkpoint", "problem"),
    [
        (None, "no checkpoint was given"),
        ("", "no checkpoint was given"),
        ("nowhere/sam.pth", "there is no checkpoint at 'nowhere/sam.pth'"),
    ],
)
def test_a_missing_checkpoint_is_reported_with_the_official_files(
    checkpoint: str | None, problem: str
):
    official = "https://dl.fbaipublicfiles.com/segment_anything/sam"
    with pytest.raises(ConfigError) as caught:
        SamSegmenter(checkpoint)
    assert str(caught.value).splitlines() == [
        f"segmenter 'sam': {problem}; download one of the official files and pass its path with "
        "--checkpoint:",
        f"  vit_b: {official}_vit_b_01ec64.pth",
        f"  vit_l: {official}_vit_l_0b3195.pth",
        f"  vit_h: {official}_vit_h_4b8939.pth",
    ]


def stored(content: Any) -> MemoryStorage:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return MemoryStorage({"sam.pth": buffer.getvalue()})


class Poison:
    """Unpickling this would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.path, "executed"))


def test_a_checkpoint_with_code_in_it_does_not_run(tmp_path: Path):
    victim = tmp_path / "victim"
    with pytest.raises(ConfigError, match="cannot be read as a checkpoint of plain tensors"):
        SamSegmenter("sam.pth", storage=stored({"a": Poison(victim)}))
    raw = MemoryStorage({"sam.pth": pickle.dumps(Poison(victim), protocol=2)})
    with pytest.raises(ConfigError, match="cannot be read as a checkpoint of plain tensors"):
        SamSegmenter("sam.pth", storage=raw)
    assert not victim.exists()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is cut short, damaged or another"),
        (b"PK\x03\x04", "it is cut short, damaged or another"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_named(content: bytes, what: str):
    with pytest.raises(ConfigError, match=rf"^sam.pth cannot be read .*: {what}") as caught:
        SamSegmenter("sam.pth", storage=MemoryStorage({"sam.pth": content}))
    assert "weights_only" not in str(caught.value)


def test_other_contents_are_reported(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"not a SAM checkpoint.*got no such tensor"):
        SamSegmenter("sam.pth", storage=stored({"weight": torch.zeros(1)}))
    wrong_width = {"image_encoder.patch_embed.proj.weight": torch.zeros(64, 3, 16, 16)}
    with pytest.raises(ConfigError, match=r"not a SAM checkpoint.*got 64"):
        SamSegmenter("sam.pth", storage=stored(wrong_width))
    rest_missing = {"image_encoder.patch_embed.proj.weight": torch.zeros(768, 3, 16, 16)}
    with pytest.raises(ConfigError, match=r"does not fit SAM vit_b: .*Missing key"):
        SamSegmenter("sam.pth", storage=stored(rest_missing))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_reported(model: Any):
    with pytest.raises(ConfigError, match="sees no CUDA device; use cpu"):
        SamSegmenter.from_model(model, device="cuda")
    with pytest.raises(ConfigError, match="'gpu9' is not a device"):
        SamSegmenter.from_model(model, device="gpu9")


def test_a_given_mask_is_the_mask_prompt_of_the_packages_predictor(
    segmenter: SamSegmenter, model: Any, image: np.ndarray
):
    assert isinstance(segmenter, MaskPromptSegmenter)
    given_mask = np.zeros((90, 120), dtype=np.bool_)
    given_mask[20:70, 30:60] = True
    feedback = segmenter.feedback_of(given_mask)
    assert tuple(feedback.shape) == (1, 64, 64)
    # Where the mask lies in the encoder's square of 256 pixels, reduced to 64.
    assert feedback[0, 12:36, 17:31].min() > 6.9
    assert feedback[0, :10].max() < -6.9
    predictor = segment_anything.SamPredictor(model)
    predictor.set_image(image)
    masks, scores, _ = predictor.predict(
        point_coords=np.array([(80, 50)]),
        point_labels=np.array([1]),
        mask_input=feedback.numpy(),
        multimask_output=True,
    )
    ours = segmenter.predict(clicks=(Click(80, 50, True),), feedback=feedback)
    assert mask_iou(ours.mask, masks[int(scores.argmax())]) >= 0.999


class Remembering(torch.nn.Module):
    """In place of a trained decoder: the logits of the mask prompt, raised near the click."""

    def __init__(self, segmenter: SamSegmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def decode(self, images: Any, requests: Any) -> Any:
        logits = torch.stack([request.feedback for request in requests]).clone()
        for row, (image, request) in enumerate(zip(images, requests, strict=True)):
            scale = image.resized_hw[1] / image.size_hw[1] / 4
            x, y = int(request.clicks[-1].x * scale), int(request.clicks[-1].y * scale)
            logits[row, 0, y - 3 : y + 4, x - 3 : x + 4] = 7.0
        return Decoded(logits, torch.ones(len(requests)))


def test_a_click_on_the_missing_part_keeps_the_given_mask(segmenter: SamSegmenter):
    given_mask = np.zeros((90, 120), dtype=np.bool_)
    given_mask[20:70, 30:60] = True
    segmenter._decoder = Remembering(segmenter)  # pyright: ignore[reportAttributeAccessIssue]
    feedback = segmenter.feedback_of(given_mask)
    mask = segmenter.predict(clicks=(Click(80, 50, True),), feedback=feedback).mask
    assert mask[50, 80]
    assert (mask & given_mask).sum() > 0.97 * given_mask.sum()
    assert (mask & ~given_mask).sum() < 0.2 * given_mask.sum()
