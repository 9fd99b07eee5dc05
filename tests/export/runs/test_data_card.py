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


def test_the_card_ends_with_what_to_cite():
    licenses = {"thinobject5k": "CC BY-NC 4.0", "dis5k": "non-commercial"}
    card = render_data_card(config=CONFIG, counts=COUNTS, licenses=licenses)
    assert card.partition("## Citation\n\n")[2] == (
        "- Zhu et al., SegAgent: Exploring Pixel Understanding Capabilities in MLLMs by Imitating "
        "Human Annotator Trajectories, CVPR 2025, arXiv:2503.08625.\n"
        "- Qin et al., Highly Accurate Dichotomous Image Segmentation, ECCV 2022.\n"
        "- Liew et al., Deep Interactive Thin Object Selection, WACV 2021.\n"
        "- Kirillov et al., Segment Anything, ICCV 2023.\n"
    )


def test_the_card_says_of_what_no_reference_is_known():
    config = {**CONFIG, "segmenter": {"name": "my_tools:Mine"}}
    card = render_data_card(config=config, counts=COUNTS, licenses={"voc": "-", "folder": "yours"})
    assert card.partition("## Citation\n\n")[2].splitlines()[1:] == [
        "- For the data in the format folder: what its authors ask for.",
        "- For the data in the format voc: what its authors ask for; for PASCAL VOC, Everingham et "
        "al., The Pascal Visual Object Classes (VOC) Challenge, IJCV 2010.",
        "- For the segmenter my\\_tools:Mine: what its authors ask for.",
    ]
