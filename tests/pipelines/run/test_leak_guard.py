"""The leak guard: which images count as shared, and how they are reported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hlmat.pipelines.run.leak_guard import TRAINING_RECORD, add_images, refuse_leaks
from hlmat.transforms.core.errors import ConfigError, DataError
from hlmat.transforms.core.image_identity import KnownImage


def make_model(folder: Path, content: str) -> str:
    folder.mkdir()
    (folder / TRAINING_RECORD).write_text(content)
    return str(folder)


def record(*images: str, digests: list[str] | None = None) -> str:
    return json.dumps({"run": {}, "images": images} | ({"digests": digests} if digests else {}))


def listed(*images: str, digests: str = "") -> Callable[[bool], list[KnownImage]]:
    """Return what lists images; each has one letter of the digests, if they are asked for."""

    def list_images(with_digests: bool) -> list[KnownImage]:
        letters = digests if with_digests and digests else [""] * len(images)
        return [KnownImage(key, d) for key, d in zip(images, letters, strict=True)]

    return list_images


def test_shared_images_are_refused_with_their_number_and_names(tmp_path: Path) -> None:
    model = make_model(tmp_path / "m", record("coco:1", "coco:2", "coco:9"))
    evaluated = listed(*(f"coco:{k}" for k in range(1, 8)))
    with pytest.raises(ConfigError) as caught:
        refuse_leaks(evaluated, model=model, trained_on=[], allow_leak=False)
    message = str(caught.value)
    assert "2 of the 7 images to be evaluated on" in message
    assert "coco:1, coco:2; evaluate on another split" in message
    (remark,) = refuse_leaks(evaluated, model=model, trained_on=[], allow_leak=True)
    assert remark == message


def test_further_sources_count_beside_the_model_s_own_record(tmp_path: Path) -> None:
    model = make_model(tmp_path / "m", record("coco:1"))
    export = tmp_path / "export"
    export.mkdir()
    (export / "export.json").write_text(record("coco:2"))
    with pytest.raises(ConfigError, match=f"1 of the 1 images .* those of {export}"):
        refuse_leaks(listed("coco:2"), model=model, trained_on=[str(export)], allow_leak=False)
    assert (
        refuse_leaks(listed("coco:3"), model=model, trained_on=[str(export)], allow_leak=False)
        == []
    )


def test_shared_pixels_are_found_under_other_names(tmp_path: Path) -> None:
    content = record("coco-file:cat", "coco-file:cow", digests=["a", "b"])
    model = make_model(tmp_path / "m", content)
    images = listed("coco-file:cow", "folder:dog", "folder:pig", digests="cab")
    with pytest.raises(ConfigError) as caught:
        refuse_leaks(images, model=model, trained_on=[], allow_leak=False)
    message = str(caught.value)
    # The cow of the evaluation is another one.
    assert "leak guard: 2 of the 3 images" in message
    assert "folder:dog (there coco-file:cat), folder:pig (there coco-file:cow); evaluate" in message


def test_images_are_read_only_where_digests_are_recorded(tmp_path: Path) -> None:
    asked = []

    def list_images(with_digests: bool) -> list[KnownImage]:
        asked.append(with_digests)
        return []

    plain = make_model(tmp_path / "m", record("coco:1"))
    known = make_model(tmp_path / "n", record("coco:1", digests=["a"]))
    for model in (plain, known, None):
        refuse_leaks(list_images, model=model, trained_on=[], allow_leak=False)
    assert asked == [False, True]


def test_a_model_without_a_record_is_remarked_on(tmp_path: Path) -> None:
    (remark,) = refuse_leaks(listed("coco:1"), model=str(tmp_path), trained_on=[], allow_leak=False)
    assert f"has no {TRAINING_RECORD} and --trained-on is not given" in remark
    assert refuse_leaks(listed("coco:1"), model=None, trained_on=[], allow_leak=False) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a record of training data"),
        ("[]", "is not a record of training data"),
        ('{"images": [1]}', "`images` must be a list of texts"),
        ('{"images": 1}', "is not a record of training data"),
        ('{"images": [], "digests": 3}', "`digests` must be a list of texts"),
        ('{"images": ["a"], "digests": ["b", "c"]}', "has 1 `images` and 2 `digests`"),
    ],
)
def test_a_damaged_record_is_reported(tmp_path: Path, content: str, message: str) -> None:
    model = make_model(tmp_path / "m", content)
    with pytest.raises(DataError, match=message):
        refuse_leaks(listed(), model=model, trained_on=[], allow_leak=False)


def test_a_folder_without_a_record_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a finished run, an export or a trained model"):
        refuse_leaks(listed(), model=None, trained_on=[str(tmp_path)], allow_leak=False)


def test_a_later_training_adds_its_images_to_a_record() -> None:
    frame = {"codec": "decimal", "order": "xy"}
    first = add_images(None, [KnownImage("b", "2")], frame=frame)
    later = [KnownImage("a", "1"), KnownImage("b", "2")]
    content = json.loads(add_images(first, later, frame=frame))
    assert content == {"frame": frame, "images": ["a", "b"], "digests": ["1", "2"]}
    with pytest.raises(DataError, match="is not a record of training data"):
        add_images(b"{}", [], frame=frame)
