"""Wrong clicks are on another object where there is one, and never on the object itself."""

import numpy as np
import pytest

from hlmat.transforms.core.records import Click
from hlmat.transforms.oracle.wrong_click import wrong_click


def square(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((8, 10), dtype=np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


TRUTH = square(0, 0, 4, 4)
OTHER = square(3, 3, 7, 7)


def drawn(**arguments) -> set[tuple[int, int]]:
    clicks = [
        wrong_click(TRUTH, rng=np.random.default_rng(seed), **arguments) for seed in range(200)
    ]
    assert all(click is not None and click.is_positive for click in clicks)
    return {(click.x, click.y) for click in clicks if click is not None}


def test_without_other_objects_it_is_anywhere_outside() -> None:
    places = drawn()
    assert all(x >= 4 or y >= 4 for x, y in places)
    assert len(places) > 40  # of 64 pixels outside


def test_it_is_on_another_object_but_not_where_that_overlaps() -> None:
    assert drawn(others=[TRUTH, OTHER]) == {
        (x, y) for x in range(3, 7) for y in range(3, 7) if (x, y) != (3, 3)
    }


def test_excluded_pixels_get_no_click() -> None:
    excluded = ~square(9, 7, 10, 8)
    assert drawn(excluded=excluded) == {(9, 7)}


@pytest.mark.parametrize("others", [[], [TRUTH]])
def test_there_is_none_where_the_object_fills_the_image(others: list[np.ndarray]) -> None:
    full = np.ones((2, 3), dtype=np.bool_)
    others = [full for _ in others]
    assert wrong_click(full, rng=np.random.default_rng(0), others=others) is None


def test_a_draw_depends_on_the_generator_alone() -> None:
    first, second = (wrong_click(TRUTH, rng=np.random.default_rng(3)) for _ in range(2))
    assert isinstance(first, Click)
    assert first == second
