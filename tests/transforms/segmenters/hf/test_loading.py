"""Loading SAM models of transformers: whole or not at all, offline, nothing of the folder run."""

from __future__ import annotations

import json
import pickle
import re
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.records import Click
from hlmat.transforms.segmenters.hf.families import FAMILIES
from hlmat.transforms.segmenters.hf.files import CheckpointFolder
from hlmat.transforms.segmenters.hf.loading import load_model
from hlmat.transforms.segmenters.hf.segmenter import HuggingFaceSegmenter
from hlmat.transforms.torch_support.torchvision import ensure_importable

torch = pytest.importorskip("torch")
ensure_importable()
pytest.importorskip("transformers")

import tiny_sam_models  # noqa: E402

OTHER_MODEL = "they belong to another config.json or model"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_sam_models.save(tiny_sam_models.tiny_model("sam"), tmp_path / "sam")


def refused(folder: Path, *, device: str = "cpu") -> str:
    with pytest.raises(ConfigError) as caught:
        HuggingFaceSegmenter(str(folder), device=device)
    return str(caught.value)


def assert_not_loaded(folder: Path, *, because: str) -> None:
    """Assert that a folder is refused with a library's reason, a regular expression."""
    message = refused(folder)
    start = re.escape(f"the model in {folder} cannot be loaded: ")
    assert re.fullmatch(f"{start}{because}; fetch the folder again", message), message


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def change_weights(folder: Path, **changes: Any) -> None:
    """Replace tensors; None takes one away."""
    from safetensors.torch import load_file, save_file

    state = {**load_file(folder / "model.safetensors"), **changes}
    kept = {name: tensor for name, tensor in state.items() if tensor is not None}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("model_type", ["sam3", "bert", "no_such_model"])
def test_other_model_types_are_reported_with_those_that_are_taken(folder: Path, model_type: str):
    change_config(folder, model_type=model_type)
    assert refused(folder) == (
        f"{folder} is of model_type {model_type!r}; the segmenter 'hf' takes {', '.join(FAMILIES)}"
    )


def test_another_encoder_is_refused_before_anything_is_made_of_it(tmp_path: Path):
    folder = tiny_sam_models.save(tiny_sam_models.tiny_model("sam2"), tmp_path / "sam2")
    change_config(
        folder, vision_config={"backbone_config": {"model_type": "timm_wrapper", "model_args": {}}}
    )
    assert refused(folder) == (
        f"vision_config.backbone_config in the config.json of {folder} is of model_type "
        "'timm_wrapper', expected 'sam2_hiera_det_model'; other encoders are not supported"
    )


@pytest.fixture
def edgetam(tmp_path: Path) -> Path:
    """A folder with EdgeTAM's configuration and weights of another model, which stay unread."""
    folder = tiny_sam_models.save(tiny_sam_models.tiny_model("sam"), tmp_path / "edgetam")
    parts = tiny_sam_models.edgetam_parts()
    (folder / "config.json").write_text(json.dumps({"model_type": "edgetam", **parts}))
    return folder


def change_backbone(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_bytes())
    config["vision_config"]["backbone_config"].update(changes)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("name", ["resnet50", "hf-hub:evil/model", "local-dir:/tmp/evil", None, 7])
@pytest.mark.parametrize("model_type", ["edgetam", "edgetam_video"])
def test_another_timm_model_is_refused(edgetam: Path, name: Any, model_type: str):
    change_config(edgetam, model_type=model_type)
    change_backbone(edgetam, architecture=name)
    assert refused(edgetam) == (
        f"vision_config.backbone_config in {edgetam}/config.json names the timm model {name!r}, "
        "expected 'repvit_m1' or 'repvit_m1.dist_in1k'; other encoders are not supported"
    )


EXPECTED_ARGS = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]}


@pytest.mark.parametrize(
    "given",
    [
        {**EXPECTED_ARGS, "pretrained": True},
        {**EXPECTED_ARGS, "checkpoint_path": "weights.pth"},
        {**EXPECTED_ARGS, "pretrained_cfg": {"url": "http://127.0.0.1/weights.pth"}},
        {**EXPECTED_ARGS, "in_chans": 4},
        {},
        None,
    ],
)
def test_other_arguments_for_timm_are_refused(edgetam: Path, given: Any):
    change_backbone(edgetam, model_args=given)
    assert refused(edgetam) == (
        f"vision_config.backbone_config in {edgetam}/config.json gives timm the model_args "
        f"{given!r}, expected {EXPECTED_ARGS!r}; others could fetch or run something"
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [("pretrained", True), ("checkpoint_path", "a.pth"), ("use_pretrained_backbone", True)],
)
def test_weights_from_elsewhere_are_refused(edgetam: Path, key: str, value: Any):
    change_backbone(edgetam, **{key: value})
    assert refused(edgetam) == (
        f"vision_config.backbone_config in {edgetam}/config.json has {key} = {value!r}; weights "
        f"are only read from the safetensors of the folder, so remove {key}"
    )


def test_edgetam_with_an_encoder_of_another_type_is_refused(edgetam: Path):
    change_backbone(edgetam, model_type="timm_backbone", backbone="resnet50")
    assert refused(edgetam) == (
        f"vision_config.backbone_config in the config.json of {edgetam} is of model_type "
        "'timm_backbone', expected 'timm_wrapper'; other encoders are not supported"
    )


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"the network was asked: {args}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("described", ["as published", "with the name of weights", "not at all"])
def test_edgetam_is_loaded_without_the_network(
    tmp_path: Path, no_network: None, monkeypatch: pytest.MonkeyPatch, described: str
):
    timm = pytest.importorskip("timm", reason="timm builds the encoder of EdgeTAM")
    asked: list[Any] = []
    create = timm.create_model

    def spy(name: str, **kwargs: Any) -> Any:
        asked.append((name, kwargs))
        return create(name, **kwargs)

    folder = tiny_sam_models.save(tiny_sam_models.tiny_model("edgetam_video"), tmp_path / "edgetam")
    if described == "with the name of weights":
        change_backbone(folder, architecture="repvit_m1.dist_in1k", pretrained_cfg={"tag": "x"})
    if described == "not at all":
        config = json.loads((folder / "config.json").read_bytes())
        del config["vision_config"]["backbone_config"]
        (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(timm, "create_model", spy)
    segmenter = HuggingFaceSegmenter(str(folder), device="cpu")
    assert asked == [("repvit_m1", {"pretrained": False, "num_classes": 0, **EXPECTED_ARGS})]
    assert segmenter.identity()["model_type"] == "edgetam_video"


def test_missing_tensors_are_reported(folder: Path):
    change_weights(folder, **{"mask_decoder.iou_token.weight": None})
    assert refused(folder) == (
        f"the weights in {folder} do not fit SamModel: 1 tensors missing "
        f"(mask_decoder.iou_token.weight); {OTHER_MODEL}"
    )


def test_tensors_that_are_not_the_models_are_reported(folder: Path):
    change_weights(folder, extra=torch.zeros(2))
    assert refused(folder) == (
        f"the weights in {folder} do not fit SamModel: 1 tensors not part of the model (extra); "
        f"{OTHER_MODEL}"
    )


def test_tensors_of_another_shape_are_reported(folder: Path):
    change_weights(folder, **{"mask_decoder.iou_token.weight": torch.zeros(1, 7)})
    assert refused(folder) == (
        f"the weights in {folder} do not fit SamModel: 1 tensors of another shape "
        f"(mask_decoder.iou_token.weight is (1, 7), expected (1, 32)); {OTHER_MODEL}"
    )


def test_weights_of_another_family_are_reported(folder: Path):
    change_config(folder, model_type="sam_hq")
    assert refused(folder) == (
        f"the weights in {folder} do not fit SamHQModel: 25 tensors missing "
        "(mask_decoder.compress_vit_conv1.bias, mask_decoder.compress_vit_conv1.weight, "
        f"mask_decoder.compress_vit_conv2.bias, ...); {OTHER_MODEL}"
    )


@pytest.mark.parametrize(
    ("length", "because"),
    [
        (0, "it has less than 8 bytes"),
        (4, "it has less than 8 bytes"),
        (1000, "its header cannot be read: Unterminated string .+"),
    ],
)
def test_weights_that_are_cut_off_are_reported(folder: Path, length: int, because: str):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    assert_not_loaded(folder, because=f"ValueError: {because}")


class Poison:
    """Unpickling this would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.path, "executed"))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_a_pickle_with_code_in_it_does_not_run(folder: Path, tmp_path: Path, name: str):
    victim = tmp_path / "victim"
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Poison(victim), protocol=2))
    refused(folder)
    assert not victim.exists()


def test_code_beside_the_weights_does_not_run(folder: Path, tmp_path: Path):
    victim = tmp_path / "victim"
    (folder / "evil.py").write_text(f"open({str(victim)!r}, 'w')\nclass Model: ...\n")
    change_config(folder, auto_map={"AutoModel": "evil.Model"})
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "auto_map": {"AutoImageProcessor": "evil.Model"},
                "size": {"longest_edge": 64},
                "pad_size": {"height": 64, "width": 64},
            }
        )
    )
    HuggingFaceSegmenter(str(folder), device="cpu")
    assert not victim.exists()


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        pytest.param(
            {},
            r"makes images of shape \(1, 3, 1024, 1024\), the model takes \(1, 3, 64, 64\); its "
            "settings are those of another model",
            id="of the large model",
        ),
        pytest.param(
            {"size": {"height": 64, "width": 64}},
            "does not work: AttributeError: .+; its settings are those of another model than sam",
            id="of another family",
        ),
        pytest.param(
            {"size": "large"},
            "does not work: ValueError: .+; its settings are those of another model than sam",
            id="no size",
        ),
    ],
)
def test_a_processor_of_another_model_is_reported(
    folder: Path, settings: dict[str, Any], seen: str
):
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    message = refused(folder)
    assert re.fullmatch(f"the image processor of {re.escape(str(folder))} {seen}", message), message


def test_settings_as_sams_publishers_wrote_them_are_taken(folder: Path):
    settings = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_processor_type": "SamImageProcessor",
        "image_std": [0.229, 0.224, 0.225],
        "pad_size": {"height": 64, "width": 64},
        "processor_class": "SamProcessor",
        "resample": 2,
        "rescale_factor": 0.00392156862745098,
        "size": {"longest_edge": 64},
    }
    image = np.random.default_rng(0).integers(0, 256, (50, 37, 3), dtype=np.uint8)
    clicks = (Click(10, 20, True),)
    logits = []
    for given in (None, settings):
        if given is not None:
            (folder / "preprocessor_config.json").write_text(json.dumps(given))
        segmenter = HuggingFaceSegmenter(str(folder), device="cpu")
        segmenter.set_image(image)
        logits.append(segmenter.predict(clicks=clicks).feedback)
    torch.testing.assert_close(logits[0], logits[1])


def test_a_configuration_that_contradicts_itself_is_reported(folder: Path):
    config = json.loads((folder / "config.json").read_bytes())
    prompts = {**config["prompt_encoder_config"], "image_size": 128}
    change_config(folder, prompt_encoder_config=prompts)
    assert refused(folder) == (
        f"the config.json of {folder} names different image sizes: [64, 128]; encoder and prompts "
        "must have one"
    )


def test_a_configuration_of_nonsense_is_reported(folder: Path):
    change_config(folder, vision_config={"hidden_size": "wide"})
    assert_not_loaded(folder, because=".*TypeError: .+")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_reported(folder: Path):
    assert refused(folder, device="cuda") == (
        "device 'cuda' was asked for, but this torch sees no CUDA device; use cpu"
    )


def test_no_such_device(folder: Path):
    assert refused(folder, device="gpu9") == (
        "'gpu9' is not a device; use auto, cpu, cuda or cuda:N"
    )


@pytest.mark.parametrize(
    ("package", "model_type"), [("torch", "sam"), ("transformers", "sam"), ("timm", "edgetam")]
)
def test_a_package_that_is_not_installed_is_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch, package: str, model_type: str
):
    monkeypatch.setitem(sys.modules, package, None)
    found = CheckpointFolder(
        folder, model_type, {"model_type": model_type}, None, ("model.safetensors",)
    )
    with pytest.raises(ConfigError) as caught:
        load_model(found, device="cpu")
    assert str(caught.value) == (
        f"the segmenter 'hf' needs the package '{package}', which is not installed; "
        "pip install 'hlmat[hf]'"
    )


def test_loading_writes_nothing_and_changes_no_settings(
    folder: Path, capfd: pytest.CaptureFixture[str]
):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    capfd.readouterr()
    HuggingFaceSegmenter(str(folder), device="cpu")
    change_weights(folder, extra=torch.zeros(2))
    refused(folder)
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_half_precision_weights_are_computed_in_full(folder: Path):
    from safetensors.torch import load_file

    state = load_file(folder / "model.safetensors")
    change_weights(folder, **{name: tensor.half() for name, tensor in state.items()})
    change_config(folder, dtype="float16", torch_dtype="float16")
    segmenter: Any = HuggingFaceSegmenter(str(folder), device="cpu")
    dtypes = {weight.dtype for weight in segmenter._model._model.parameters()}
    assert dtypes == {torch.float32}
