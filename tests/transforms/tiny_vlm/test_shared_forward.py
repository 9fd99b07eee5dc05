"""The forward pass of the pre-training computes what transformers' own class computes."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch.nn import functional

from hlmat.transforms.core.records import Click, Finish
from hlmat.transforms.prompting.dialogues.segagent import render_action
from hlmat.transforms.readers.shapes.scene import ShapesOptions
from hlmat.transforms.tiny_vlm import build
from hlmat.transforms.tiny_vlm.architecture import (
    END,
    build_tiny_vlm_model,
    build_tiny_vlm_processor,
    build_tiny_vlm_tokenizer,
)
from hlmat.transforms.tiny_vlm.build import CODEC, prepare_pretraining
from hlmat.transforms.tiny_vlm.kernels import RmsNorm, Rotation
from hlmat.transforms.tiny_vlm.muon import orthogonalise, orthogonalise_all
from hlmat.transforms.tiny_vlm.options import PretrainingOptions, TinyVlmArchitecture
from hlmat.transforms.tiny_vlm.pretraining import Pretraining
from hlmat.transforms.tiny_vlm.scenes import LabelledScenes, label_scenes
from hlmat.transforms.torch_support.torchvision import ensure_importable

ensure_importable()
SIZE = TinyVlmArchitecture(
    image=64, patch=16, vision_width=48, vision_depth=2, width=32, depth=3, heads=2
)
TOKENIZER: Any = build_tiny_vlm_tokenizer()


def prepared() -> tuple[Pretraining, LabelledScenes]:
    """Return a model whose every weight is random, and scenes."""
    torch.manual_seed(0)
    model = build_tiny_vlm_model(SIZE, TOKENIZER)
    # In float32 on machines that compute bfloat16, too.
    with patch.object(build, "computes_bfloat16", lambda device: False):
        pretraining = prepare_pretraining(
            model, TOKENIZER, SIZE, PretrainingOptions(steps=1, batch=2)
        )
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape) * 0.2)
    options = ShapesOptions(count=3, height=64, width=64, objects_max=3, difficulty="simple")
    return pretraining, label_scenes(options, split="train", tokenizer=TOKENIZER)


def test_logits_are_those_of_transformers() -> None:
    pretraining, scenes = prepared()
    processor = build_tiny_vlm_processor(SIZE, TOKENIZER)
    batch = pretraining.maker.make(scenes, np.arange(len(scenes)), texts=3)
    conversation, compared = pretraining.maker.conversation, 0
    with torch.inference_mode():
        states, _ = pretraining.forward.read(pretraining.forward.look(batch.pixels), batch.texts)
        ours = pretraining.forward.write(states)
        for b, e in np.argwhere(batch.targets.numpy() >= 0):
            words = scenes.texts[b, np.nonzero(scenes.targets[b] >= 0)[0][e]]
            content = [
                {"type": "image"},
                {"type": "text", "text": TOKENIZER.decode(words[words > 0])},
            ]
            question = processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
            )
            _, x, y = scenes.answers[b, 0, int(batch.targets[b, e])].tolist()
            answer = render_action(Click(x, y, True), size_hw=(64, 64), codec=CODEC)
            text = question + answer + END
            inputs = processor(text=[text], images=[scenes.images[b]], return_tensors="pt")
            theirs = pretraining.model(**inputs).logits[0]
            row = batch.texts[b, e]
            length = int((row != conversation.padding).sum())
            assert torch.equal(inputs["input_ids"][0, -length:], row[:length])
            torch.testing.assert_close(ours[b, e, :length], theirs[-length:], rtol=1e-3, atol=1e-3)
            compared += 1
    assert compared >= 3


def test_an_answer_is_what_the_dialogue_writes() -> None:
    conversation = prepared()[0].maker.conversation
    for action, meant in enumerate((Click(12, 34, True), Click(12, 34, False), Finish())):
        text = TOKENIZER.decode(conversation.answer(action, [1, 2, 3, 4]))
        assert text == render_action(meant, size_hw=(100, 100), codec=CODEC) + END
    assert conversation.longest_answer == 8


@pytest.mark.parametrize("function", ["norm", "rotation"])
def test_derivatives_written_by_hand_are_right(function: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, dtype=torch.float64, requires_grad=True)
    cos, sin = (torch.randn(3, 4, dtype=torch.float64).repeat(1, 2) for _ in range(2))
    if function == "norm":
        assert torch.autograd.gradcheck(RmsNorm.apply, (x,), eps=1e-4, atol=1e-3)
        torch.testing.assert_close(RmsNorm.apply(x), functional.rms_norm(x, (8,), eps=1e-6))
    else:
        assert torch.autograd.gradcheck(lambda z: Rotation.apply(z, cos, sin), (x,))
        half = torch.cat([-x[..., 4:], x[..., :4]], -1)
        torch.testing.assert_close(Rotation.apply(x, cos, sin), x * cos + half * sin)


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_an_orthogonalised_matrix_keeps_its_directions(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    made = orthogonalise(matrix)
    values = torch.linalg.svdvals(made)
    assert values.min() > 0.5
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    middle = left.T @ made @ right.T
    torch.testing.assert_close(middle, torch.diag(middle.diag()), atol=1e-4, rtol=0)


def test_matrices_made_orthogonal_at_once_are_those_made_one_by_one() -> None:
    torch.manual_seed(0)
    matrices = [torch.randn(shape) for shape in ((4, 9), (9, 4), (4, 9), (6, 6))]
    for made, matrix in zip(orthogonalise_all(matrices), matrices, strict=True):
        torch.testing.assert_close(made, orthogonalise(matrix), atol=1e-5, rtol=1e-5)
    assert orthogonalise_all([]) == []
