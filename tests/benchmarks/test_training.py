"""The benchmark of training: operations are counted, and both ways compute the same losses."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from benchmarks.training.arithmetic import CountedProducts, least_seconds  # noqa: E402
from benchmarks.training.base_steps import draw_scenes, greatest_difference  # noqa: E402


def test_products_and_their_derivatives_are_counted_by_precision() -> None:
    a, b = torch.randn(3, 5), torch.randn(5, 7, requires_grad=True)
    with CountedProducts() as counted:
        (a @ b).sum().backward()
    # The product, and the derivative of b: (5, 3) by (3, 7).
    assert dict(counted.flops) == {torch.float32: 2 * 2 * 3 * 5 * 7}
    with counted, torch.no_grad():
        _ = a.bfloat16() @ b.bfloat16() + 1
    assert counted.flops[torch.bfloat16] == 2 * 3 * 5 * 7


def test_the_least_time_takes_each_precision_at_its_own_rate() -> None:
    flops = {torch.float32: 300.0, torch.bfloat16: 800.0}
    assert least_seconds(flops, {torch.float32: 100.0, torch.bfloat16: 400.0}) == 5.0


@pytest.mark.slow
def test_the_plain_way_has_the_losses_of_the_real_step() -> None:
    assert greatest_difference(draw_scenes(6)) < 1e-5
