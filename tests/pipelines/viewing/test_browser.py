"""The page of a run in a real browser."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from browser_pages import SCRIPT, Load, served, status, texts, until, wait_until
from hlmat.export.llama_factory.writer import export_next_click
from hlmat.export.view.export_files import ExportFiles
from hlmat.export.view.json_rows import open_training_set
from hlmat.export.view.page_files import PageFiles
from hlmat.pipelines.viewing.save import save_page
from hlmat.transforms.core.records import StopReason, Undo
from hlmat.transforms.core.storage import LocalStorage
from viewed_runs import DrawnImages, clicked, page_of, write_run

pytestmark = pytest.mark.browser


def test_filters_choose_and_stay_in_the_address(load: Load) -> None:
    tab = load()
    assert status(tab) == "6 of 6 targets"
    tab.fill("[name=iou-from]", "0.9")
    until(tab, "3 of 6 targets")
    assert texts(tab) == ["object 2", "object 3", "object 5"]
    tab.select_option("[name=sort]", "iou")
    tab.select_option("[name=down]", "1")
    wait_until(tab, "location.hash === '#sort=iou&down=1&iou=0.9%7E'")
    wait_until(tab, "document.querySelector('#grid .text').textContent === 'object 2'")
    again = load(tab.evaluate("location.hash"))
    assert texts(again) == ["object 2", "object 3", "object 5"]
    assert again.input_value("[name=iou-from]") == "0.9"
    again.click("#reset")
    until(again, "6 of 6 targets")
    assert again.input_value("[name=iou-from]") == ""


def test_search_stop_reasons_and_scores(load: Load) -> None:
    tab = load()
    tab.fill("[name=q]", "OBJECT 3")
    until(tab, "1 of 6 targets")
    tab.fill("[name=q]", "")
    until(tab, "6 of 6 targets")
    tab.check("[value=no_gain]")
    until(tab, "1 of 6 targets")
    assert texts(tab) == ["object 1"]
    assert status(load("#segmenter=0.7~0.9")) == "1 of 6 targets"
    assert tab.locator("[name=model-from]").count() == 0


def test_texts_are_sorted_by(load: Load, tmp_path: Path) -> None:
    made = [clicked(n, 10) for n in range(3)]
    made[0] = replace(made[0], stop_reason=StopReason.REACHED_IOU)
    ref = replace(made[1].target.ref, split="a")
    made[1] = replace(made[1], target=replace(made[1].target, ref=ref))
    with served(page_of(write_run(tmp_path / "run", made))) as address:
        tab = load(at=address)
        tab.select_option("[name=sort]", "stop")
        wait_until(tab, "document.querySelector('#grid .text').textContent === 'object 1'")
        assert texts(tab) == ["object 1", "object 2", "object 0"]
        assert texts(load("#sort=data&down=1", at=address)) == ["object 0", "object 2", "object 1"]


def test_figures_are_those_of_the_selection(load: Load) -> None:
    tab = load("#iou=0.9~")
    facts = tab.locator("#figures dd").all_text_contents()
    assert facts == ["3", "0.936", "+0.936", "2.00"]
    labels = [c.get_attribute("aria-label") for c in tab.locator(".chart svg").all()]
    assert labels[0].startswith("IoU by click: run 0.00, ")
    assert "NoC@80 1.67, never 0; NoC@85 2.00, never 0; NoC@90 2.00, never 0" in labels[1]
    assert labels[3] == "Ended by: max clicks: 3"


@pytest.mark.slow
def test_texts_are_never_markup(load: Load) -> None:
    for hash in ("", "#target=t0", "#target=t2", "#show=rejects", "#target=r0"):
        tab = load(hash)
        assert SCRIPT in tab.inner_text("body")
        assert tab.evaluate("window.hacked") is None
        assert tab.locator("img[src=x]").count() == 0


def test_rejects_have_reasons_and_images(load: Load) -> None:
    tab = load()
    tab.select_option("[name=show]", "rejects")
    until(tab, "2 of 2 rejects")
    tab.select_option("[name=reason]", "crowd")
    until(tab, "1 of 2 rejects")
    tab.click("#grid a")
    tab.wait_for_selector(".end-text")
    assert tab.text_content(".end-text") == "Rejected: crowd. a crowd"


def test_the_slider_goes_through_the_steps(load: Load) -> None:
    tab = load("#target=t3")
    tab.wait_for_selector("#step")
    assert tab.text_content("#step-text") == "after 3 of 3: IoU 0.909 (+0.109)"
    painted = """() => {
      const c = document.querySelector('canvas.mask');
      const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      let n = 0;
      for (let i = 3; i < d.length; i += 4) n += d[i] > 0;
      return n;
    }"""
    assert tab.evaluate(painted) == 22 * 30
    tab.keyboard.press("ArrowLeft")
    assert tab.text_content("#step-text") == "after 2 of 3: IoU 0.800 (+0.274)"
    assert tab.evaluate(painted) == 25 * 30
    tab.focus("#step")
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("ArrowLeft")
    assert tab.text_content("#step-text") == "before the first step: IoU 0.000"
    assert tab.evaluate(painted) == 0
    assert tab.evaluate("location.hash") == "#target=t3&step=0"
    assert load("#target=t3&step=1").text_content("#step-text").startswith("after 1 of 3")


def test_a_step_back_is_a_step_and_its_click_goes(load: Load, tmp_path: Path) -> None:
    made = clicked(0, 5, 10)
    back = replace(made.steps[0], action=Undo(), gain=-made.steps[1].gain)
    run = write_run(tmp_path / "run", [replace(made, steps=(*made.steps, back))])
    with served(page_of(run, images=DrawnImages())) as address:
        tab = load("#target=t0", at=address)
        tab.wait_for_selector("#step")
        assert tab.text_content("#step-text").startswith("after 3 of 3")
        assert tab.locator("tbody tr").nth(2).locator("td").nth(1).text_content() == "undo"
        assert tab.locator("g.click").count() == 1
        tab.keyboard.press("ArrowLeft")
        assert tab.locator("g.click").count() == 2


def test_keys_switch_layers_and_go_on(load: Load) -> None:
    tab = load("#target=t0&sort=iou")
    tab.wait_for_selector("#step")
    tab.keyboard.press("t")
    assert tab.is_checked("[name=layer-truth]") is False
    assert "off" in tab.get_attribute("canvas.truth", "class")
    tab.keyboard.press("n")
    wait_until(tab, "location.hash.includes('target=t1')")
    tab.wait_for_selector("h2:has-text('object 1')")
    assert tab.is_checked("[name=layer-truth]") is False
    tab.keyboard.press("+")
    assert "scale(1.5)" in tab.get_attribute(".moved", "style")
    tab.keyboard.press("0")
    assert "scale(1)" in tab.get_attribute(".moved", "style")
    tab.keyboard.press("Escape")
    tab.wait_for_selector("#grid a", state="visible")
    assert tab.evaluate("location.hash") == "#sort=iou"


def test_the_wheel_zooms_and_dragging_moves(load: Load) -> None:
    tab = load("#target=t0")
    tab.wait_for_selector("#step")
    assert tab.evaluate("getComputedStyle(document.querySelector('.stage')).touchAction") == "pan-y"
    box = tab.locator(".stage").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.move(*middle)
    tab.mouse.wheel(0, -400)
    wait_until(tab, "document.querySelector('.moved').style.transform.includes('scale(2.7')")
    assert tab.evaluate("getComputedStyle(document.querySelector('.stage')).touchAction") == "none"
    left = "new DOMMatrix(document.querySelector('.moved').style.transform).e"
    before = tab.evaluate(left)
    tab.mouse.down()
    tab.mouse.move(middle[0] - 40, middle[1])
    tab.mouse.up()
    assert tab.evaluate(left) == pytest.approx(before - 40, abs=1)
    tab.mouse.move(middle[0] + 90, middle[1])
    assert tab.evaluate(left) == pytest.approx(before - 40, abs=1)


def test_the_training_row_is_shown(load: Load) -> None:
    tab = load("#target=t5")
    tab.wait_for_selector(".row-of-training img")
    messages = tab.locator(".row-of-training .message pre").all_text_contents()
    assert "Segment this object: object 5." in messages[0]
    assert messages[1].startswith("Positive point: (")
    wait_until(
        tab,
        "[...document.querySelectorAll('.row-of-training img')].every(i => i.naturalWidth === 40)",
    )


def test_a_missing_image_is_a_grey_field_with_the_reason(load: Load) -> None:
    tab = load("#q=t4")
    tab.wait_for_selector("#grid .missing:text-is('no image: 4.png does not exist')")


def test_two_runs_are_sorted_by_their_difference(
    load: Load, page: PageFiles, tmp_path: Path
) -> None:
    other = write_run(tmp_path / "other", [clicked(n, 14) for n in (5, 2, 0, 1)])
    with served(page_of(Path(page.run.out), other)) as address:
        tab = load(at=address)
        assert texts(tab) == [SCRIPT, "object 1", "object 5", "object 2", "object 3", "object 4"]
        differences = tab.locator("#grid .numbers b").all_text_contents()
        assert differences[:4] == ["−0.200", "−0.200", "+0.200", "+0.300"]
        curves = tab.get_attribute(".chart svg", "aria-label")
        # Over the four targets of both runs.
        assert curves == "IoU by click: run 0.00, 0.63, 0.72; other 0.00, 0.70"
        assert tab.locator(".line.series-1").count() == 1
        tab.select_option("[name=won]", "second")
        until(tab, "2 of 6 targets")
        tab.click("#grid a")
        tab.wait_for_selector(".stages.pair .stage")
        assert tab.locator(".stage").count() == 2
        text = "after 2 of 2: IoU 0.500 (+0.250) · after 1 of 1: IoU 0.700 (+0.700)"
        assert tab.text_content("#step-text") == text


def test_a_saved_page_works_from_disk(load: Load, page: PageFiles, tmp_path: Path) -> None:
    saved = replace(page, targets_per_file=4, with_rendered=False)
    save_page(saved, str(tmp_path / "page"), quiet=True)
    address = (tmp_path / "page" / "index.html").as_uri()
    tab = load(at=address)
    assert status(tab) == "6 of 6 targets"
    wait_until(tab, "document.querySelectorAll('#grid [data-drawn]').length === 6")
    tab.wait_for_selector("#grid .missing:text-is('no image: 4.png does not exist')")
    tab = load("#target=t5", at=address)
    tab.wait_for_selector(".row-of-training canvas")
    assert tab.text_content("#step-text") == "after 2 of 2: IoU 0.900 (+0.150)"


def test_a_saved_page_works_from_any_web_server(
    load: Load, page: PageFiles, tmp_path: Path
) -> None:
    save_page(replace(page, with_rendered=False), str(tmp_path / "page"), quiet=True)
    handler = partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            tab = load("#target=t5", at=f"http://127.0.0.1:{server.server_port}/page/")
            assert tab.text_content("#step-text") == "after 2 of 2: IoU 0.900 (+0.150)"
            tab.wait_for_selector(".row-of-training canvas")
        finally:
            server.shutdown()
            thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    """The standard library's server of a folder."""

    def log_message(self, format: str, *args: object) -> None: ...


def test_rows_of_a_training_set_are_shown(load: Load, tmp_path: Path) -> None:
    out = str(tmp_path / "sft")
    made = [clicked(0, 10, 20, text=SCRIPT), clicked(1, 15)]
    export_next_click(made, DrawnImages().of_target, out)
    storage = LocalStorage()
    with served(ExportFiles("sft", out, open_training_set(out, storage))) as address:
        tab = load(at=address)
        assert status(tab) == "3 of 3 rows"
        tab.fill("[name=q]", "t1")
        until(tab, "1 of 3 rows")
        tab.click("#grid a")
        tab.wait_for_selector(".row-of-training img")
        assert "Segment this object: object 1." in tab.text_content(".asks pre")
        tab = load("#target=0", at=address)
        tab.wait_for_selector(".asks pre")
        assert SCRIPT in tab.text_content(".asks pre")
        assert tab.evaluate("window.hacked") is None


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_the_window_and_has_labels(load: Load, width: int) -> None:
    for hash in ("", "#target=t3", "#show=rejects"):
        tab = load(hash, width=width)
        tab.wait_for_timeout(200)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        unnamed = tab.evaluate(
            """() => [...document.querySelectorAll('input, select, button, a, svg[role=img]')]
              .filter((e) => !e.labels?.length && !e.getAttribute('aria-label') &&
                !e.textContent.trim()).map((e) => e.outerHTML)"""
        )
        assert unnamed == []
    panel = load(width=width).locator("#filter-panel")
    assert (panel.get_attribute("open") is None) == (width == 390)


def test_focus_is_seen_and_goes_to_the_target(load: Load) -> None:
    tab = load()
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "skip"
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.closest('#grid li') !== null")
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.keyboard.press("Enter")
    wait_until(tab, "document.activeElement.id === 'target'")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_contrast(load: Load, scheme: str) -> None:
    tab = load()
    tab.emulate_media(color_scheme=scheme)
    ratios = tab.evaluate(
        """() => {
          const canvas = document.createElement('canvas').getContext('2d');
          const light = (name) => {
            canvas.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name);
            const part = (at) => {
              const v = parseInt(canvas.fillStyle.slice(at, at + 2), 16) / 255;
              return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
            };
            return 0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5);
          };
          return ['--ink', '--soft', '--accent', '--good', '--bad'].flatMap((ink) =>
            ['--ground', '--panel'].map((ground) => {
              const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
              return (a + 0.05) / (b + 0.05);
            }));
        }"""
    )
    assert len(ratios) == 10
    assert min(ratios) >= 4.5


@pytest.mark.slow
def test_twenty_thousand_targets(load: Load, tmp_path: Path) -> None:
    first = [clicked(n, 1 + n % 19) for n in range(20)]
    many = [
        replace(
            each,
            target=replace(
                each.target, ref=replace(each.target.ref, target_id=f"t{n}", image_path=f"{n}.png")
            ),
        )
        for n in range(20_000)
        for each in [first[n % 20]]
    ]
    with served(page_of(write_run(tmp_path, many))) as address:
        tab = load(at=address)
        assert status(tab) == "20,000 of 20,000 targets"
        tab.fill("[name=iou-from]", "0.9")
        until(tab, "2,000 of 20,000 targets")
        tab.fill("[name=iou-from]", "")
        tab.fill("[name=q]", "t19999")
        until(tab, "1 of 20,000 targets")
        tab.fill("[name=q]", "")
        until(tab, "20,000 of 20,000 targets")
        tab.click("#pager button:text-is('Last')")
        tab.wait_for_selector("#pager span:has-text('page 417 of 417')")
        assert tab.locator("#grid li").count() == 32
