"""SAM models of transformers: equal to the model and its processor called by hand, batched."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hlmat.transforms.core.errors import SegmenterError
from hlmat.transforms.core.protocols import (
    BatchSegmenter,
    HasIdentity,
    ManyImagesSegmenter,
    MaskPromptSegmenter,
    Prediction,
    Request,
    Segmenter,
)
from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.segmenters.hf.families import FAMILIES
from hlmat.transforms.segmenters.hf.segmenter import HuggingFaceSegmenter
from hlmat.transforms.torch_support.torchvision import ensure_importable

torch = pytest.importorskip("torch")
ensure_importable()
pytest.importorskip("transformers")

import tiny_sam_models  # noqa: E402

CLICKS = (Click(30, 40, True), Click(6, 10, False), Click(20, 8, True))
BOX = Box(5, 20, 31, 45)


@dataclass(frozen=True)
class Checkpoint:
    """A tiny model as saved, and as transformers itself loads it for stills."""

    model_type: str
    folder: Path
    model: Any
    processor: Any

    def answer(
        self,
        image: np.ndarray,
        *,
        clicks: Sequence[Click] = (),
        box: Box | None = None,
        masks: Any = None,
    ) -> tuple[np.ndarray, float, Any]:
        """Return mask, score and what goes back of the best of three, from one direct call."""
        prompts: dict[str, Any] = {}
        if clicks:
            prompts["input_points"] = [[[[c.x, c.y] for c in clicks]]]
            prompts["input_labels"] = [[[int(c.is_positive) for c in clicks]]]
        if box is not None:
            prompts["input_boxes"] = [[[box.x0, box.y0, box.x1, box.y1]]]
        inputs = self.processor(images=Image.fromarray(image), return_tensors="pt", **prompts)
        sizes = [inputs.pop("original_sizes")]
        if "reshaped_input_sizes" in inputs:
            sizes.append(inputs.pop("reshaped_input_sizes"))
        corrected = (
            tiny_sam_models.corrected_hq_decoder(self.model)
            if self.model_type == "sam_hq"
            else nullcontext()
        )
        with torch.no_grad(), corrected:
            output = self.model(**inputs, input_masks=masks, multimask_output=True)
        best = int(output.iou_scores[0, 0].argmax())
        full = self.processor.post_process_masks(output.pred_masks, *sizes)[0]
        logits = output.pred_masks[0, 0, best][None]
        is_limited = self.model_type.startswith(("sam2", "sam3", "edgetam"))
        return (
            full[0, best].numpy(),
            float(output.iou_scores[0, 0, best]),
            logits.clamp(-32, 32) if is_limited else logits,
        )


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Checkpoint:
    import transformers

    model_type = request.param
    if model_type in tiny_sam_models.TIMM_TYPES:
        pytest.importorskip("timm", reason="timm builds the encoder of EdgeTAM")
    folder = tiny_sam_models.save(
        tiny_sam_models.tiny_model(model_type), tmp_path_factory.mktemp(model_type)
    )
    model_class = getattr(transformers, FAMILIES[model_type].model_class)
    # transformers looks on the hub when it reads EdgeTAM's configuration by itself.
    known = {"config": tiny_sam_models.edgetam_config()} if "edgetam" in model_type else {}
    with tiny_sam_models.quiet():
        model = model_class.from_pretrained(folder, local_files_only=True, **known).eval()
    return Checkpoint(model_type, folder, model, tiny_sam_models.tiny_processor(model_type))


@pytest.fixture(scope="module")
def segmenter(checkpoint: Checkpoint) -> HuggingFaceSegmenter:
    return HuggingFaceSegmenter(str(checkpoint.folder), device="cpu")


def make_image(height: int, width: int) -> np.ndarray:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image.flags.writeable = False
    return image


def assert_same(
    ours: Prediction, theirs: tuple[np.ndarray, float, Any], *, atol: float = 1e-5
) -> None:
    mask, score, logits = theirs
    assert ours.mask.shape == mask.shape
    union = (ours.mask | mask).sum()
    assert union == 0 or (ours.mask & mask).sum() / union >= 0.999
    assert ours.score == pytest.approx(score, abs=atol)
    # Rounding is relative to the terms that are summed: a logit near 0 has no smaller error.
    largest = max(1.0, float(logits.abs().max()))
    torch.testing.assert_close(ours.feedback, logits, atol=atol * largest, rtol=1e-4)


def test_it_fits_the_protocols(segmenter: HuggingFaceSegmenter):
    for protocol in (Segmenter, BatchSegmenter, ManyImagesSegmenter, HasIdentity):
        assert isinstance(segmenter, protocol)


@pytest.mark.slow
@pytest.mark.parametrize("size_hw", [(50, 37), (40, 120), (64, 64), (3, 50), (1, 1)])
def test_it_answers_as_model_and_processor_do(
    checkpoint: Checkpoint, segmenter: HuggingFaceSegmenter, size_hw: tuple[int, int]
):
    image = make_image(*size_hw)
    height, width = size_hw
    inside = tuple(Click(c.x % width, c.y % height, c.is_positive) for c in CLICKS)
    segmenter.set_image(image)
    logits = feedback = None
    for count in range(1, 4):
        theirs = checkpoint.answer(image, clicks=inside[:count], masks=logits)
        ours = segmenter.predict(clicks=inside[:count], feedback=feedback)
        assert_same(ours, theirs)
        logits, feedback = theirs[2][None], ours.feedback


@pytest.mark.parametrize("clicks", [(), CLICKS[:1], CLICKS[:2]])
def test_a_box_goes_in_alone_and_with_clicks(
    checkpoint: Checkpoint, segmenter: HuggingFaceSegmenter, clicks: tuple[Click, ...]
):
    image = make_image(50, 37)
    segmenter.set_image(image)
    ours = segmenter.predict(clicks=clicks, box=BOX)
    assert_same(ours, checkpoint.answer(image, clicks=clicks, box=BOX))
    other = segmenter.predict(clicks=clicks, box=Box(0, 0, 12, 9))
    assert not torch.allclose(ours.feedback, other.feedback, atol=1e-3)


def test_the_masks_have_both_values(segmenter: HuggingFaceSegmenter):
    segmenter.set_image(make_image(50, 37))
    shares = [segmenter.predict(clicks=[click]).mask.mean() for click in CLICKS]
    assert any(0.02 < share < 0.98 for share in shares)


def test_the_previous_mask_changes_the_answer(segmenter: HuggingFaceSegmenter):
    segmenter.set_image(make_image(50, 37))
    first = segmenter.predict(clicks=CLICKS[:1])
    alone = segmenter.predict(clicks=CLICKS[:2])
    after = segmenter.predict(clicks=CLICKS[:2], feedback=first.feedback)
    turned = segmenter.predict(clicks=CLICKS[:2], feedback=-first.feedback)
    assert not torch.allclose(after.feedback, alone.feedback, atol=1e-3)
    assert not torch.allclose(after.feedback, turned.feedback, atol=1e-3)


@pytest.mark.slow
def test_a_batch_of_mixed_prompts_answers_each_as_alone(segmenter: HuggingFaceSegmenter):
    segmenter.set_image(make_image(50, 37))
    first = segmenter.predict(clicks=CLICKS[:1])
    other = segmenter.predict(clicks=CLICKS[1:2])
    requests = [
        Request(clicks=CLICKS[:2], feedback=first.feedback),
        Request(clicks=CLICKS[:1]),
        Request(clicks=CLICKS[1:3], feedback=other.feedback),
        Request(clicks=(), box=BOX),
        Request(clicks=CLICKS[2:3]),
        Request(clicks=CLICKS[:1], box=BOX, feedback=first.feedback),
    ]
    together = segmenter.predict_batch(requests)
    for request, answer in zip(requests, together, strict=True):
        alone = segmenter.predict(clicks=request.clicks, box=request.box, feedback=request.feedback)
        assert alone.score is not None
        assert_same(answer, (alone.mask, alone.score, alone.feedback))


@pytest.mark.slow
def test_targets_of_many_images_are_answered_as_each_by_itself(
    segmenter: HuggingFaceSegmenter, monkeypatch: pytest.MonkeyPatch
):
    images = [make_image(50, 37), make_image(30, 64), make_image(64, 9)]
    single = segmenter.encode_images(images)
    monkeypatch.setattr(HuggingFaceSegmenter, "leaves_cpu_free", True)
    together = segmenter.encode_images(images)
    first = segmenter.predict_many([(together[0], Request(CLICKS[1:2]))])[0]
    pairs = [
        (2, Request((Click(4, 60, True),))),
        (0, Request(CLICKS[:1])),
        (1, Request(CLICKS[2:3])),
        (0, Request(CLICKS[1:3], feedback=first.feedback)),
        (1, Request((), box=Box(3, 4, 60, 25))),
        (0, Request((), box=BOX)),
    ]
    answers = segmenter.predict_many([(together[i], request) for i, request in pairs])
    for (index, request), answer in zip(pairs, answers, strict=True):
        alone = segmenter.predict_many([(single[index], request)])[0]
        assert alone.score is not None
        assert_same(answer, (alone.mask, alone.score, alone.feedback))
    assert len({answer.score for answer in answers}) == len(answers)


def test_its_identity_names_the_weights(checkpoint: Checkpoint, segmenter: HuggingFaceSegmenter):
    import hashlib

    weights = (checkpoint.folder / "model.safetensors").read_bytes()
    identity = segmenter.identity()
    assert identity["model_type"] == checkpoint.model_type
    assert identity["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert len(str(identity["settings_sha256"])) == 64


def test_a_request_without_clicks_or_a_box_is_an_error(segmenter: HuggingFaceSegmenter):
    segmenter.set_image(make_image(50, 37))
    with pytest.raises(ValueError, match="at least one click or a box"):
        segmenter.predict(clicks=())


def folder_of(model_type: str, tmp_path: Path) -> Path:
    return tiny_sam_models.save(tiny_sam_models.tiny_model(model_type), tmp_path / model_type)


def test_an_image_must_be_set_first(tmp_path: Path):
    segmenter = HuggingFaceSegmenter(str(folder_of("sam", tmp_path)), device="cpu")
    with pytest.raises(SegmenterError, match="call set_image before predict"):
        segmenter.predict(clicks=CLICKS[:1])


def test_an_image_of_which_nothing_would_be_left_is_reported(tmp_path: Path):
    segmenter = HuggingFaceSegmenter(str(folder_of("sam", tmp_path)), device="cpu")
    segmenter.set_image(make_image(50, 37))
    with pytest.raises(SegmenterError, match="an image of 1 x 500 pixels cannot be scaled"):
        segmenter.set_image(make_image(500, 1))
    with pytest.raises(SegmenterError, match="call set_image before predict"):
        segmenter.predict(clicks=CLICKS[:1])


def test_the_processors_settings_are_taken_from_the_folder(tmp_path: Path):
    image = make_image(50, 37)
    folder = folder_of("sam2", tmp_path)
    plain = HuggingFaceSegmenter(str(folder), device="cpu")
    processor = tiny_sam_models.tiny_processor("sam2")
    processor.image_processor.image_mean = [0.1, 0.2, 0.3]
    processor.image_processor.save_pretrained(folder)
    alone = HuggingFaceSegmenter(str(folder), device="cpu")
    (folder / "preprocessor_config.json").unlink()
    processor.save_pretrained(folder)
    assert (folder / "processor_config.json").is_file()
    assert not (folder / "preprocessor_config.json").is_file()
    whole = HuggingFaceSegmenter(str(folder), device="cpu")
    logits = []
    for segmenter in (plain, alone, whole):
        segmenter.set_image(image)
        logits.append(segmenter.predict(clicks=CLICKS[:1]).feedback)
    assert not torch.allclose(logits[0], logits[1], atol=1e-3)
    torch.testing.assert_close(logits[1], logits[2])
    digests = {str(s.identity()["settings_sha256"]) for s in (plain, alone, whole)}
    assert len(digests) >= 2


@pytest.mark.parametrize("model_type", ["sam2", "edgetam"])
def test_sam2_and_edgetam_take_logits_back_within_their_authors_limit(
    tmp_path: Path, model_type: str
):
    if model_type in tiny_sam_models.TIMM_TYPES:
        pytest.importorskip("timm", reason="timm builds the encoder of EdgeTAM")
    model = tiny_sam_models.tiny_model(model_type)
    for head in model.mask_decoder.output_hypernetworks_mlps:
        head.proj_out.weight.mul_(50)
    folder = tiny_sam_models.save(model, tmp_path / "loud")
    loud = Checkpoint(model_type, folder, model, tiny_sam_models.tiny_processor(model_type))
    segmenter = HuggingFaceSegmenter(str(folder), device="cpu")
    image = make_image(50, 37)
    segmenter.set_image(image)
    first = segmenter.predict(clicks=CLICKS[:1])
    assert first.feedback.abs().max() == 32
    assert_same(first, loud.answer(image, clicks=CLICKS[:1]))
    second = segmenter.predict(clicks=CLICKS[:2], feedback=first.feedback)
    assert_same(second, loud.answer(image, clicks=CLICKS[:2], masks=first.feedback[None]))


def test_sam_answers_as_the_authors_package_does_with_the_same_weights(tmp_path: Path):
    segment_anything = pytest.importorskip("segment_anything")
    model = tiny_sam_models.tiny_model("sam")
    segmenter = HuggingFaceSegmenter(
        str(tiny_sam_models.save(model, tmp_path / "sam")), device="cpu"
    )
    predictor = segment_anything.SamPredictor(tiny_sam_models.to_segment_anything(model))
    image = make_image(40, 64)  # of the model's side, so that neither scales it
    segmenter.set_image(image)
    predictor.set_image(image)
    theirs, feedback = None, None
    for count in range(1, 4):
        clicks = [Click(2 * c.x % 64, c.y % 40, c.is_positive) for c in CLICKS[:count]]
        masks, scores, logits = predictor.predict(
            point_coords=np.array([(c.x, c.y) for c in clicks]),
            point_labels=np.array([int(c.is_positive) for c in clicks]),
            box=np.array([4, 4, 50, 30]) if count == 3 else None,
            mask_input=theirs,
            multimask_output=True,
        )
        best = int(scores.argmax())
        theirs = logits[best][None]
        box = Box(4, 4, 50, 30) if count == 3 else None
        ours = segmenter.predict(clicks=clicks, box=box, feedback=feedback)
        # The two differ in the epsilon of the decoder's layer norms: 1e-6 and 1e-5.
        assert_same(ours, (masks[best], float(scores[best]), torch.from_numpy(theirs)), atol=3e-4)
        feedback = ours.feedback


def test_a_given_mask_goes_in_as_the_model_takes_it(
    checkpoint: Checkpoint, segmenter: HuggingFaceSegmenter
):
    assert isinstance(segmenter, MaskPromptSegmenter)
    image = make_image(40, 60)
    given_mask = np.zeros((40, 60), dtype=np.bool_)
    given_mask[10:30, 15:45] = True
    segmenter.set_image(image)
    feedback = segmenter.feedback_of(given_mask)
    own = segmenter.predict(clicks=CLICKS[:1]).feedback
    assert feedback.shape == own.shape
    assert feedback.dtype == own.dtype
    # Half as wide and half as high as the image: a quarter of what the image covers.
    covered = 40 / 60 if FAMILIES[checkpoint.model_type].keeps_aspect else 1.0
    assert float((feedback > 0).float().mean()) == pytest.approx(covered / 4, abs=0.06)
    clicked = segmenter.predict(clicks=CLICKS[:1], feedback=feedback)
    assert_same(
        clicked, checkpoint.answer(image, clicks=CLICKS[:1], masks=feedback[None]), atol=1e-4
    )
