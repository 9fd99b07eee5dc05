"""The page in a browser: damaged files, ids that occur twice, odd addresses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from browser_pages import SCRIPT, Load, served, texts, wait_until
from builders import target_ref
from hlmat.export.view.page_files import PageFiles
from hlmat.pipelines.viewing.save import save_page
from hlmat.transforms.core.records import Reject, RejectReason
from viewed_runs import clicked, damage, page_of, write_run

pytestmark = pytest.mark.browser
DAMAGED = "the mask cannot be read"


def test_the_order_of_the_run_is_kept_beside_another_run(
    load: Load, page: PageFiles, tmp_path: Path
) -> None:
    other = write_run(tmp_path / "other", [clicked(n, 14) for n in (5, 2, 0, 1)])
    in_order = [SCRIPT, *(f"object {n}" for n in range(1, 6))]
    with served(page_of(Path(page.run.out), other)) as address:
        tab = load(at=address)
        tab.select_option("[name=sort]", "run")
        wait_until(tab, "location.hash === '#sort=run'")
        assert texts(load("#sort=run", at=address)) == in_order
        tab.click("#grid a")
        tab.click("#back")
        tab.wait_for_selector("#grid a", state="visible")
        assert texts(tab) == in_order
        tab.click("#reset")
        wait_until(tab, "location.hash === '#sort=difference'")


def test_ranges_keep_what_is_shown_with_their_digits(load: Load) -> None:
    # The IoU is 0.9091.
    tab = load("#iou=0.909~0.909")
    assert texts(tab) == ["object 3"]


@pytest.mark.parametrize(("step", "start"), [("-1", "before"), ("0.6", "after 1 of 3")])
def test_steps_of_an_address_are_brought_into_range(load: Load, step: str, start: str) -> None:
    tab = load(f"#target=t3&step={step}")
    tab.wait_for_selector("#step")
    assert tab.text_content("#step-text").startswith(start)


def test_a_reject_with_the_id_of_a_target_is_opened(load: Load, tmp_path: Path) -> None:
    rejects = [
        Reject(target_ref("t0", "again"), RejectReason.DUPLICATE_ID, f"the id occurs {n} times")
        for n in (2, 3)
    ]
    with served(page_of(write_run(tmp_path, [clicked(0, 10)], rejects))) as address:
        tab = load("#show=rejects", at=address)
        tab.click("#grid li:nth-child(2) a")
        tab.wait_for_selector(".end-text")
        assert tab.text_content(".end-text") == "Rejected: duplicate id. the id occurs 3 times"
        assert tab.evaluate("location.hash") == "#show=rejects&target=t0&n=1"
        tab = load("#target=t0", at=address)
        tab.wait_for_selector("#step")


def test_damaged_masks_are_named(load: Load, tmp_path: Path) -> None:
    run = write_run(tmp_path, [clicked(0, 10)])
    # Its runs are negative and far longer than the image.
    with served(page_of(damage(run, initial_rle="P\\j^FPdUa9"), training=None)) as address:
        tab = load("#target=t0", at=address)
        tab.wait_for_selector("#step")
        assert tab.locator(".stage .missing").is_hidden()
        tab.keyboard.press("ArrowLeft")
        assert tab.inner_text(".stage .missing") == DAMAGED
    with served(page_of(damage(run, truth_rle="P\\j^FPdUa9"), training=None)) as address:
        tab = load(at=address)
        tab.wait_for_selector("#grid .missing")
        assert tab.inner_text("#grid .missing") == DAMAGED
        tab.click("#grid a")
        tab.wait_for_selector("#step")
        assert tab.inner_text(".stage .missing") == DAMAGED


def test_targets_without_texts_are_sorted_and_shown(load: Load, tmp_path: Path) -> None:
    run = damage(write_run(tmp_path, [clicked(0, 10), clicked(1, 10)]), expressions=[])
    with served(page_of(run)) as address:
        assert texts(load("#sort=text&down=1", at=address)) == ["object 1", "t0"]
        tab = load("#target=t0", at=address)
        tab.wait_for_selector("#step")
        assert tab.inner_text("h2") == "t0"


def test_files_without_data_are_named(load: Load, page: PageFiles, tmp_path: Path) -> None:
    save_page(replace(page, with_rendered=False), str(tmp_path / "page"), quiet=True)
    (tmp_path / "page" / "data" / "targets-3.js").write_bytes(b"")
    (tmp_path / "page" / "data" / "reject-1.js").unlink()
    address = (tmp_path / "page" / "index.html").as_uri()
    tab = load("#target=t3", at=address)
    tab.wait_for_selector("#target:has-text('data/targets-3.js holds no data')")
    tab = load("#target=r1", at=address)
    tab.wait_for_selector("#target:has-text('data/reject-1.js cannot be loaded')")


def test_files_that_are_still_loading_are_kept(load: Load) -> None:
    left = load().evaluate(
        """() => {
          const resolve = () => {};
          for (let k = 0; k < 400; k++) {
            hlmat.asked.set(`x${k}`, { promise: null, resolve, isReceived: k % 4 === 0 });
          }
          loadData("problem-0");
          return [...hlmat.asked.keys()].filter((name) => name.startsWith("x"));
        }"""
    )
    assert {f"x{k}" for k in range(400) if k % 4} <= set(left)
    assert "x0" not in left


@pytest.mark.slow
def test_the_reason_of_a_servers_failure_is_shown(
    load: Load, tmp_path: Path, browser_errors: list[str]
) -> None:
    run = damage(write_run(tmp_path, [clicked(0, 10)]), truth_rle="zz!!")
    with served(page_of(run)) as address:
        tab = load("#target=t0", at=address)
        tab.wait_for_selector("#target:has-text('a file of the run was changed or damaged')")
        assert "targets-0.js cannot be loaded: data/targets-0.js" in tab.inner_text("#target")
        browser_errors.clear()
