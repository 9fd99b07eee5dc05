"""What the flags on the conversation make of dialogue, family and coordinates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.settings.evaluation_options import evaluation_config
from hlmat.pipelines.settings.export_options import llama_factory_options
from hlmat.pipelines.settings.validation import Check
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.records import Box, Undo
from hlmat.transforms.policies.mllm import ModelPolicyOptions
from hlmat.transforms.prompting.actions import TurnFormat
from hlmat.transforms.prompting.options import TRAINER_PIXELS
from hlmat.transforms.prompting.resizes import RESIZES


def exported(*flags: str) -> TurnFormat:
    return llama_factory_options(parse_command("export", flags), Check()).turn_format


@pytest.mark.parametrize(
    ("flags", "codec", "digits"),
    [
        ((), "decimal", 3),
        (("--dialogue", "ibis"), "decimal_inclusive", 4),
        (("--dialogue", "json-point"), "zero_to_1000", 3),
        (("--dialogue", "json-point", "--codec", "thousandths"), "thousandths", 3),
        (("--dialogue", "ibis", "--digits", "2"), "decimal_inclusive", 2),
        (("--model-family", "qwen3_vl"), "zero_to_1000", 3),
        (("--model-family", "llava"), "decimal", 3),
        (("--model-family", "qwen2_5_vl", "--dialogue", "json-point"), "pixels", 3),
        (("--model-family", "qwen2_5_vl", "--dialogue", "ibis"), "decimal_inclusive", 4),
        (("--model-family", "qwen2_5_vl", "--codec", "decimal"), "decimal", 3),
    ],
)
def test_a_flag_comes_before_the_family_and_that_before_the_dialogue(
    flags: tuple[str, ...], codec: str, digits: int
) -> None:
    found = exported(*flags).codec
    assert found.name == codec
    if "decimal" in codec:
        assert len(found.numbers(0, 0, size_hw=(9, 9))[0]) == digits + 2


def test_a_family_brings_its_resize_and_its_limit() -> None:
    options = llama_factory_options(
        parse_command("export", ("--model-family", "qwen2_5_vl")), Check()
    )
    assert options.turn_format.codec.resize == RESIZES["qwen2-vl"]
    assert options.view.max_pixels == TRAINER_PIXELS
    options = llama_factory_options(
        parse_command("export", ("--model-family", "internvl3")), Check()
    )
    assert options.view.max_pixels == 12 * 448 * 448
    options = llama_factory_options(
        parse_command("export", ("--model-family", "internvl3", "--max-side", "99")), Check()
    )
    assert (options.view.max_side, options.view.max_pixels) == (99, None)


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--model-family", "qwen4"), "--model-family 'qwen4'"),
        (("--model-family", "auto"), "--model-family auto needs a checkpoint in this process"),
        (("--dialogue", "json-point", "--task", "prm"), "--task prm: the dialogue json-point has"),
        (("--undo",), "--undo: the dialogue segagent cannot take an action back; use --dialogue"),
        (("--dialogue", "medsam-agent", "--undo"), "--undo: the dialogue medsam-agent cannot"),
        (("--dialogue", "json-point", "--add-box"), "--add-box: the dialogue json-point asks for"),
        (("--dialogue", "ibis", "--first-box"), "--first-box: the dialogue ibis has no form for"),
    ],
)
def test_what_does_not_fit_is_said(flags: tuple[str, ...], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        llama_factory_options(parse_command("export", flags), Check())
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("model_type", "codec"),
    [("qwen3_vl", "zero_to_1000"), ("internvl", "zero_to_1000")],
)
def test_auto_is_the_family_that_a_checkpoint_names(
    model_type: str, codec: str, tmp_path: Path
) -> None:
    policy = evaluated(tmp_path, model_type=model_type)
    assert policy.conversation.turn_format.codec.name == codec


def test_a_checkpoint_of_an_unknown_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'clip' of .* belongs to no known family"):
        evaluated(tmp_path, model_type="clip")


def evaluated(tmp_path: Path, *, model_type: str) -> ModelPolicyOptions:
    import numpy as np
    from safetensors.numpy import save_file

    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    save_file({"a": np.zeros(1)}, tmp_path / "model.safetensors")
    flags = ("--model", str(tmp_path), "--model-family", "auto", "--out", "out")
    arguments = parse_command("evaluate", ("--dataset", "shapes", *flags))
    policy = evaluation_config(arguments).run.policy
    assert isinstance(policy, ModelPolicyOptions)
    return policy


def test_edits_are_offered_by_dialogues_of_functions() -> None:
    found = exported("--dialogue", "tools", "--undo", "--add-box")
    assert found.offer.edits == {Undo, Box}
    assert exported("--dialogue", "medsam-agent", "--add-box").offer.edits == {Box}
    assert exported("--dialogue", "tools").offer.edits == set()
