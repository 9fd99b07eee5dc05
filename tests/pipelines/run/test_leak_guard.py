"""The leak guard: which images count as shared, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hlmat.pipelines.run.leak_guard import TRAINING_RECORD, refuse_leaks
from hlmat.transforms.core.errors import ConfigError, DataError


def make_model(folder: Path, content: str) -> str:
    folder.mkdir()
    (folder / TRAINING_RECORD).write_text(content)
    return str(folder)


def record(*images: str) -> str:
    return json.dumps({"run": {}, "images": images})


def test_shared_images_are_refused_with_their_number_and_names(tmp_path: Path) -> None:
    model = make_model(tmp_path / "m", record("coco:1", "coco:2", "coco:9"))
    evaluated = [f"coco:{k}" for k in range(1, 8)]
    with pytest.raises(ConfigError) as caught:
        refuse_leaks(evaluated, model=model, trained_on=[], allow_leak=False)
    told = str(caught.value)
    assert "2 of the 7 images to be evaluated on" in told
    assert "coco:1, coco:2; evaluate on another split" in told
    (remark,) = refuse_leaks(evaluated, model=model, trained_on=[], allow_leak=True)
    assert remark == told


def test_further_sources_count_beside_the_model_s_own_record(tmp_path: Path) -> None:
    model = make_model(tmp_path / "m", record("coco:1"))
    export = tmp_path / "export"
    export.mkdir()
    (export / "export.json").write_text(record("coco:2"))
    with pytest.raises(ConfigError, match=f"1 of the 1 images .* those of {export}"):
        refuse_leaks(["coco:2"], model=model, trained_on=[str(export)], allow_leak=False)
    assert refuse_leaks(["coco:3"], model=model, trained_on=[str(export)], allow_leak=False) == []


def test_a_model_without_a_record_is_remarked_on(tmp_path: Path) -> None:
    (remark,) = refuse_leaks(["coco:1"], model=str(tmp_path), trained_on=[], allow_leak=False)
    assert f"holds no {TRAINING_RECORD} and --trained-on is not given" in remark
    assert refuse_leaks(["coco:1"], model=None, trained_on=[], allow_leak=False) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is not a record of training data"),
        ("[]", "is not a record of training data"),
        ('{"images": [1]}', "`images` must be a list of texts"),
    ],
)
def test_a_damaged_record_is_reported(tmp_path: Path, content: str, told: str) -> None:
    model = make_model(tmp_path / "m", content)
    with pytest.raises(DataError, match=told):
        refuse_leaks([], model=model, trained_on=[], allow_leak=False)


def test_a_folder_that_says_nothing_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a finished run, an export or a trained model"):
        refuse_leaks([], model=None, trained_on=[str(tmp_path)], allow_leak=False)
