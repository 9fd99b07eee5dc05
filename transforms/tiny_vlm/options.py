"""Size and pre-training of the small model."""

from __future__ import annotations

from collections.abc import Iterator

from hlmat.transforms.core.options import options, setting


@options
class TinyVlmArchitecture:
    """The size of the small model.

    Attributes:
        image: side of its square input images, in pixels.
        patch: side of a patch in pixels; each is one token.

    Raises:
        OptionsError: sizes out of range or incompatible; lists every problem.
    """

    image: int = setting(default=120, ge=32, metavar="PX", help="side of an image in pixels")
    patch: int = setting(default=12, ge=4, metavar="PX", help="side of a patch in pixels")
    vision_width: int = setting(default=192, ge=8, help="width of the vision tower")
    vision_depth: int = setting(default=6, ge=1, help="layers of the vision tower")
    width: int = setting(default=192, ge=24, help="width of the language model")
    depth: int = setting(default=4, ge=1, help="layers of the language model")
    heads: int = setting(default=3, ge=1, help="attention heads of both")

    def conflicts(self) -> Iterator[str]:
        """Yield problems with combinations of values."""
        if self.image % self.patch:
            yield "{image} must be a multiple of {patch}"
        each_head = 4 * self.heads
        if self.width % each_head or self.vision_width % each_head:
            yield (
                f"{{width}} and {{vision_width}} must be multiples of {each_head}, "
                "4 for each of {heads}"
            )

    @property
    def grid(self) -> int:
        """Tokens of an image along one side."""
        return self.image // self.patch


@options
class PretrainingOptions:
    """The length and learning rates of the pre-training.

    Attributes:
        steps: updates in all, the first `tower_steps` of them of the vision tower alone.
        mask_share: the share of images with a mask while the tower trains alone.
        text_mask_share: the same while texts are read, too; None for `mask_share`.
        scores: whether an answer begins with the IoU of the mask shown.
        learning_rate: the peak for everything but the matrices of the blocks.
        matrix_rate: the peak for those, which Muon updates.
        seed: of weights, sample order and images.
    """

    steps: int = setting(default=2000, ge=0, help="updates; 0 leaves the weights random")
    tower_steps: int = setting(
        default=1200, ge=0, help="updates at first of the vision tower alone, without texts"
    )
    batch: int = setting(default=16, ge=1, help="images per update")
    texts: int = setting(default=6, ge=1, help="expressions of each image, at most")
    mask_share: float = setting(
        default=0.4, ge=0, le=1, help="share of images with a mask, from half of the tower's steps"
    )
    text_mask_share: float | None = setting(
        default=None, ge=0, le=1, help="the same while texts are read (--mask-share)"
    )
    scores: bool = setting(
        default=False, help="answers begin with the IoU of the mask shown, as in mini_prm"
    )
    learning_rate: float = setting(default=0.003, gt=0, lt=1, help="peak of Adam's learning rate")
    matrix_rate: float = setting(default=0.02, gt=0, lt=1, help="peak of Muon's learning rate")
    warm_up: int = setting(default=40, ge=1, help="updates of the warm-up")
    seed: int = setting(default=0, ge=0, metavar="K", help="of weights and images")
