"""Image strips: a trajectory's states side by side, each with its mask and its action."""

from __future__ import annotations

import cv2
import numpy as np

from hlmat.transforms.core.protocols import Image, Mask
from hlmat.transforms.core.records import Box, Click, Rle, Step, Trajectory
from hlmat.transforms.masks.rle import decode_rle
from hlmat.transforms.prompting.options import DEFAULT_COLOUR
from hlmat.transforms.prompting.overlay import draw_box, draw_clicks, draw_mask, draw_outline

_CAPTION_ROWS = 40
_MIN_WIDTH = 168
_LONGEST_LINE = 48
_GAP = 6
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_SCALE = 0.42


def image_strip(
    image: Image,
    trajectory: Trajectory,
    *,
    panel_height: int = 256,
    columns: int = 7,
    colour: str = DEFAULT_COLOUR,
    opacity: float = 0.5,
) -> Image:
    """Return the truth's outline, each state with the action taken in it, and the last mask.

    Args:
        image: the target's image, uint8 RGB. Shape: (H, W, 3).
        trajectory: its steps become the panels.
        panel_height: pixels of one image, without its caption.
        columns: panels in a row.
        colour: of the mask; the truth's outline is green.
        opacity: of the mask, 0 to 1.

    Raises:
        ValueError: the image is not of the target's size.

    >>> import numpy as np
    >>> from hlmat import load_segmenter, build_target, roll_out
    >>> truth = np.zeros((48, 64), dtype=bool)
    >>> truth[10:40, 20:50] = True
    >>> image = np.where(truth[..., None], (200, 60, 40), (30, 90, 160)).astype(np.uint8)
    >>> trajectory = roll_out(build_target(truth), image, segmenter=load_segmenter())
    >>> image_strip(image, trajectory, panel_height=96).dtype
    dtype('uint8')
    """
    if image.shape[:2] != trajectory.target.size_hw:
        raise ValueError(
            f"the image is {image.shape[:2]} (height, width), the target "
            f"{trajectory.target.ref.target_id!r} is {trajectory.target.size_hw}"
        )
    scale = panel_height / image.shape[0]
    size_wh = max(1, round(image.shape[1] * scale)), panel_height

    def shown_with(mask: Rle | None) -> Image:
        # Reduced after drawing, so that a thin mask fades instead of vanishing.
        if mask is None:
            return _resized(image, size_wh)
        return _resized(draw_mask(image, decode_rle(mask), colour=colour, opacity=opacity), size_wh)

    truth = _touched(trajectory.target.truth, size_wh)
    text = trajectory.target.ref.expressions[0]
    panels = [_captioned(draw_outline(shown_with(None), truth, thickness=1), ["truth", text])]
    for index, step in enumerate(trajectory.steps):
        shown = shown_with(trajectory.mask_before(index))
        before = trajectory.iou_before(index)
        panels.append(
            _captioned(
                _with_action(shown, step, scale),
                [
                    f"{index + 1}: {_action_text(step)}",
                    f"IoU {before:.2f} -> {step.iou:.2f}",
                ],
            )
        )
    panels.append(
        _captioned(
            shown_with(trajectory.last_mask),
            [f"end: {trajectory.stop_reason.value}", f"IoU {trajectory.final_iou:.2f}"],
        )
    )
    return _grid(panels, columns=columns)


def _with_action(image: Image, step: Step, scale: float) -> Image:
    action = step.action
    if isinstance(action, Click):
        height, width = image.shape[:2]
        there = Click(
            x=min(int((action.x + 0.5) * scale), width - 1),
            y=min(int((action.y + 0.5) * scale), height - 1),
            is_positive=action.is_positive,
        )
        return draw_clicks(image, [there], radius=5)
    if not isinstance(action, Box):
        return image
    x0, y0 = int(action.x0 * scale), int(action.y0 * scale)
    scaled = Box(
        x0, y0, max(x0 + 1, round(action.x1 * scale)), max(y0 + 1, round(action.y1 * scale))
    )
    return draw_box(image, scaled, thickness=1)


def _action_text(step: Step) -> str:
    action = step.action
    if isinstance(action, Click):
        text = f"{'+' if action.is_positive else '-'} ({action.x}, {action.y})"
    elif not isinstance(action, Box):
        text = "undo"
    else:
        text = f"box ({action.x0}, {action.y0}, {action.x1}, {action.y1})"
    return f"{text} initial" if step.is_initial and isinstance(action, Click) else text


def _resized(image: Image, size_wh: tuple[int, int]) -> Image:
    shrinks = size_wh[1] < image.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size_wh, interpolation=how), dtype=np.uint8)


def _touched(rle: Rle, size_wh: tuple[int, int]) -> Mask:
    """Return the pixels of the smaller image of which a mask covers a quarter or more."""
    covered = decode_rle(rle).view(np.uint8) * np.uint8(255)
    how = cv2.INTER_AREA if size_wh[1] < covered.shape[0] else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(covered, size_wh, interpolation=how)) > 63


def _captioned(image: Image, lines: list[str]) -> Image:
    """Draw two lines of text under an image, centred on a white panel.

    The font knows ASCII alone; other characters become "?", and what is too long ends in "...".
    """
    height, width = image.shape[:2]
    lines = [_shortened(line.encode("ascii", "replace").decode()) for line in lines]
    text_width = max(cv2.getTextSize(line, _FONT, _FONT_SCALE, 1)[0][0] for line in lines)
    panel_width = max(width, _MIN_WIDTH, text_width + 4)
    panel = np.full((height + _CAPTION_ROWS, panel_width, 3), 255, dtype=np.uint8)
    left = (panel_width - width) // 2
    panel[:height, left : left + width] = image
    for row, line in enumerate(lines):
        foot = height + 15 + 17 * row
        cv2.putText(panel, line, (2, foot), _FONT, _FONT_SCALE, (20, 20, 20), 1, cv2.LINE_AA)
    return panel


def _shortened(line: str) -> str:
    line = " ".join(line.split())
    return line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 3] + "..."


def _grid(panels: list[Image], *, columns: int) -> Image:
    height = panels[0].shape[0]
    width = max(panel.shape[1] for panel in panels)
    in_row = min(columns, len(panels))
    rows = -(-len(panels) // in_row)
    canvas = np.full(
        (rows * (height + _GAP) + _GAP, in_row * (width + _GAP) + _GAP, 3), 255, dtype=np.uint8
    )
    for index, panel in enumerate(panels):
        top = _GAP + index // in_row * (height + _GAP)
        left = _GAP + index % in_row * (width + _GAP)
        canvas[top : top + height, left : left + panel.shape[1]] = panel
    return canvas
