"""SAM 3's detector: equal to transformers' model and processor, called by hand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hlmat.transforms.core.errors import ConfigError, SegmenterError
from hlmat.transforms.core.protocols import TextSegmenter
from hlmat.transforms.core.records import Click
from hlmat.transforms.segmenters.hf.segmenter import HuggingFaceSegmenter
from hlmat.transforms.torch_support.torchvision import ensure_importable

torch = pytest.importorskip("torch")
ensure_importable()
pytest.importorskip("transformers")

import tiny_sam_models  # noqa: E402

TEXTS = ["a red disc", "the ring", "a red disc", "the cup to the left of the ring " * 9]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    return tiny_sam_models.save_with_tokenizer(
        tiny_sam_models.tiny_model("sam3_video"), tmp_path_factory.mktemp("sam3")
    )


@pytest.fixture(scope="module")
def segmenter(folder: Path) -> HuggingFaceSegmenter:
    segmenter = HuggingFaceSegmenter(str(folder), device="cpu")
    segmenter.load_texts()
    return segmenter


def make_image(height: int = 50, width: int = 37) -> np.ndarray:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image.flags.writeable = False
    return image


def best_by_hand(folder: Path, image: np.ndarray, text: str) -> tuple[np.ndarray, float]:
    """Return mask and score of the best instance by transformers' own model and processor."""
    import transformers

    with tiny_sam_models.quiet():
        detector = tiny_sam_models.tiny_model("sam3_video").detector_model
        tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    processor = transformers.Sam3Processor(
        tiny_sam_models.tiny_processor("sam3_video").image_processor, tokenizer
    )
    inputs = processor(images=image.copy(), text=text, return_tensors="pt")
    with torch.no_grad():
        output = detector(
            pixel_values=inputs["pixel_values"],
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
        )
    found = processor.post_process_instance_segmentation(
        output, threshold=0.0, target_sizes=[image.shape[:2]]
    )[0]
    best = int(found["scores"].argmax())
    return found["masks"][best].numpy().astype(bool), float(found["scores"][best])


def test_it_fits_the_protocol(segmenter: HuggingFaceSegmenter):
    assert isinstance(segmenter, TextSegmenter)


@pytest.mark.parametrize("size_hw", [(50, 37), (112, 112), (30, 160)])
def test_it_finds_what_model_and_processor_find(
    folder: Path, segmenter: HuggingFaceSegmenter, size_hw: tuple[int, int]
):
    image = make_image(*size_hw)
    answers = segmenter.predict_texts(image, TEXTS[:3])
    for text, answer in zip(TEXTS, answers, strict=False):
        mask, score = best_by_hand(folder, image, text)
        assert answer.mask.shape == size_hw
        assert answer.mask.dtype == np.bool_
        assert (answer.mask != mask).mean() < 0.002
        assert answer.score == pytest.approx(score, abs=1e-5)


def test_other_texts_give_other_scores_and_equal_ones_the_same(segmenter: HuggingFaceSegmenter):
    first, other, again, _ = segmenter.predict_texts(make_image(), TEXTS)
    assert first.score != pytest.approx(other.score, abs=1e-4)
    assert first.score == pytest.approx(again.score, abs=1e-6)
    assert np.array_equal(first.mask, again.mask)
    assert any(0.02 < answer.mask.mean() < 0.98 for answer in (first, other))


def test_a_long_text_is_cut_to_what_the_model_takes(segmenter: HuggingFaceSegmenter):
    cut, shorter = segmenter.predict_texts(make_image(), [TEXTS[3], TEXTS[3] + " with a handle"])
    assert cut.score == pytest.approx(shorter.score, abs=1e-6)


def test_many_texts_are_found_as_each_alone(
    segmenter: HuggingFaceSegmenter, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("hlmat.transforms.segmenters.hf.text_prompts._TEXTS_AT_ONCE", 2)
    together = segmenter.predict_texts(make_image(), TEXTS)
    for text, answer in zip(TEXTS, together, strict=True):
        alone = segmenter.predict_texts(make_image(), [text])[0]
        assert answer.score == pytest.approx(alone.score, abs=1e-5)
        assert (answer.mask != alone.mask).mean() < 0.002


def test_texts_leave_clicks_as_they_are(folder: Path, segmenter: HuggingFaceSegmenter):
    click = (Click(20, 30, True),)
    plain = HuggingFaceSegmenter(str(folder), device="cpu")
    plain.set_image(make_image())
    before = plain.predict(clicks=click)
    segmenter.set_image(make_image())
    segmenter.predict_texts(make_image(40, 40), TEXTS[:1])
    after = segmenter.predict(clicks=click)
    torch.testing.assert_close(before.feedback, after.feedback)


def test_the_backbone_is_in_memory_once(segmenter: HuggingFaceSegmenter):
    inside: Any = segmenter
    ours, theirs = inside._detector.network, inside._loaded.network
    assert ours.vision_encoder.backbone is theirs.vision_encoder.backbone
    assert ours.vision_encoder.neck is not theirs.vision_encoder.neck


def test_the_identity_names_the_tokenizer(folder: Path, segmenter: HuggingFaceSegmenter):
    digest = hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()
    assert segmenter.identity()["tokenizer_sha256"] == digest


def test_an_image_too_narrow_is_reported(folder: Path, segmenter: HuggingFaceSegmenter):
    sam = tiny_sam_models.save(tiny_sam_models.tiny_model("sam"), folder.parent / "narrow")
    with pytest.raises(SegmenterError, match="an image of 1 x 500 pixels cannot be scaled"):
        HuggingFaceSegmenter(str(sam), device="cpu").set_image(make_image(500, 1))
    assert segmenter.predict_texts(make_image(500, 1), TEXTS[:1])[0].mask.shape == (500, 1)


def refused(folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        HuggingFaceSegmenter(str(folder), device="cpu").load_texts()
    return str(caught.value)


@pytest.mark.parametrize("model_type", ["sam", "sam2", "sam3_tracker"])
def test_a_model_without_a_detector_takes_no_text(tmp_path: Path, model_type: str):
    folder = tiny_sam_models.save(tiny_sam_models.tiny_model(model_type), tmp_path / model_type)
    assert refused(folder) == (
        f"--initial-action text: {folder} is of model_type {model_type!r}, which takes no text; "
        "sam3_video (SAM 3 as published) does"
    )


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder that a test may spoil."""
    return tiny_sam_models.save_with_tokenizer(
        tiny_sam_models.tiny_model("sam3_video"), tmp_path / "own"
    )


def test_a_missing_tokenizer_is_reported(own: Path):
    (own / "tokenizer.json").unlink()
    assert refused(own) == (
        f"--initial-action text: {own}/tokenizer.json is missing, without which no text can be "
        "read; fetch the folder again"
    )


def test_a_tokenizer_that_is_no_json_is_reported(own: Path):
    (own / "tokenizer.json").write_text("{")
    message = refused(own)
    assert message.startswith(f"{own}/tokenizer.json cannot be read: ")
    assert message.endswith("; fetch the folder again")


def test_a_tokenizer_of_a_larger_model_is_reported(own: Path):
    content = json.loads((own / "tokenizer.json").read_bytes())
    vocabulary = content["model"]["vocab"]
    vocabulary.update({f"more{k}": 60 + k for k in range(90)})
    (own / "tokenizer.json").write_text(json.dumps(content))
    assert refused(own) == (
        f"{own}/tokenizer.json has {len(vocabulary)} tokens, the model 100; it belongs to another "
        "model, so fetch the folder again"
    )


def test_another_encoder_of_the_detector_is_refused(own: Path):
    config = json.loads((own / "config.json").read_bytes())
    config["detector_config"]["vision_config"]["backbone_config"]["model_type"] = "timm_wrapper"
    (own / "config.json").write_text(json.dumps(config))
    assert refused(own) == (
        f"vision_config.backbone_config in the config.json of {own} is of model_type "
        "'timm_wrapper', expected 'sam3_vit_model'; other encoders are not supported"
    )


def test_missing_weights_of_the_detector_are_reported(own: Path):
    from safetensors.torch import load_file, save_file

    state = load_file(own / "model.safetensors")
    name = "detector_model.text_projection.weight"
    kept = {key: tensor for key, tensor in state.items() if key != name}
    assert len(kept) == len(state) - 1
    save_file(kept, own / "model.safetensors", metadata={"format": "pt"})
    message = refused(own)
    assert message.startswith(f"the weights in {own} do not fit Sam3Model: 1 tensors missing (")
    assert "text_projection.weight" in message
