"""The files of a page by name."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from builders import target_ref
from hlmat.export.llama_factory.images import MAX_JPEG_SIDE
from hlmat.export.llama_factory.writer import export_next_click
from hlmat.export.view.images import whole_image
from hlmat.export.view.page_files import PageFiles
from hlmat.transforms.core.errors import DataError, TargetError
from hlmat.transforms.core.records import Reject, RejectReason, Undo
from hlmat.transforms.prompting.templates import next_click_prompt
from viewed_runs import DrawnImages, clicked, damage, damage_text, page_of, write_run

REJECT = Reject(target_ref("r", "a hole"), RejectReason.EMPTY_MASK, "it has no pixel")


def content(page: PageFiles, name: str) -> Any:
    """Return what a file of data hands to the page."""
    data = page.read(f"data/{name}.js")
    assert data is not None
    text = data.decode("ascii").strip()
    start = f'hlmat.receive("{name}",'
    assert text.startswith(start)
    return json.loads(text[len(start) : -2])


def test_details_hold_the_masks_and_the_training_rows(tmp_path: Path) -> None:
    made = clicked(0, 10, 20)
    page = page_of(write_run(tmp_path / "run", [made]))
    (found,) = content(page, "targets-0")
    assert [step["mask_rle"] for step in found["steps"]] == [s.mask.counts for s in made.steps]
    assert found["truth_rle"] == made.target.truth.counts
    assert [row["masks"] for row in found["rows"]] == [[None], [made.steps[0].mask.counts]]
    export_next_click([made], DrawnImages().of_target, str(tmp_path / "sft"))
    exported = json.loads((tmp_path / "sft" / "next_click.json").read_text(encoding="ascii"))
    assert [{k: v for k, v in row.items() if k != "masks"} for row in found["rows"]] == exported


def test_a_target_that_the_task_refuses_is_shown_with_the_reason(tmp_path: Path) -> None:
    made = clicked(0, 5)
    back = replace(made.steps[0], action=Undo(), is_initial=False)
    page = page_of(write_run(tmp_path, [replace(made, steps=(*made.steps, back))]))
    (found,) = content(page, "targets-0")
    assert found["rows"] == []
    assert "takes an action back in step 2, which answers cannot say" in found["rows_problem"]
    assert [step["kind"] for step in found["steps"]] == ["click", "undo"]
    assert page.read("rendered/0-0-0.jpg") is None


def test_rendered_images_are_those_of_the_training_set(tmp_path: Path) -> None:
    made = clicked(0, 10, 20)
    page = page_of(write_run(tmp_path / "run", [made]))
    export_next_click([made], DrawnImages().of_target, str(tmp_path / "sft"))
    rows = json.loads((tmp_path / "sft" / "next_click.json").read_text(encoding="ascii"))
    for number, row in enumerate(rows):
        written = (tmp_path / "sft" / row["images"][0]).read_bytes()
        assert page.read(f"rendered/0-{number}-0.jpg") == written
    assert page.read("rendered/0-2-0.jpg") is None
    assert replace(page, with_rendered=False).read("rendered/0-0-0.jpg") is None


def test_the_question_is_the_one_that_the_run_recorded(tmp_path: Path) -> None:
    asked = {"prompt": next_click_prompt().text, "view": {"colour": "red"}, "codec": "another"}
    run = write_run(tmp_path, [clicked(0, 10)], config={"policy_settings": asked})
    (found,) = content(page_of(run), "targets-0")
    assert "Segment this object: object 0. " in found["question"]
    assert "half-transparent red" in found["question"]
    assert "{coordinates}" in found["question"]


def test_a_run_without_a_model_asked_nothing(tmp_path: Path) -> None:
    (found,) = content(page_of(write_run(tmp_path, [clicked(0, 10)])), "targets-0")
    assert found["question"] is None


def test_images_are_reduced(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path, [clicked(0, 10)]), max_side=20)
    data = page.read("images/0.jpg")
    assert data is not None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (15, 20, 3)


def test_images_longer_than_a_jpeg_file_can_be_are_reduced() -> None:
    data = whole_image(np.zeros((2, MAX_JPEG_SIDE + 100, 3), np.uint8), max_side=None)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (2, MAX_JPEG_SIDE, 3)


def test_a_missing_image_has_a_reason(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path, [clicked(0, 10)]), images=DrawnImages("0.png"))
    with pytest.raises(TargetError, match=r"0\.png does not exist"):
        page.read("thumbs/0.jpg")
    assert content(page, "problem-0") == "0.png does not exist"


def test_rejects_have_their_reasons(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path, [clicked(0, 10)], [REJECT]))
    found = content(page, "rejects-0")
    assert (found["reason"], found["message"]) == (["empty_mask"], ["it has no pixel"])
    assert content(page, "page")["rejects"] == 1
    assert content(page, "reject-0")["problem"] is None


def test_every_name_of_data_is_a_file_and_no_other(tmp_path: Path) -> None:
    run = write_run(tmp_path, [clicked(n, 10) for n in range(5)], [REJECT])
    page = page_of(run, targets_per_file=2)
    names = [*page.data_names()]
    assert len(names) == len(set(names)) == 1 + 1 + 1 + 1 + 3 + 1
    assert [name for name in names if page.read(name) is None] == []
    for name in (
        "data/targets-3.js",
        "data/index-1.js",
        "data/against-0.js",
        "data/targets-00.js",
        "data/reject-1.js",
        "data/problem-5.js",
        "images/5.jpg",
        "thumbs/5.jpg",
        "images/reject-1.jpg",
        "thumbs/reject-1.jpg",
        "rendered/5-0-0.jpg",
        "rendered/0-1-0.jpg",
        "rendered/0-0-1.jpg",
        "images/../0.jpg",
        "page/../index.html",
        "page/secret.js",
        "",
    ):
        assert page.read(name) is None, name


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("data/targets-0.js", {"height": 0}),
        ("data/targets-0.js", {"truth_rle": "zz!!"}),
        ("data/targets-0.js", {"truth_rle": "\xe9"}),
        ("rendered/0-0-0.jpg", {"initial_rle": "P\\j^FPdUa9"}),
    ],
)
def test_damaged_values_are_named(tmp_path: Path, name: str, values: dict[str, Any]) -> None:
    page = page_of(damage(write_run(tmp_path, [clicked(0, 10)]), **values))
    with pytest.raises(DataError, match=rf"{name} cannot be shown: .*; run again with --overw"):
        page.read(name)


def test_damaged_text_is_named_in_the_index_and_the_images(tmp_path: Path) -> None:
    page = page_of(damage_text(write_run(tmp_path, [clicked(0, 10)]), "0.png"))
    for name in ("data/index-0.js", "images/0.jpg", "thumbs/0.jpg"):
        with pytest.raises(DataError, match=f"{name} cannot be shown: .*utf-8"):
            page.read(name)
    with pytest.raises(DataError, match="the index cannot be shown"):
        next(page.image_jobs())


def test_damaged_rows_are_named_where_images_are_saved(tmp_path: Path) -> None:
    page = page_of(damage(write_run(tmp_path, [clicked(0, 10)]), truth_rle="zz!!"))
    *_, rendered = page.image_jobs()
    with pytest.raises(DataError, match="row 0 cannot be shown"):
        rendered()


def test_a_target_without_texts_is_shown(tmp_path: Path) -> None:
    asked = {"prompt": next_click_prompt().text, "view": {"colour": "red"}, "codec": "another"}
    run = write_run(tmp_path, [clicked(0, 10)], config={"policy_settings": asked})
    (found,) = content(page_of(damage(run, expressions=[])), "targets-0")
    assert "Segment this object: . " in found["question"]
    assert found["rows"] == []


def test_texts_cannot_end_the_script(tmp_path: Path) -> None:
    text = "</script>\u2028\U0001f600\x00"
    page = page_of(write_run(tmp_path, [clicked(0, 10, text=text)]))
    assert content(page, "index-0")["texts"] == [[text]]


def test_the_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path, [clicked(0, 10)]))
    html = (page.read("index.html") or b"").decode()
    assert 'http-equiv="Content-Security-Policy" content="default-src \'none\';' in html
    names = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert [name for name in names if not name.startswith(("page/", "#"))] == []
