"""The data card: complete, the same every time, and nothing in it becomes markup."""

from __future__ import annotations

from hlmat.export.runs.data_card import render_data_card

CONFIG = {
    "dataset": "hres",
    "split": "train",
    "segmenter": {"name": "sam", "weights_sha256": "ab" * 32},
    "policy": "oracle",
    "initial_action": "none",
    "max_clicks": 5,
    "target_iou": 0.98,
    "stop_on_no_gain": True,
    "seed": 0,
    "limit": None,
}
COUNTS = {"targets": 10, "trajectories": 9, "rejects": 1}


def test_the_card_names_counts_weights_settings_and_terms():
    licenses = {"thinobject5k": "CC BY-NC 4.0", "dis5k": "non-commercial"}
    card = render_data_card(config=CONFIG, counts=COUNTS, licenses=licenses)
    assert card.startswith("# Click trajectories on hres (train)\n")
    assert "| trajectories | 9 of 10 targets |" in card
    assert f"| weights (sha256) | {'ab' * 32} |" in card
    assert "| ends at IoU | 0.98 |" in card
    assert "only the first targets" not in card
    first, second = (line for line in card.splitlines() if line.startswith(("| dis", "| thin")))
    assert first == (
        "| dis5k | non-commercial | none known | <https://xuebinqin.github.io/dis/index.html> |"
    )
    assert second == (
        "| thinobject5k | CC BY-NC 4.0 | yes | "
        "<https://github.com/liewjunhao/thin-object-selection> |"
    )


def test_names_cannot_become_markup():
    config = {**CONFIG, "dataset": "a|b\n# <script>*x*"}
    card = render_data_card(config=config, counts=COUNTS, licenses={})
    assert card.splitlines()[0] == ("# Click trajectories on a\\|b \\# \\<script\\>\\*x\\* (train)")
