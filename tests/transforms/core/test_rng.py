"""The same target gets the same numbers; anything else gets others."""

from __future__ import annotations

from hlmat.transforms.core.rng import target_rng


def draw(seed: int, target_id: str, *salt: str | int) -> int:
    return int(target_rng(seed, target_id, *salt).integers(1 << 62))


def test_the_same_key_gives_the_same_numbers() -> None:
    assert draw(3, "dis5k/Straße#1", "uniform", 2) == draw(3, "dis5k/Straße#1", "uniform", 2)


def test_every_part_of_the_key_matters() -> None:
    keys = [(0, "a"), (1, "a"), (0, "b"), (0, "a", 1), (0, "a", "1"), (0, "a", "x", 1)]
    assert len({draw(*key) for key in keys}) == len(keys)


def test_the_numbers_never_change() -> None:
    assert draw(0, "a") == 2076554170300320822
