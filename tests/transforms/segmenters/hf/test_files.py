"""The folder of a checkpoint: what is found in it, what is refused, what its hashes depend on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.segmenters.hf.files import read_checkpoint_folder


def write(folder: Path, **files: Any) -> Path:
    """Write files; `__` in a name stands for a dot, objects become JSON."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


def checkpoint(folder: Path, **files: Any) -> Path:
    present = {"config__json": {"model_type": "sam"}, "model__safetensors": b"weights", **files}
    return write(folder, **{k: v for k, v in present.items() if v is not None})


def refused(folder: Path | str | None) -> str:
    with pytest.raises(ConfigError) as caught:
        read_checkpoint_folder(None if folder is None else str(folder))
    return str(caught.value)


def test_what_is_in_the_folder(tmp_path: Path):
    found = read_checkpoint_folder(str(checkpoint(tmp_path)))
    assert found.model_type == "sam"
    assert found.weights == ("model.safetensors",)
    assert found.processor_config is None
    assert found.weights_sha256() == hashlib.sha256(b"weights").hexdigest()


@pytest.mark.parametrize("given", [None, ""])
def test_no_checkpoint(given: str | None):
    assert refused(given) == (
        "segmenter 'hf': no checkpoint was given; pass the folder of a SAM, SAM-HQ or SAM 2 model "
        "of transformers with --checkpoint"
    )


def test_no_folder(tmp_path: Path):
    assert refused(tmp_path / "nowhere") == (
        f"segmenter 'hf': there is no folder '{tmp_path}/nowhere'; give the folder, on this "
        "machine's disk, that save_pretrained writes"
    )


def test_a_name_on_the_hub_is_not_fetched():
    assert refused("facebook/sam-vit-base") == (
        "segmenter 'hf': there is no folder 'facebook/sam-vit-base'; nothing is downloaded here. "
        "If it is a name on the Hugging Face hub, get it with "
        "`hf download facebook/sam-vit-base --local-dir DIR` and give DIR"
    )


def test_a_file(tmp_path: Path):
    path = tmp_path / "sam_vit_b.pth"
    path.write_bytes(b"")
    assert refused(path) == (
        f"segmenter 'hf': '{path}' is a file; give the folder that save_pretrained writes. An "
        "official .pth file of SAM goes with --segmenter sam"
    )


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            {"config__json": None},
            "{folder}/config.json is missing, so {folder} is not a checkpoint of transformers; "
            "download it again",
            id="no config",
        ),
        pytest.param(
            {"config__json": b"{"},
            "{folder}/config.json cannot be read as JSON: Expecting property name enclosed in "
            "double quotes: line 1 column 2 (char 1); fetch the folder again",
            id="broken config",
        ),
        pytest.param(
            {"config__json": [1]},
            "{folder}/config.json is not a JSON object; fetch the folder again",
            id="config is a list",
        ),
        pytest.param(
            {"config__json": {}},
            "{folder}/config.json: model_type is None, expected a name; give the folder "
            "of a model of transformers",
            id="no model type",
        ),
        pytest.param(
            {"config__json": {"model_type": 7}},
            "{folder}/config.json: model_type is 7, expected a name; give the folder "
            "of a model of transformers",
            id="odd model type",
        ),
        pytest.param(
            {"preprocessor_config__json": b"\xff"},
            "{folder}/preprocessor_config.json cannot be read as JSON: 'utf-8' codec can't decode "
            "byte 0xff in position 0: invalid start byte; fetch the folder again",
            id="broken processor",
        ),
        pytest.param(
            {"model__safetensors": None},
            "{folder} has no weights: model.safetensors is missing; fetch the folder again",
            id="no weights",
        ),
        pytest.param(
            {"model__safetensors": None, "pytorch_model__bin": b""},
            "{folder} holds its weights as a pickle (pytorch_model.bin), which can run code when "
            "it is read, and no model.safetensors; take a version of the checkpoint with "
            "safetensors",
            id="pickled weights alone",
        ),
        pytest.param(
            {"adapter_config__json": {}},
            "{folder} holds an adapter (adapter_config.json is there); merge it into its model "
            "and give the folder of the full model",
            id="adapter",
        ),
        pytest.param(
            {"model__safetensors": None, "model__safetensors__index__json": {"weight_map": {}}},
            "{folder}/model.safetensors.index.json names no weight files next to it; fetch the "
            "folder again",
            id="empty index",
        ),
        pytest.param(
            {
                "model__safetensors": None,
                "model__safetensors__index__json": {"weight_map": {"a": "../other.safetensors"}},
            },
            "{folder}/model.safetensors.index.json names no weight files next to it; fetch the "
            "folder again",
            id="index that leads out of the folder",
        ),
        pytest.param(
            {
                "model__safetensors": None,
                "model__safetensors__index__json": {"weight_map": {"a": "1.safetensors"}},
            },
            "{folder} misses 1.safetensors; fetch the folder again",
            id="missing shard",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, files: dict[str, Any], expected: str):
    assert refused(checkpoint(tmp_path, **files)) == expected.format(folder=tmp_path)


def test_shards_are_hashed_with_their_names(tmp_path: Path):
    index = {"weight_map": {"a": "1.safetensors", "b": "2.safetensors", "c": "1.safetensors"}}
    folder = checkpoint(
        tmp_path,
        model__safetensors=None,
        model__safetensors__index__json=index,
        **{"1__safetensors": b"one", "2__safetensors": b"two"},
    )
    found = read_checkpoint_folder(str(folder))
    assert found.weights == ("1.safetensors", "2.safetensors")
    before = found.weights_sha256()
    write(folder, **{"1__safetensors": b"two", "2__safetensors": b"one"})
    assert found.weights_sha256() != before


def test_settings_of_the_newer_layout_come_first(tmp_path: Path):
    folder = checkpoint(tmp_path, preprocessor_config__json={"size": 1})
    assert read_checkpoint_folder(str(folder)).processor_config == {"size": 1}
    write(folder, processor_config__json={"processor_class": "SamProcessor"})
    assert read_checkpoint_folder(str(folder)).processor_config == {"size": 1}
    write(folder, processor_config__json={"image_processor": {"size": 2}})
    assert read_checkpoint_folder(str(folder)).processor_config == {"size": 2}


def test_what_would_fetch_or_run_something_is_left_out(tmp_path: Path):
    active = {
        "auto_map": {"AutoModel": "evil.Model"},
        "attn_implementation": "someone/kernel",
        "_attn_implementation": "someone/kernel",
        "quantization_config": {"quant_method": "bitsandbytes"},
    }
    config = {"model_type": "sam", **active, "vision_config": {"image_size": 64, **active}}
    folder = checkpoint(tmp_path, config__json=config, preprocessor_config__json=active)
    found = read_checkpoint_folder(str(folder))
    assert found.config == {"model_type": "sam", "vision_config": {"image_size": 64}}
    assert found.processor_config == {}


@given(
    st.dictionaries(st.text(min_size=1), st.integers() | st.text()), st.sampled_from([None, 2, 4])
)
def test_the_hash_of_settings_depends_on_content_alone(
    tmp_path_factory: pytest.TempPathFactory, settings: dict[str, Any], indent: int | None
):
    config = {**settings, "model_type": "sam"}
    folder = checkpoint(tmp_path_factory.mktemp("settings"), config__json=config)
    before = read_checkpoint_folder(str(folder)).settings_sha256()
    turned = dict(reversed(config.items()))
    (folder / "config.json").write_text(json.dumps(turned, indent=indent), "utf-8")
    assert read_checkpoint_folder(str(folder)).settings_sha256() == before
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "sam_hq"}), "utf-8")
    assert read_checkpoint_folder(str(folder)).settings_sha256() != before
