"""Whole runs with a served segmenter: the same bytes as with the segmenter in the run's process."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import ManyDiscs
from hlmat.pipelines.run.trajectories import make_trajectories
from hlmat.pipelines.settings.run_options import RunConfig
from hlmat.pipelines.settings.runner_choice import RunnerChoice
from hlmat.transforms.core.errors import (
    AnswerError,
    ConfigError,
    IncompleteError,
    OutputError,
)
from hlmat.transforms.core.protocols import MaskPromptSegmenter, Request
from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.policies.registry import PolicyOptions
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.shapes.options import ShapesOptions
from hlmat.transforms.rollout.options import InitialAction, Limits
from hlmat.transforms.rollout.segmenter_batching import takes_boxes
from hlmat.transforms.segmenters.options import SegmenterOptions
from hlmat.transforms.segmenters.registry import load_segmenter
from hlmat.transforms.segmenters.remote.wire import TOKEN_VARIABLE, AskedTarget
from served_segmenters import DISC, own, serving

GRAPHCUT = SegmenterOptions("graphcut")
DISCS = SegmenterOptions(DISC, arguments={"radius": 5})


def config(out: Path, segmenter: SegmenterOptions, **changes: Any) -> RunConfig:
    made = RunConfig(
        dataset="shapes",
        reader=ReaderOptions(shapes=ShapesOptions(count=3, height=64, width=80)),
        segmenter=segmenter,
        policy=PolicyOptions("oracle", seed=0),
        limits=Limits(max_clicks=3),
        out=str(out),
        unit_size=4,
    )
    return replace(made, **changes)


def run(out: Path, segmenter: SegmenterOptions, **changes: Any) -> dict[str, bytes]:
    make_trajectories(config(out, segmenter, **changes), quiet=True)
    return content(out)


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def at(address: str) -> SegmenterOptions:
    return SegmenterOptions(address)


def saved_sam(folder: Path) -> SegmenterOptions:
    pytest.importorskip("torch")
    from tiny_sam_models import save, tiny_model

    return SegmenterOptions("hf", checkpoint=str(save(tiny_model("sam"), folder)))


@pytest.mark.parametrize("action", [InitialAction.NONE, InitialAction.BOX])
@pytest.mark.parametrize("segmenter", [GRAPHCUT, DISCS], ids=["graphcut", "own class"])
def test_a_run_has_the_same_bytes(
    segmenter: SegmenterOptions,
    action: InitialAction,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = run(tmp_path / "own", segmenter, initial_action=action)
    with serving(segmenter, monkeypatch) as server:
        served = run(tmp_path / "served", at(server.address), initial_action=action)
    assert served == expected
    assert "manifest.json" in served


@pytest.mark.slow
def test_a_run_with_a_network_has_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = saved_sam(tmp_path / "model")
    expected = run(tmp_path / "own", segmenter)
    with serving(segmenter, monkeypatch) as server:
        assert run(tmp_path / "served", at(server.address)) == expected
        assert run(tmp_path / "again", at(server.address)) == expected


@pytest.mark.slow
def test_rejects_have_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = replace(DISCS, name="failing_discs:SometimesFailing", arguments={})
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "failing_discs.py").write_text(FAILING)
    segmenter = replace(whole, search_path=(str(tmp_path / "code"),))
    expected = run(tmp_path / "own", segmenter)
    with serving(segmenter, monkeypatch) as server:
        served = run(tmp_path / "served", at(server.address))
    assert b"too far to the right" in b"".join(
        data for name, data in served.items() if name.startswith("rejects/")
    )
    assert served == expected


FAILING = """
from hlmat.transforms.segmenters.disc import DiscSegmenter

class SometimesFailing(DiscSegmenter):
    def predict(self, *, clicks, box=None, feedback=None):
        if clicks[-1].x > 40:
            raise ValueError(f"{clicks[-1].x} is too far to the right")
        if clicks[-1].y > 40:
            raise MemoryError("too far down")
        return super().predict(clicks=clicks, box=box, feedback=feedback)
"""


@pytest.mark.slow
def test_worker_processes_are_clients_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(tmp_path / "own", GRAPHCUT)
    with serving(GRAPHCUT, monkeypatch) as server:
        runner = RunnerChoice(workers=2)
        assert run(tmp_path / "served", at(server.address), runner=runner) == expected


@pytest.mark.slow
def test_clients_at_once_do_not_disturb_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = saved_sam(tmp_path / "model")
    expected = clicked(load_segmenter(segmenter), first=0)
    assert masks_of(expected) != masks_of(clicked(load_segmenter(segmenter), first=1))
    found: dict[int, Any] = {}
    with serving(segmenter, monkeypatch) as server:

        def ask(number: int) -> None:
            found[number] = clicked(load_segmenter(at(server.address)), first=number % 2)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [masks_of(found[n]) == masks_of(expected) for n in range(6)] == [True, False] * 3
    assert [p.score for p in found[0]] == [p.score for p in expected]


def clicked(segmenter: Any, *, first: int) -> list[Any]:
    """Three clicks on each of two images, as the loop makes them."""
    rng = np.random.default_rng(first)
    images = [rng.integers(0, 256, (24 + n, 40, 3), dtype=np.uint8) for n in range(2)]
    encoded = segmenter.encode_images(images)
    found: list[Any] = []
    feedback: list[Any] = [None, None]
    for step in range(1, 4):
        clicks = tuple(Click(5 * n, 4 * n, n % 2 == 0) for n in range(step))
        answers = segmenter.predict_many(
            [
                (e, Request(clicks, Box(1, 1, 30, 20), f))
                for e, f in zip(encoded, feedback, strict=True)
            ]
        )
        feedback = [answer.feedback for answer in answers]
        found += answers
    return found


def masks_of(predictions: list[Any]) -> list[bytes]:
    return [prediction.mask.tobytes() for prediction in predictions]


@pytest.mark.parametrize("takes", [True, False])
def test_a_client_knows_whether_the_segmenter_takes_boxes(
    takes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "hlmat.transforms.segmenters.disc.DiscSegmenter.takes_boxes", takes, raising=False
    )
    with serving(DISCS, monkeypatch) as server:
        assert takes_boxes(load_segmenter(at(server.address))) is takes


def test_a_run_may_go_on_without_the_server_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(tmp_path / "own", DISCS)
    with serving(DISCS, monkeypatch) as server:
        # The fingerprint is that of the segmenter: where it runs does not matter.
        assert run(tmp_path / "own", at(server.address)) == expected
    with (
        serving(replace(DISCS, arguments={"radius": 6}), monkeypatch) as server,
        pytest.raises(OutputError, match="radius"),
    ):
        run(tmp_path / "own", at(server.address))


class _Ends:
    """Stops a server when its segmenter has answered so many times."""

    def __init__(self, server: Any, after: int) -> None:
        ask = server.host._ask

        def counted(pairs: Any) -> Any:
            if server.host.calls >= after:
                raise SystemExit("the server is gone")
            return ask(pairs)

        server.host._ask = counted


@pytest.mark.slow
def test_a_run_goes_on_after_its_server_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hlmat.transforms.segmenters.remote.connection._WAITS_S", (0.01,))
    expected = run(tmp_path / "own", DISCS)
    out = tmp_path / "served"
    with serving(DISCS, monkeypatch) as server:
        _Ends(server, after=5)
        with pytest.raises(IncompleteError) as caught:
            run(out, at(server.address))
    message = str(caught.value)
    assert "run the same command again" in message
    assert f"segmenter server {server.address}: no answer in 2 tries; last error: status 500" in (
        message
    )
    # Nothing of an unfinished unit counts as a reject.
    assert not (out / "rejects").exists() or content(out / "rejects") == {}
    assert 0 < len(list((out / "units").glob("*.arrow"))) < 3
    with serving(DISCS, monkeypatch) as server:
        assert run(out, at(server.address)) == expected


def test_another_segmenter_at_the_same_place_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(DISCS, monkeypatch) as server:
        client: Any = load_segmenter(at(server.address))
        port = server.listening.getsockname()[1]
    image = np.zeros((9, 9, 3), np.uint8)
    other = replace(DISCS, arguments={"radius": 1})
    with serving(other, monkeypatch, port=port):
        client.set_image(image)
        with pytest.raises(AnswerError, match="it serves another segmenter than the run began"):
            client.predict(clicks=[Click(1, 1, True)])
        tied = replace(at(server.address), served=client.digest)
        with pytest.raises(AnswerError, match="serves another segmenter than the run began with"):
            load_segmenter(tied)


@pytest.mark.slow
def test_a_server_that_was_started_again_is_sent_everything_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = saved_sam(tmp_path / "model")
    expected = stepwise(load_segmenter(segmenter))
    with serving(segmenter, monkeypatch) as server:
        client = load_segmenter(at(server.address))
        port = server.listening.getsockname()[1]
        before = stepwise(client, steps=3)
    with serving(segmenter, monkeypatch, port=port):
        after = stepwise(client, begun=before, steps=5)
    assert masks_of(after) == masks_of(expected)
    assert [p.score for p in after] == [p.score for p in expected]


@pytest.mark.slow
def test_what_was_dropped_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = saved_sam(tmp_path / "model")
    expected = stepwise(load_segmenter(segmenter))
    with serving(segmenter, monkeypatch) as server:
        client = load_segmenter(at(server.address))
        found: list[Any] = []
        for steps in range(1, 6):
            found = stepwise(client, begun=found, steps=steps)
            server.host._images.__init__(10**8)
            server.host._feedback.__init__(10**8)
    assert masks_of(found) == masks_of(expected)


IMAGE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def stepwise(segmenter: Any, *, begun: list[Any] | None = None, steps: int = 5) -> list[Any]:
    """Click up to `steps` times on one image, going on from what was found before."""
    found = list(begun or [])
    segmenter.set_image(IMAGE)
    while len(found) < steps:
        clicks = [Click(4 + 7 * n, 3 + 5 * n, n != 1) for n in range(len(found) + 1)]
        feedback = found[-1].feedback if found else None
        found.append(segmenter.predict(clicks=clicks, feedback=feedback))
    return found


def test_a_given_mask_is_turned_into_feedback_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = saved_sam(tmp_path / "model")
    mask = np.zeros(IMAGE.shape[:2], np.bool_)
    mask[5:20, 8:30] = True

    def refined(tool: Any) -> Any:
        tool.set_image(IMAGE)
        return tool.predict(clicks=[Click(9, 9, True)], feedback=tool.feedback_of(mask))

    expected = refined(load_segmenter(segmenter))
    with serving(segmenter, monkeypatch) as server:
        client: Any = load_segmenter(at(server.address))
        assert isinstance(client, MaskPromptSegmenter)
        given = client.feedback_of(mask)
        server.host._feedback.__init__(10**8)
        client.set_image(IMAGE)
        found = client.predict(clicks=[Click(9, 9, True)], feedback=given)
    assert (found.mask.tobytes(), found.score) == (expected.mask.tobytes(), expected.score)
    with serving(DISCS, monkeypatch) as server:
        assert not isinstance(load_segmenter(at(server.address)), MaskPromptSegmenter)


def test_an_image_is_sent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    with serving(own("builders:ManyDiscs"), monkeypatch) as server:
        keep = server.host.keep_image
        monkeypatch.setattr(
            server.host, "keep_image", lambda image, key: sent.append(keep(image, key=key))
        )
        clients = [load_segmenter(at(server.address)) for _ in range(2)]
        for client in clients * 2:
            clicked(client, first=0)
        tool = server.host.segmenter
    assert len(sent) == 2
    assert isinstance(tool, ManyDiscs)
    assert len(tool.called("encode")) == 1
    assert tool.called("answer") == [[1, 1], [2, 2], [3, 3]] * 4


def test_waiting_clients_are_joined_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((30, 30, 3), np.uint8)
    sizes: Mapping[bool, list[list[int]]] = {False: [[1], [1], [1]], True: [[1, 1, 1]]}
    for joins, calls in sizes.items():
        with serving(own("builders:ManyDiscs"), monkeypatch, join_clients=joins) as server:
            key = server.host.keep_image(image)
            asked = [AskedTarget(image=key, clicks=[(9 * n, 9, True)]) for n in range(3)]
            held = threading.Event()
            server.host._line.put(held.wait)
            waiting = [server.host.predict([each]) for each in asked]
            held.set()
            answers = [future.result() for future in waiting]
            tool: Any = server.host.segmenter
            assert tool.called("answer") == calls
            assert load_segmenter(at(server.address)).identity().get("joined_clients") == (  # type: ignore[attr-defined]
                joins or None
            )
        assert [len(each) for each in answers] == [1, 1, 1]
        assert len({each[0].counts for each in answers}) == 3


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"device": "cpu"}, "--device cpu"),
        ({"checkpoint": "x.pth"}, "--checkpoint x.pth"),
        ({"arguments": {"radius": 3}}, "--segmenter-arg radius"),
    ],
)
def test_settings_of_the_segmenter_belong_to_the_server(
    settings: dict[str, Any], flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(DISCS, monkeypatch) as server:
        with pytest.raises(
            ConfigError, match=f"^{flag}: belongs to the server at {server.address}"
        ):
            load_segmenter(replace(at(server.address), **settings))
        load_segmenter(replace(at(server.address), checkpoint=""))


@pytest.mark.parametrize("token", ["another-token", ""])
def test_a_client_needs_the_token(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(DISCS, monkeypatch) as server:
        monkeypatch.setenv(TOKEN_VARIABLE, token)
        with pytest.raises(ConfigError) as caught:
            load_segmenter(at(server.address))
    what = "holds another token than the server's" if token else "is not set"
    assert str(caught.value) == (
        f"--segmenter {server.address}: {TOKEN_VARIABLE} {what}; export {TOKEN_VARIABLE} with the "
        "one that hlmat serve-segmenter printed"
    )
