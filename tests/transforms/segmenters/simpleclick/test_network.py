"""SimpleClick's network: the official layout, the authors' numbers, and its parts."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.segmenters.simpleclick.architecture import ARCHITECTURES
from simpleclick_models import (
    SMALL,
    golden_file,
    golden_json,
    golden_network,
    random_network,
)

torch = pytest.importorskip("torch")

from hlmat.transforms.segmenters.simpleclick.network import (  # noqa: E402
    SimpleClickNetwork,
    _join_windows,
    _split_windows,
    click_disks,
)

TAPS = {
    "patch_embed": "backbone.patch_embed",
    "patch_embed_coords": "patch_embed_coords",
    **{f"block_{i}": f"backbone.blocks.{i}" for i in range(12)},
    **{f"neck_down_{s}": f"neck.down_{s}" for s in (4, 8, 16, 32)},
    **{f"head_conv_{i}": f"head.convs.{i}" for i in range(4)},
    "head_fusion": "head.fusion_conv",
    "head_logits": "head",
}


def on_meta(name: str) -> Any:
    with torch.device("meta"):
        return SimpleClickNetwork(ARCHITECTURES[name])


def test_names_and_shapes_are_the_official_ones():
    official = golden_json("names_shapes.json")
    state = on_meta("vit_base").state_dict()
    assert {name: list(t.shape) for name, t in state.items()} == {
        name: entry["shape"] for name, entry in official.items()
    }


@pytest.mark.parametrize("size", ["xtiny", "base", "large", "huge"])
def test_every_size_has_the_official_number_of_parameters(size: str):
    facts = golden_json("config.json")
    network = on_meta(f"vit_{size}")
    assert len(network.state_dict()) == facts["tensors"][f"{size}448"]
    assert sum(p.numel() for p in network.parameters()) == facts["parameters"][f"{size}448"]


@pytest.mark.slow
def test_vit_b_gives_the_authors_numbers_at_every_stage():
    network = golden_network()
    rng = np.random.RandomState(20240)
    coarse, fine = rng.random_sample((3, 14, 14)), rng.random_sample((3, 448, 448))
    normalised = 0.75 * coarse.repeat(32, 1).repeat(32, 2) + 0.25 * fine
    image = np.concatenate([normalised, np.zeros((1, 448, 448))]).astype(np.float32)
    golden = np.load(golden_file("direct_a.npz"))
    outputs: dict[str, Any] = {}
    for name, path in TAPS.items():
        network.get_submodule(path).register_forward_hook(
            lambda _module, _inputs, output, name=name: outputs.update({name: output.numpy()})
        )
    with torch.inference_mode():
        logits = network(torch.tensor(image)[None], torch.tensor(golden["a_points"])).numpy()
    np.testing.assert_allclose(logits[:, :, ::8, ::8], golden["a_logits"], rtol=0, atol=1e-4)
    summary = json.loads(golden_file("direct_a.json").read_text())["a"]["logits"]
    assert logits.mean(dtype=np.float64) == pytest.approx(summary["mean"], abs=1e-5)
    for name in TAPS:
        found = outputs[name]
        if name == "head_logits":
            seen, key, tolerance = found[:, :, ::2, ::2], "a_head_logits", 1e-4
        elif found.ndim == 3:
            seen, key, tolerance = found[:, ::37, ::97], f"a_tap_{name}", 5e-5
        else:
            channels, side = max(1, found.shape[1] // 8), max(1, found.shape[2] // 7)
            seen = found[:, ::channels, ::side, ::side]
            key, tolerance = f"a_tap_{name}", 5e-5
        np.testing.assert_allclose(seen, golden[key], rtol=0, atol=tolerance, err_msg=name)


def test_disk_pixels_are_the_authors():
    points = torch.tensor(np.load(golden_file("direct_a.npz"))["a_points"])
    disks = click_disks(points, side=448)
    assert disks.sum(dim=(0, 2, 3)).tolist() == golden_json("direct_a.json")["a"]["disk_pixels"]


def test_layer_norms_are_the_authors():
    # Hidden from the golden values: 1e-5 instead of 1e-6 changes them by 1e-5.
    norms = [m for m in random_network().modules() if isinstance(m, torch.nn.LayerNorm)]
    assert len(norms) == 2 * SMALL.depth + 1
    assert {m.eps for m in norms} == {1e-6}


@st.composite
def point_tensors(draw: st.DrawFn) -> Any:
    """Points of two images, n rows of each sign, some unused, some outside."""
    count = draw(st.integers(1, 3))
    coordinate = st.floats(-20, 60, width=64)
    row = st.one_of(st.just((-1.0, -1.0, -1.0)), st.tuples(coordinate, coordinate, st.just(0.0)))
    rows = st.lists(row, min_size=2 * count, max_size=2 * count)
    return torch.tensor([draw(rows), draw(rows)], dtype=torch.float64)


@given(point_tensors())
def test_a_disk_is_what_lies_within_five_pixels(points: Any):
    disks = click_disks(points, side=40).numpy()
    rows, columns = np.mgrid[:40, :40]
    for image, of_image in zip(disks, points.numpy(), strict=True):
        for drawn, of_sign in zip(image, np.split(of_image, 2), strict=True):
            nearest = np.full((40, 40), np.inf)
            for y, x, _ in of_sign:
                if max(y, x) >= 0:
                    nearest = np.minimum(nearest, (rows - y) ** 2 + (columns - x) ** 2)
            clear = np.abs(nearest - 25) > 1e-4
            assert np.array_equal(drawn[clear], (nearest <= 25)[clear])


@pytest.mark.parametrize(
    ("point", "is_drawn"),
    [
        ((-3.0, -3.0), False),  # above and left: taken for an unused row, although it would reach
        ((-3.0, 0.0), True),  # above only
        ((0.0, -3.0), True),  # left only
        ((-7.0, 2.0), False),  # too far above
    ],
)
def test_a_click_above_and_left_of_the_crop_is_no_click(point: tuple[float, float], is_drawn: bool):
    rows = [(-1.0, -1.0, -1.0), (*point, 0.0)]
    disks = click_disks(torch.tensor([rows], dtype=torch.float64), side=20)
    assert bool(disks[0, 1].any()) is is_drawn
    assert not disks[0, 0].any()


def test_the_points_precision_decides_at_the_rim():
    def drawn(y: float, dtype: Any) -> float:
        rows = [(y, 10.0, 0.0), (-1.0, -1.0, -1.0)]
        return float(click_disks(torch.tensor([rows], dtype=dtype), side=448)[0, 0, 430, 10])

    assert drawn(425.0, torch.float64) == 1
    assert drawn(425.0 - 1e-6, torch.float64) == 0
    assert drawn(425.0 - 1e-6, torch.float32) == 1
    # As in the reference, a difference is rounded to float32 before it is squared.
    assert drawn(425.0 - 1e-8, torch.float64) == 1


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3))
def test_windows_are_joined_as_they_were_split(batch: int, window: int, count: int):
    grid = window * count
    tokens = torch.arange(batch * grid * grid * 2).reshape(batch, grid * grid, 2)
    windows = _split_windows(tokens, grid=grid, window=window)
    assert windows.shape == (batch * count * count, window * window, 2)
    image = tokens[0].reshape(grid, grid, 2)
    assert torch.equal(windows[0], image[:window, :window].reshape(-1, 2))
    assert torch.equal(windows[count - 1], image[:window, -window:].reshape(-1, 2))
    assert torch.equal(_join_windows(windows, grid=grid, window=window), tokens)


def test_joining_the_maps_equals_the_plain_convolution():
    head = random_network().head
    generator = torch.Generator().manual_seed(0)
    head.fusion_conv.conv.bias.normal_(generator=generator)
    maps = [torch.randn((2, 8, side, side), generator=generator) for side in (16, 8, 4, 2)]
    resized = [
        torch.nn.functional.interpolate(m, (16, 16), mode="bilinear", align_corners=False)
        for m in maps
    ]
    expected = torch.relu(head.fusion_conv.conv(torch.cat(resized, dim=1)))
    torch.testing.assert_close(head.fusion_conv(maps), expected, rtol=0, atol=1e-5)


def test_unused_tensors_do_not_matter_and_the_others_do():
    image = torch.rand((1, 4, 448, 448), generator=torch.Generator().manual_seed(0))
    points = torch.tensor([[[100.0, 120.0, 0], [-1, -1, -1]]], dtype=torch.float64)
    network = random_network()
    expected = network(image, points)
    for name, tensor in network.state_dict().items():
        if any(part in name for part in ("cls_token", "fc_norm", "backbone.head.", "up_conv")):
            tensor.fill_(float("nan"))
    assert torch.equal(network(image, points), expected)
    unmoved = [
        name
        for name, tensor in network.state_dict().items()
        if not tensor.isnan().any() and _is_unmoved(network, tensor, image, points, expected)
    ]
    assert unmoved == []


def _is_unmoved(network: Any, tensor: Any, image: Any, points: Any, expected: Any) -> bool:
    # A constant added to all keys changes no attention, so a whole tensor is scrambled.
    before = tensor.clone()
    tensor.add_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)))
    is_unmoved = torch.equal(network(image, points), expected)
    tensor.copy_(before)
    return is_unmoved


@pytest.mark.parametrize("shape", [(1, 4, 448, 224), (1, 3, 448, 448), (2, 4, 672, 672)])
def test_another_input_size_is_refused(shape: tuple[int, ...]):
    points = torch.full((shape[0], 2, 3), -1.0)
    with pytest.raises(ValueError, match=r"takes images of shape \(B, 4, 448, 448\), got"):
        random_network()(torch.zeros(shape), points)
