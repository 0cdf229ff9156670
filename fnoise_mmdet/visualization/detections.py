"""The panel that shows what detectors find in one image, side by side."""

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, withStroke
from PIL import Image

from .colours import OKABE_ITO

# For data of many classes the same colours come again darker, then lighter: then the lightness tells.
PALETTE = (
    *OKABE_ITO.values(),
    *(to_hex(tuple(0.55 * np.array(to_rgb(colour)))) for colour in OKABE_ITO.values()),
    *(to_hex(tuple(0.5 + 0.5 * np.array(to_rgb(colour)))) for colour in OKABE_ITO.values()),
)
# All in pixels. The panel's width is that of a page, so that text is still read where it is shrunk to a phone's.
PANEL_WIDTH = 1080
COLUMN_WIDTHS = (240, 640)
ASPECTS = (0.4, 1.5)  # height to width of a column's cell, between which it fits the image
GAP = 10
LABEL_SIZE, HEADING_SIZE, TITLE_SIZE = 17, 20, 20
LINE = 1.25  # distance of lines of text to its size
LABEL_SHARE = 0.15  # of a column, which labels cover at most; more would bury the picture
MASK_OPACITY = 0.45


class Detection(NamedTuple):
    """An object of an image: found, or of the ground truth.

    ``box`` is (x1, y1, x2, y2) in pixels of the image, ``mask`` a bool array
    (H, W) or None, ``score`` None for ground truth.
    """

    box: Sequence[float]
    label: str
    score: float | None = None
    mask: np.ndarray | None = None


def _check(image: np.ndarray, columns: Sequence[tuple[str, Sequence[Detection]]]) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f'image must be uint8 of shape (H, W, 3), but got {image.dtype} of shape {image.shape}')
    if not columns:
        raise ValueError('columns must not be empty')
    for heading, detections in columns:
        for box, label, _, mask in detections:
            if len(box) != 4 or not np.isfinite(np.asarray(box, dtype=float)).all():
                raise ValueError(f'the box of a {label} in column {heading!r} must be 4 finite numbers, but got {box}')
            if mask is not None and (mask.dtype != bool or mask.shape != image.shape[:2]):
                raise ValueError(
                    f'the mask of a {label} in column {heading!r} must be bool of shape {image.shape[:2]}, '
                    f'as the image is, but got {mask.dtype} of shape {mask.shape}'
                )


def _wrap(text: str, width: int, size: int) -> str:
    """Break lines so that they fit a width in pixels, the letters being 0.6 of their size wide."""
    letters = max(int(width / (0.6 * size)), 1)
    return '\n'.join(line for part in text.splitlines() for line in textwrap.wrap(part, letters) or [''])


def _resize(array: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize an image or a mask: pixels stay sharp where they grow, and are averaged where an image shrinks."""
    shrinks = array.ndim == 3 and width < array.shape[1]
    method = Image.Resampling.BOX if shrinks else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(array).resize((width, height), method))


def _rim(mask: np.ndarray) -> np.ndarray:
    """Return the two outermost pixels of a mask."""
    inner = mask
    for _ in range(2):
        around = np.pad(inner, 1)
        inner = inner & around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return mask & ~inner


def _text_colour(colour: str) -> str:
    """Return black or white, whichever is read better on a colour (relative luminance of WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 'black' if float(np.dot(linear, (0.2126, 0.7152, 0.0722))) > 0.179 else 'white'


def _draw_label(
    axes: Axes, text: str, colour: str, box: Sequence[float], taken: list[tuple[float, float, float, float]]
) -> None:
    """Write a label at a corner of its box where it overlaps no other one; where there is none, leave it out."""
    room_x, room_y = axes.get_xlim()[1], axes.get_ylim()[0]
    style: dict[str, Any] = dict(fontsize=LABEL_SIZE, color=_text_colour(colour), va='top', parse_math=False, zorder=4)
    drawn = axes.text(0, 0, text, **style)
    width, height = drawn.get_window_extent().width + 6, LABEL_SIZE * LINE
    x1, y1, x2, y2 = box
    corners = [(x1, y1 - height), (x1, y1), (x2 - width, y1 - height), (x1, y2), (x2 - width, y2), (x1, y2 - height)]
    for x, y in corners:
        x, y = max(min(x, room_x - width), 0), max(min(y, room_y - height), 0)
        if all(x >= right or x + width <= left or y >= low or y + height <= high for left, high, right, low in taken):
            taken.append((x, y, x + width, y + height))
            axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, alpha=0.9, zorder=3))
            drawn.set_position((x + 3, y + 2))
            return
    drawn.remove()


def _draw_column(
    axes: Axes, image: np.ndarray, scale: float, detections: Sequence[Detection], colours: dict[str, str]
) -> None:
    """Draw one column in the middle of an axes whose units are pixels; ``image`` is as large as it is shown."""
    height, width = image.shape[:2]
    left, top = (axes.get_xlim()[1] - width) // 2, (axes.get_ylim()[0] - height) // 2
    # The surest one last, so that it lies on top.
    ordered = sorted(detections, key=lambda one: float('inf') if one.score is None else one.score)
    painted = image.astype(np.float32)
    for one in ordered:
        if one.mask is not None:
            mask = _resize(one.mask.astype(np.uint8), width, height) > 0
            colour = 255 * np.array(to_rgb(colours[one.label]), dtype=np.float32)
            painted[mask] = (1 - MASK_OPACITY) * painted[mask] + MASK_OPACITY * colour
            painted[_rim(mask)] = colour
    extent = (left, left + width, top + height, top)
    axes.imshow(painted.round().astype(np.uint8), extent=extent, interpolation='nearest', aspect='auto')

    boxes = [np.clip(one.box, 0, (width / scale, height / scale) * 2) * scale + (left, top) * 2 for one in ordered]
    for one, (x1, y1, x2, y2) in zip(ordered, boxes):
        # A dark line around it keeps a bright box seen on a bright image.
        around = [withStroke(linewidth=4, foreground='black', alpha=0.6), Normal()]
        style: dict[str, Any] = dict(fill=False, edgecolor=colours[one.label], linewidth=2, path_effects=around)
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **style))
    taken: list[tuple[float, float, float, float]] = []
    for one, box in reversed(list(zip(ordered, boxes))):
        if sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in taken) > LABEL_SHARE * width * height:
            break
        label = textwrap.shorten(one.label, 24, placeholder='…') or one.label[:24]
        _draw_label(axes, label if one.score is None else f'{label} {one.score:.2f}', colours[one.label], box, taken)
    if not detections:
        _draw_label(axes, 'no objects', '#ffffff', (left, top, left + width, top), taken)


def detections_panel(
    image: np.ndarray,
    columns: Sequence[tuple[str, Sequence[Detection]]],
    title: str = '',
    classes: Sequence[str] = (),
) -> np.ndarray:
    """Draw what several models find in one image, and the ground truth, side by side.

    A class has one colour in all columns. Every box and mask is drawn, the
    surest on top; labels are, the surest first, until they cover a seventh of
    the image, and none over another.

    Args:
        image: The image, uint8 (H, W, 3) in RGB.
        columns: At least one: its heading, and the objects to draw.
        title: Heading of the panel.
        classes: Names of all classes of the data. The place of a class among
            them gives its colour, which is then the same in every picture.
            Defaults to the classes in this picture, by the alphabet.

    Returns:
        The panel, uint8 (H', W', 3) in RGB, about 1080 pixels wide for 2 to 4 columns.

    Raises:
        ValueError: The image, a box or a mask has another type or shape, or there is no column.
    """
    _check(image, columns)
    labels = sorted({one.label for _, detections in columns for one in detections} - set(classes))
    colours = {label: PALETTE[index % len(PALETTE)] for index, label in enumerate([*classes, *labels])}

    low, high = COLUMN_WIDTHS
    cell_width = min(max((PANEL_WIDTH - (len(columns) + 1) * GAP) // len(columns), low), high)
    height, width = image.shape[:2]
    scale = cell_width * min(1 / width, ASPECTS[1] / height)
    shown = _resize(image, max(round(width * scale), 1), max(round(height * scale), 1))
    cell_height = max(shown.shape[0], round(ASPECTS[0] * cell_width))
    panel_width = GAP + len(columns) * (cell_width + GAP)

    title = _wrap(title, panel_width - 2 * GAP, TITLE_SIZE)
    headings = [_wrap(heading, cell_width, HEADING_SIZE) for heading, _ in columns]
    lines = max(heading.count('\n') + 1 for heading in headings)
    title_height = round((title.count('\n') + 1) * TITLE_SIZE * LINE) + GAP if title else 0
    top = GAP + title_height + round(lines * HEADING_SIZE * LINE) + GAP // 2
    panel_height = top + cell_height + GAP

    figure = Figure(figsize=(panel_width / 72, panel_height / 72), dpi=72)  # a point is a pixel
    canvas = FigureCanvasAgg(figure)
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, panel_width), ylim=(panel_height, 0))
    page.axis('off')
    style: dict[str, Any] = dict(va='top', linespacing=LINE, parse_math=False)
    page.text(GAP, GAP, title, fontsize=TITLE_SIZE, **style)
    for index, ((_, detections), heading) in enumerate(zip(columns, headings)):
        left = GAP + index * (cell_width + GAP)
        page.text(left, GAP + title_height, heading, fontsize=HEADING_SIZE, weight='bold', **style)
        place = (
            left / panel_width,
            1 - (top + cell_height) / panel_height,
            cell_width / panel_width,
            cell_height / panel_height,
        )
        axes = figure.add_axes(place, xlim=(0, cell_width), ylim=(cell_height, 0), autoscale_on=False)
        axes.axis('off')
        _draw_column(axes, shown, scale, detections, colours)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
