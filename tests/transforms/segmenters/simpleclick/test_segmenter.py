"""SimpleClick's predictor: the authors' answers click by click, batches, feedback, bad input."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hlmat.transforms.core.errors import ConfigError, SegmenterError
from hlmat.transforms.core.protocols import (
    BatchSegmenter,
    ManyImagesSegmenter,
    MaskPromptSegmenter,
    Prediction,
    Request,
    Segmenter,
)
from hlmat.transforms.core.records import Box, Click, Rle
from hlmat.transforms.core.storage import MemoryStorage
from hlmat.transforms.masks.rle import decode_rle
from hlmat.transforms.oracle.click import oracle_click
from hlmat.transforms.segmenters.simpleclick.architecture import ARCHITECTURES
from hlmat.transforms.segmenters.simpleclick.segmenter import SimpleClick
from hlmat.transforms.segmenters.simpleclick.target import TargetState
from hlmat.transforms.segmenters.simpleclick.zoom import Crop
from simpleclick_models import (
    entry_of,
    golden_file,
    golden_json,
    golden_module,
    golden_network,
    random_network,
    saved,
)

torch = pytest.importorskip("torch")

CLICKS = (Click(30, 40, True), Click(100, 10, False), Click(60, 80, True))


class Spots(torch.nn.Module):
    """Answers with spots around the positive clicks, so that the crop moves; counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[tuple[Any, Any]] = []

    def forward(self, image: Any, points: Any) -> Any:
        self.inputs.append((image, points))
        rows, columns = torch.meshgrid(torch.arange(448), torch.arange(448), indexing="ij")
        found = []
        for of_image in points:
            positive = of_image[: len(of_image) // 2]
            distance = torch.full((448, 448), 1e3, dtype=torch.float64)
            for y, x, _ in positive[positive.amax(dim=1) >= 0].tolist():
                distance = torch.minimum(distance, ((rows - y) ** 2 + (columns - x) ** 2).sqrt())
            found.append(3 - distance / 12)
        colour = image[:, :3].mean(dim=1) - 0.5
        return (torch.stack(found).to(torch.float32) + colour + image[:, 3])[:, None]


@pytest.fixture(scope="module")
def network() -> Any:
    return random_network()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


@pytest.fixture
def segmenter(network: Any, image: np.ndarray) -> SimpleClick:
    tool = SimpleClick.from_network(network)
    tool.set_image(image)
    return tool


def follow(tool: SimpleClick, clicks: Sequence[Click]) -> list[Prediction]:
    """Ask after each click, as a rollout does."""
    predictions: list[Prediction] = []
    for count in range(1, len(clicks) + 1):
        feedback = predictions[-1].feedback if predictions else None
        predictions.append(tool.predict(clicks=clicks[:count], feedback=feedback))
    return predictions


def assert_alike(ours: Prediction, theirs: Prediction, *, atol: float = 1e-5) -> None:
    assert ours.feedback.crop == theirs.feedback.crop
    np.testing.assert_allclose(
        ours.feedback.probabilities, theirs.feedback.probabilities, rtol=0, atol=atol
    )
    assert np.count_nonzero(ours.mask != theirs.mask) <= 20


class Golden:
    """A recorded conversation with the authors' predictor."""

    def __init__(self, name: str) -> None:
        record = golden_json(f"{name}.json")
        self.steps = record["steps"]
        self.arrays = np.load(golden_file(f"{name}.npz"))
        with Image.open(golden_file(record["image"])) as other_image:
            self.image = np.asarray(other_image.convert("RGB"))
        assert hashlib.sha256(self.image.tobytes()).hexdigest() == record["image_sha256_rgb_cv2"]
        self.truth = self.mask(record["gt"])
        self.clicks = tuple(Click(s["x"], s["y"], s["positive"]) for s in self.steps)

    @staticmethod
    def mask(coco: Any) -> np.ndarray:
        return decode_rle(Rle(coco["counts"], tuple(coco["size"])))

    def check(self, tool: SimpleClick, *, atol: float, pixels: int) -> None:
        """Follow the recorded clicks and compare everything that was recorded."""
        inputs: list[tuple[Any, Any]] = []
        tool.networks[0].register_forward_hook(lambda _m, given, _o: inputs.append(given))
        tool.set_image(self.image)
        predictions = follow(tool, self.clicks)
        for k, (prediction, step) in enumerate(zip(predictions, self.steps, strict=True)):
            shown, points = inputs[k]
            assert points.dtype == torch.float64
            assert np.array_equal(points.numpy(), self.arrays[f"points_{k}"])
            assert list(shown.shape) == step["net_input_shape"]
            total = shown.sum(dtype=torch.float64).item()
            assert total == pytest.approx(step["net_input_sum_float64"], abs=0.2)
            assert list(prediction.feedback.crop) == step["roi"]
            found = prediction.feedback.probabilities
            assert found.dtype == np.float32
            for golden, seen, extra in (
                (self.arrays[f"prob32_{k}"], found[::8, ::8], 0),
                (self.arrays[f"prob_{k}"], found[::4, ::4], 2.5e-4),
            ):
                np.testing.assert_allclose(seen, golden, rtol=0, atol=atol + extra)
            assert found.mean(dtype=np.float64) == pytest.approx(step["prob_mean"], abs=1e-5)
            assert np.count_nonzero(prediction.mask != self.mask(step["mask"])) <= pixels


def test_a_moving_crop_follows_the_authors_click_by_click():
    golden = Golden("zoomtoy_cat")
    crops = {tuple(step["roi"]) for step in golden.steps}
    assert len(crops) > 1
    toy = golden_module("toy_net").ToyNet()
    golden.check(SimpleClick.from_network(toy), atol=1e-5, pixels=2)


@pytest.mark.slow
def test_vit_b_answers_as_the_authors_click_by_click():
    tool = SimpleClick.from_network(golden_network())
    Golden("trace_cat").check(tool, atol=5e-5, pixels=20)


def test_the_oracle_clicks_where_the_authors_clicker_does():
    golden = Golden("zoomtoy_cat")
    tool = SimpleClick.from_network(golden_module("toy_net").ToyNet())
    tool.set_image(golden.image)
    clicks: tuple[Click, ...] = ()
    mask, feedback = np.zeros_like(golden.truth), None
    for _ in golden.steps:
        click = oracle_click(mask, golden.truth, clicked=clicks)
        assert click is not None
        clicks = (*clicks, click)
        prediction = tool.predict(clicks=clicks, feedback=feedback)
        mask, feedback = prediction.mask, prediction.feedback
    assert clicks == golden.clicks


def test_it_fits_the_protocols(segmenter: SimpleClick):
    assert isinstance(segmenter, Segmenter)
    assert isinstance(segmenter, BatchSegmenter)
    assert isinstance(segmenter, ManyImagesSegmenter)
    assert not segmenter.leaves_cpu_free


def test_an_answer_is_mask_probabilities_and_crop(segmenter: SimpleClick):
    prediction = segmenter.predict(clicks=CLICKS[:1])
    state = prediction.feedback
    assert prediction.score is None
    assert state.crop == (0, 89, 0, 119)
    assert state.probabilities.shape == prediction.mask.shape == (90, 120)
    assert 0 < prediction.mask.mean() < 1
    assert np.array_equal(prediction.mask, state.probabilities > 0.49)
    assert not np.array_equal(prediction.mask, state.probabilities > 0.5)
    with pytest.raises(ValueError, match="read-only"):
        state.probabilities[0, 0] = 1


def test_both_halves_of_a_batch_are_averaged_before_the_sigmoid(
    segmenter: SimpleClick, network: Any, image: np.ndarray
):
    planes = torch.tensor(image.transpose(2, 0, 1).copy())[None].float() / 255
    shown = torch.nn.functional.interpolate(
        torch.cat([planes, torch.zeros(1, 1, 90, 120)], dim=1),
        (448, 448),
        mode="bilinear",
        align_corners=True,
    )
    y, x = 448 * 40 / 90, 448 * 30 / 120
    unused = (-1.0, -1.0, -1.0)
    with torch.inference_mode():
        straight, turned = (
            network(other_image, torch.tensor([[point, unused]], dtype=torch.float64))
            for other_image, point in ((shown, (y, x, 0.0)), (shown.flip(3), (y, 447 - x, 0.0)))
        )
        expected = torch.nn.functional.interpolate(
            (0.5 * (straight + turned.flip(3))).sigmoid(),
            (90, 120),
            mode="bilinear",
            align_corners=True,
        )
    found = segmenter.predict(clicks=CLICKS[:1]).feedback.probabilities
    np.testing.assert_allclose(found, expected[0, 0].numpy(), rtol=0, atol=1e-5)


@settings(max_examples=10)
@given(
    st.lists(
        st.tuples(st.integers(0, 447), st.integers(0, 59), st.booleans()), min_size=1, max_size=3
    )
)
def test_a_mirrored_image_gets_the_mirrored_answer(clicks: list[tuple[int, int, bool]]):
    # At the network's own width the mirror image's clicks fall on the mirrored pixels.
    tool = SimpleClick.from_network(random_network())
    image = np.random.default_rng(1).integers(0, 256, (60, 448, 3), dtype=np.uint8)
    tool.set_image(image)
    straight = tool.predict(clicks=[Click(x, y, p) for x, y, p in clicks])
    tool.set_image(image[:, ::-1])
    mirrored = tool.predict(clicks=[Click(447 - x, y, p) for x, y, p in clicks])
    found = mirrored.feedback.probabilities[:, ::-1]
    np.testing.assert_allclose(found, straight.feedback.probabilities, rtol=0, atol=1e-5)


def test_each_step_depends_on_the_feedback(segmenter: SimpleClick):
    with_memory = follow(segmenter, CLICKS)[-1].feedback.probabilities
    without = segmenter.predict(clicks=CLICKS).feedback.probabilities
    assert np.abs(with_memory - without).max() > 0.01


def test_several_clicks_on_a_new_target_are_one_prediction(image: np.ndarray):
    spots = Spots()
    tool = SimpleClick.from_network(spots)
    tool.set_image(image)
    prediction = tool.predict(clicks=CLICKS)
    ((shown, points),) = spots.inputs
    assert not shown[:, 3].any()
    assert points[0, :, 2].tolist() == [0, 2, 1, -1]
    assert prediction.feedback.crop == (0, 89, 0, 119)


def test_one_instance_serves_many_targets_and_images(network: Any, image: np.ndarray):
    tool = SimpleClick.from_network(network)
    other = np.ascontiguousarray(image[:50, ::-1])
    alone = {}
    for name, other_image in (("a", image), ("b", other)):
        tool.set_image(other_image)
        alone[name] = follow(tool, CLICKS[:1])[0]
    tool.set_image(image)
    second = tool.predict(clicks=CLICKS[:2], feedback=alone["a"].feedback)
    fresh = SimpleClick.from_network(network)
    fresh.set_image(image)
    assert np.array_equal(second.mask, follow(fresh, CLICKS[:2])[1].mask)
    assert np.array_equal(tool.predict(clicks=CLICKS[:1]).mask, alone["a"].mask)


def test_feedback_travels_between_processes(segmenter: SimpleClick):
    first = segmenter.predict(clicks=CLICKS[:1])
    travelled = pickle.loads(pickle.dumps(first.feedback))
    there = segmenter.predict(clicks=CLICKS[:2], feedback=travelled)
    here = segmenter.predict(clicks=CLICKS[:2], feedback=first.feedback)
    assert np.array_equal(there.feedback.probabilities, here.feedback.probabilities)


TARGETS = (
    (Click(30, 40, True), Click(100, 10, False), Click(60, 80, True)),
    (Click(500, 300, True), Click(450, 250, True), Click(10, 10, True)),
    (Click(300, 200, False), Click(20, 330, True), Click(590, 390, False)),
)


def assert_batches_equal_singles(tool: SimpleClick, image: np.ndarray) -> list[Prediction]:
    tool.set_image(image)
    alone = [follow(tool, clicks) for clicks in TARGETS]
    feedbacks: list[Any] = [None] * len(TARGETS)
    together: list[Prediction] = []
    for step in range(3):
        requests = [
            Request(clicks[: step + 1], feedback=feedback)
            for clicks, feedback in zip(TARGETS, feedbacks, strict=True)
        ]
        together = tool.predict_batch(requests)
        feedbacks = [prediction.feedback for prediction in together]
        for answer, singles in zip(together, alone, strict=True):
            assert_alike(answer, singles[step])
    return together


@pytest.fixture(scope="module")
def large_image() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (400, 600, 3), dtype=np.uint8)


def test_a_batch_answers_each_target_as_alone_in_one_call(large_image: np.ndarray):
    spots = Spots()
    answers = assert_batches_equal_singles(SimpleClick.from_network(spots), large_image)
    assert len({a.feedback.crop for a in answers}) == 3
    assert [len(points) for _, points in spots.inputs] == [2] * 9 + [6] * 3
    spots.inputs.clear()
    tool = SimpleClick.from_network(spots, max_targets=2)
    tool.set_image(large_image)
    tool.predict_batch([Request(clicks[:1]) for clicks in TARGETS])
    assert [len(points) for _, points in spots.inputs] == [4, 2]
    assert tool.predict_batch([]) == []


@pytest.mark.slow
def test_an_official_size_works_from_file_to_mask(large_image: np.ndarray):
    data = saved(entry_of(random_network(ARCHITECTURES["vit_xtiny"])))
    tool = SimpleClick("x.pth", device="cpu", storage=MemoryStorage({"x.pth": data}))
    answers = assert_batches_equal_singles(tool, large_image)
    assert all(0 < answer.mask.mean() < 1 for answer in answers)
    assert tool.identity() == {
        "model_size": "vit_xtiny",
        "weights_sha256": hashlib.sha256(data).hexdigest(),
    }


def test_targets_of_several_images_are_answered_in_one_call(
    image: np.ndarray, large_image: np.ndarray
):
    spots = Spots()
    tool = SimpleClick.from_network(spots)
    encoded = tool.encode_images([image, large_image])
    pairs = [(encoded[0], Request(CLICKS[:1])), (encoded[1], Request(TARGETS[1][:1]))]
    together = tool.predict_many(pairs)
    assert len(spots.inputs) == 1
    for other_image, answer, (_, request) in zip(
        (image, large_image), together, pairs, strict=True
    ):
        tool.set_image(other_image)
        assert_alike(answer, tool.predict(clicks=request.clicks))


def test_a_checkpoint_may_hold_a_network_for_each_click(image: np.ndarray):
    first, later = random_network(seed=1), random_network(seed=2)
    storage = MemoryStorage({"x.pth": saved([entry_of(first), entry_of(later)])})
    tool = SimpleClick("x.pth", device="cpu", storage=storage)
    tool.set_image(image)
    start, second, third = follow(tool, CLICKS)
    for network, request, expected in (
        (first, Request(CLICKS[:1]), start),
        (later, Request(CLICKS[:2], feedback=start.feedback), second),
        (later, Request(CLICKS[:3], feedback=second.feedback), third),
    ):
        alone = SimpleClick.from_network(network)
        alone.set_image(image)
        assert_alike(alone.predict_batch([request])[0], expected)


def test_the_weights_identify_a_network(network: Any):
    identity = SimpleClick.from_network(network).identity()
    assert identity["model_size"] == "custom"
    assert identity == SimpleClick.from_network(random_network()).identity()
    assert identity != SimpleClick.from_network(random_network(seed=9)).identity()


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 7), (300, 1), (2, 900)])
def test_thin_images_work(network: Any, size_hw: tuple[int, int]):
    for tool in (SimpleClick.from_network(network), SimpleClick.from_network(Spots())):
        tool.set_image(np.full((*size_hw, 3), 200, np.uint8))
        last = Click(size_hw[1] - 1, size_hw[0] - 1, True)
        for prediction in follow(tool, [Click(0, 0, True), last, last]):
            assert prediction.mask.shape == size_hw
            assert np.isfinite(prediction.feedback.probabilities).all()


def test_the_image_may_be_any_view_and_is_not_kept(segmenter: SimpleClick, image: np.ndarray):
    expected = segmenter.predict(clicks=CLICKS[:1]).mask
    backwards = np.ascontiguousarray(image[::-1, ::-1])
    segmenter.set_image(backwards[::-1, ::-1])
    backwards[:] = 0
    assert np.array_equal(segmenter.predict(clicks=CLICKS[:1]).mask, expected)


@pytest.mark.parametrize(
    ("other", "seen"),
    [
        (np.zeros((4, 5, 3), np.float32), r"float32 \(4, 5, 3\)"),
        (np.zeros((4, 5), np.uint8), r"uint8 \(4, 5\)"),
        (np.zeros((4, 5, 4), np.uint8), r"uint8 \(4, 5, 4\)"),
        (np.zeros((4, 5, 1), np.uint8), r"uint8 \(4, 5, 1\)"),
        (np.zeros((0, 5, 3), np.uint8), r"shape \(0, 5, 3\)"),
        ([[1]], "a list"),
    ],
)
def test_other_images_are_refused(segmenter: SimpleClick, other: Any, seen: str):
    with pytest.raises(SegmenterError, match=f"SimpleClick needs an image.*got.*{seen}"):
        segmenter.set_image(other)


def test_boxes_are_refused(segmenter: SimpleClick):
    with pytest.raises(ValueError, match=r"SimpleClick is prompted with clicks alone.*Box\("):
        segmenter.predict(clicks=CLICKS, box=Box(1, 2, 30, 40))


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (Request(()), "SimpleClick needs at least one click"),
        (Request((Click(120, 5, True),)), r"Click\(x=120, .* outside the image of 120 x 90"),
        (Request((Click(5, 90, False),)), r"Click\(x=5, y=90, .* lies outside"),
        (Request((Click(-1, 5, True),)), r"Click\(x=-1, .* lies outside"),
        (Request(CLICKS, feedback=np.zeros((1, 256, 256))), "feedback of type ndarray"),
        (
            Request(CLICKS, feedback=TargetState(np.zeros((9, 9), np.float32), Crop(0, 8, 0, 8))),
            r"of an image of shape \(9, 9\), the current one has \(90, 120\)",
        ),
    ],
)
def test_requests_that_make_no_sense_are_refused(
    segmenter: SimpleClick, request_: Request, reason: str
):
    with pytest.raises(SegmenterError, match=reason):
        segmenter.predict_batch([Request(CLICKS), request_])


def test_an_image_comes_first(network: Any):
    with pytest.raises(SegmenterError, match="call set_image before predict"):
        SimpleClick.from_network(network).predict(clicks=CLICKS)


def test_a_network_of_another_size_is_reported(image: np.ndarray):
    class Small(torch.nn.Module):
        def forward(self, image: Any, points: Any) -> Any:
            return image[:, :1, ::4, ::4]

    tool = SimpleClick.from_network(Small())
    tool.set_image(image)
    with pytest.raises(SegmenterError, match=r"\(2, 1, 448, 448\), got \(2, 1, 112, 112\)"):
        tool.predict(clicks=CLICKS)


@pytest.mark.parametrize("checkpoint", [None, "", "nowhere/cocolvis_vit_large.pth"])
def test_a_missing_checkpoint_is_reported_with_the_official_files(checkpoint: str | None):
    with pytest.raises(ConfigError, match=r"uncbiag/SimpleClick") as caught:
        SimpleClick(checkpoint)
    assert "--checkpoint" in str(caught.value)


def test_a_file_that_is_no_checkpoint_is_named():
    storage = MemoryStorage({"x.pth": b"no checkpoint"})
    with pytest.raises(ConfigError, match=r"^x\.pth cannot be read as a checkpoint"):
        SimpleClick("x.pth", device="cpu", storage=storage)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_reported(network: Any):
    storage = MemoryStorage({"x.pth": saved(entry_of(network))})
    with pytest.raises(ConfigError, match=r"'cuda' was asked for.*no CUDA device; use cpu"):
        SimpleClick("x.pth", device="cuda", storage=storage)
    for device in ("gpu9", "meta", "mps"):
        with pytest.raises(ConfigError, match=f"'{device}' is not a device; use"):
            SimpleClick.from_network(network, device=device)


def test_a_limit_below_one_target_is_reported(network: Any):
    with pytest.raises(ConfigError, match="max_targets is 0; expected 1 or more"):
        SimpleClick.from_network(network, max_targets=0)


def test_a_missing_torch_is_reported_with_its_installation(monkeypatch: pytest.MonkeyPatch):
    for module in ("simpleclick.checkpoint", "simpleclick.network"):
        monkeypatch.delitem(sys.modules, f"hlmat.transforms.segmenters.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match=r"'simpleclick' needs the package 'torch'.*pip install"):
        SimpleClick("x.pth", storage=MemoryStorage({"x.pth": b""}))


def test_the_module_is_importable_without_torch():
    module = "hlmat.transforms.segmenters.simpleclick.segmenter"
    code = f"import sys; sys.modules['torch'] = None; import {module}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_given_mask_is_the_previous_answer(image: np.ndarray):
    network = Spots()
    tool = SimpleClick.from_network(network)
    assert isinstance(tool, MaskPromptSegmenter)
    tool.set_image(image)
    given_mask = np.zeros((90, 120), dtype=np.bool_)
    given_mask[20:70, 30:60] = True
    state = tool.feedback_of(given_mask)
    answer = tool.predict(clicks=(Click(100, 45, True),), feedback=state)
    previous = network.inputs[0][0][0, 3]
    rows, columns = state.crop.slices
    shown = given_mask[rows, columns]
    assert previous.mean() == pytest.approx(shown.mean(), abs=0.01)
    # The fake adds the previous mask to a spot around the click, of a radius of some pixels.
    assert answer.mask[45, 100]
    far = given_mask.copy()
    far[:, 50:] = False
    assert tool.feedback_of(far).crop == state.crop  # small objects share the least crop


def test_a_click_on_the_missing_part_keeps_the_given_mask(image: np.ndarray):
    class Keeping(Spots):
        """Sure of the previous mask, and of a spot around each positive click."""

        def forward(self, image: Any, points: Any) -> Any:
            spots = super().forward(torch.zeros_like(image), points)
            return torch.maximum(spots, 8 * image[:, 3:] - 4)

    tool = SimpleClick.from_network(Keeping())
    tool.set_image(image)
    given_mask = np.zeros((90, 120), dtype=np.bool_)
    given_mask[20:70, 30:60] = True
    feedback = tool.feedback_of(given_mask)
    mask = tool.predict(clicks=(Click(80, 45, True),), feedback=feedback).mask
    assert mask[45, 80]
    assert (mask & given_mask).sum() > 0.97 * given_mask.sum()
