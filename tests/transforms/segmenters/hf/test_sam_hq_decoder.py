"""SAM-HQ's decoder equals segment-anything's, and that of transformers with its faults fixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from hlmat.transforms.segmenters.hf.sam_hq_decoder import decode_hq_masks, fuse_hq_features
from hlmat.transforms.torch_support.torchvision import ensure_importable

torch = pytest.importorskip("torch")
ensure_importable()
pytest.importorskip("transformers")

import tiny_sam_models  # noqa: E402


@dataclass(frozen=True)
class Scene:
    """A random image's embedding and the prompts of three targets in it."""

    embedding: Any
    early_layers: list[Any]
    points: Any
    labels: Any
    masks: Any


@pytest.fixture
def model() -> Any:
    return tiny_sam_models.tiny_model("sam_hq")


@pytest.fixture
def scene(model: Any) -> Scene:
    generator = torch.Generator().manual_seed(0)
    embedding, early_layers = model.get_image_embeddings(
        torch.randn(1, 3, 64, 64, generator=generator)
    )
    return Scene(
        embedding=embedding,
        early_layers=early_layers,
        points=64 * torch.rand(3, 1, 2, 2, generator=generator),
        labels=torch.tensor([[[1, 0]], [[1, 1]], [[0, 1]]]),
        masks=4 * torch.randn(3, 1, 32, 32, generator=generator),
    )


def decode(model: Any, scene: Scene) -> tuple[Any, Any]:
    sparse, dense = model.get_prompt_embeddings(
        input_points=scene.points, input_labels=scene.labels, input_masks=scene.masks
    )
    with torch.no_grad():
        return decode_hq_masks(
            model.mask_decoder,
            embedding=scene.embedding.expand(3, -1, -1, -1),
            hq_features=fuse_hq_features(
                model.mask_decoder, embedding=scene.embedding, early_layer=scene.early_layers[0]
            ).expand(3, -1, -1, -1),
            position=model.get_image_wide_positional_embeddings(),
            sparse=sparse,
            dense=dense,
        )


def ask_transformers(model: Any, scene: Scene) -> tuple[Any, Any]:
    """Return transformers' three masks and scores, sorted by falling score as they come."""
    with torch.no_grad():
        output = model(
            image_embeddings=scene.embedding.expand(3, -1, -1, -1),
            intermediate_embeddings=[m.expand(3, -1, -1, -1) for m in scene.early_layers],
            input_points=scene.points,
            input_labels=scene.labels,
            input_masks=scene.masks,
            multimask_output=True,
        )
    return output.pred_masks[:, 0], output.iou_scores[:, 0]


def sort_by_score(logits: Any, scores: Any) -> tuple[Any, Any]:
    order = scores.argsort(dim=1, descending=True)
    return logits[torch.arange(3)[:, None], order], scores.gather(1, order)


def test_it_equals_transformers_decoder_once_that_is_corrected(model: Any, scene: Scene):
    logits, scores = sort_by_score(*decode(model, scene))
    with tiny_sam_models.corrected_hq_decoder(model):
        expected_logits, expected_scores = ask_transformers(model, scene)
    torch.testing.assert_close(scores, expected_scores, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(logits, expected_logits, atol=1e-4, rtol=1e-4)


def test_transformers_own_masks_still_differ_and_its_scores_do_not(model: Any, scene: Scene):
    logits, scores = sort_by_score(*decode(model, scene))
    own_logits, own_scores = ask_transformers(model, scene)
    torch.testing.assert_close(scores, own_scores, atol=1e-5, rtol=1e-4)
    # Once this fails, transformers' decoder is right and this module can go.
    assert (logits - own_logits).abs().max() > 0.1


def test_without_the_hq_mask_it_is_sams_decoder_with_one_more_token(model: Any, scene: Scene):
    pytest.importorskip("segment_anything")
    decoder = model.mask_decoder
    for last in (decoder.mask_conv2, decoder.encoder_conv2, decoder.compress_vit_conv2):
        last.weight.zero_()
        last.bias.zero_()
    theirs = tiny_sam_models.segment_anything_decoder(masks=4)
    theirs.load_state_dict(_with_one_more_token(decoder.state_dict()))
    for module in theirs.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-6  # as in transformers
    sparse, dense = model.get_prompt_embeddings(
        input_points=scene.points, input_labels=scene.labels, input_masks=scene.masks
    )
    with torch.no_grad():
        masks, ious = theirs(
            image_embeddings=scene.embedding,
            image_pe=model.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=sparse[:, 0],
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
    logits, scores = decode(model, scene)
    torch.testing.assert_close(logits, masks[:, :3], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(scores, ious[:, :3], atol=1e-5, rtol=1e-4)


def _with_one_more_token(state: dict[str, Any]) -> dict[str, Any]:
    """Return segment-anything's weights for the HQ token as a fifth mask token."""
    renamed = {tiny_sam_models.segment_anything_name(k): v for k, v in state.items()}
    kept = {
        k: v
        for k, v in renamed.items()
        if not k.startswith(("hq_", "encoder_", "compress_", "mask_conv", "mask_norm"))
    }
    kept["mask_tokens.weight"] = torch.cat([state["mask_tokens.weight"], state["hq_token.weight"]])
    for part in ("weight", "bias"):
        for theirs, ours in (("0", "proj_in"), ("1", "layers.0"), ("2", "proj_out")):
            kept[f"output_hypernetworks_mlps.4.layers.{theirs}.{part}"] = state[
                f"hq_mask_mlp.{ours}.{part}"
            ]
        last = kept[f"iou_prediction_head.layers.2.{part}"]
        kept[f"iou_prediction_head.layers.2.{part}"] = torch.cat([last, torch.zeros_like(last[:1])])
    return kept
