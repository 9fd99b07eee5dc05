"""SAM: equal to the package's own predictor, batched, with checkpoints of the official layout."""

from __future__ import annotations

import io
import pickle
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from transforms.errors import ConfigError
from transforms.protocols import BatchSegmenter, ImageHolder, Request, Segmenter
from transforms.records import Box, Click
from transforms.segmenters.sam import SamSegmenter
from transforms.storage import MemoryStorage
from transforms.torchvision_ops import ensure_importable

torch = pytest.importorskip("torch")
ensure_importable()
segment_anything = pytest.importorskip("segment_anything")


def tiny_sam() -> Any:
    """A SAM of segment-anything's own classes with random weights, for pictures of 256 px."""
    from segment_anything.modeling import (
        ImageEncoderViT,
        MaskDecoder,
        PromptEncoder,
        Sam,
        TwoWayTransformer,
    )

    torch.manual_seed(0)
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=256,
            patch_size=16,
            embed_dim=64,
            depth=2,
            num_heads=2,
            mlp_ratio=4,
            norm_layer=cast("Any", partial(torch.nn.LayerNorm, eps=1e-6)),
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=(1,),
            window_size=14,
            out_chans=32,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=32,
            image_embedding_size=(16, 16),
            input_image_size=(256, 256),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=64, num_heads=4),
            transformer_dim=32,
            iou_head_depth=3,
            iou_head_hidden_dim=32,
        ),
    )


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_sam()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


@pytest.fixture
def segmenter(model: Any, image: np.ndarray) -> SamSegmenter:
    tool = SamSegmenter.from_model(model)
    tool.set_image(image)
    return tool


CLICKS = (Click(30, 40, True), Click(100, 10, False), Click(60, 80, True))


def test_it_fits_the_protocols(segmenter: SamSegmenter):
    assert isinstance(segmenter, Segmenter)
    assert isinstance(segmenter, BatchSegmenter)


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
        assert np.array_equal(ours.mask, masks[best])
        np.testing.assert_allclose(ours.feedback.numpy(), theirs_logits, atol=1e-5)
        assert tuple(ours.feedback.shape) == (1, 64, 64)


def test_a_box_is_a_prompt_of_its_own(segmenter: SamSegmenter, model: Any, image: np.ndarray):
    predictor = segment_anything.SamPredictor(model)
    predictor.set_image(image)
    masks, scores, _ = predictor.predict(box=np.array([10, 20, 80, 70]), multimask_output=True)
    ours = segmenter.predict(clicks=(), box=Box(10, 20, 80, 70))
    assert np.array_equal(ours.mask, masks[int(scores.argmax())])


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
        overlap = (alone.mask & answer.mask).sum() / max(1, (alone.mask | answer.mask).sum())
        assert overlap >= 0.999
        assert answer.score == pytest.approx(alone.score, abs=1e-5)


def test_an_earlier_picture_is_taken_up_again_without_encoding(model: Any, image: np.ndarray):
    tool = SamSegmenter.from_model(model)
    assert isinstance(tool, ImageHolder)
    tool.set_image(image)
    before, held = tool.predict(clicks=CLICKS), tool.held_image()
    tool.set_image(np.ascontiguousarray(image[:50, ::-1]))
    assert tool.predict(clicks=CLICKS[:1]).mask.shape == (50, 120)
    tool.hold_image(held)
    after = tool.predict(clicks=CLICKS)
    assert np.array_equal(after.mask, before.mask)
    assert after.score == before.score


def test_nothing_to_go_by_is_an_error(segmenter: SamSegmenter):
    with pytest.raises(ValueError, match="at least one click or a box"):
        segmenter.predict(clicks=())


@pytest.mark.parametrize("checkpoint", [None, "", "nowhere/sam.pth"])
def test_a_missing_checkpoint_says_where_the_official_files_are(checkpoint: str | None):
    with pytest.raises(ConfigError) as caught:
        SamSegmenter(checkpoint)
    assert "sam_vit_b_01ec64.pth" in str(caught.value)
    assert "--checkpoint" in str(caught.value)


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


def test_other_contents_are_told(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"not a SAM checkpoint.*got no such tensor"):
        SamSegmenter("sam.pth", storage=stored({"weight": torch.zeros(1)}))
    wrong_width = {"image_encoder.patch_embed.proj.weight": torch.zeros(64, 3, 16, 16)}
    with pytest.raises(ConfigError, match=r"not a SAM checkpoint.*got 64"):
        SamSegmenter("sam.pth", storage=stored(wrong_width))
    rest_missing = {"image_encoder.patch_embed.proj.weight": torch.zeros(768, 3, 16, 16)}
    with pytest.raises(ConfigError, match=r"does not fit SAM vit_b: .*Missing key"):
        SamSegmenter("sam.pth", storage=stored(rest_missing))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_told(model: Any):
    with pytest.raises(ConfigError, match="sees no CUDA device; use cpu"):
        SamSegmenter.from_model(model, device="cuda")
    with pytest.raises(ConfigError, match="'gpu9' is no torch device"):
        SamSegmenter.from_model(model, device="gpu9")
