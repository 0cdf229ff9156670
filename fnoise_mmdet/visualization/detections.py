"""Panel with the detections of several models in one image, side by side."""

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

# With many classes the colours are repeated darker, then lighter.
PALETTE = (
    *OKABE_ITO.values(),
    *(to_hex(tuple(0.55 * np.array(to_rgb(colour)))) for colour in OKABE_ITO.values()),
    *(to_hex(tuple(0.5 + 0.5 * np.array(to_rgb(colour)))) for colour in OKABE_ITO.values()),
)
# In pixels. The panel has the width of a page, so that text stays readable on a phone.
PANEL_WIDTH = 1080
COLUMN_WIDTHS = (240, 640)
ASPECTS = (0.4, 1.5)  # limits of the aspect ratio (height / width) of a cell
GAP = 10
LABEL_SIZE, HEADING_SIZE, TITLE_SIZE = 17, 20, 20
LINE = 1.25  # line spacing
LABEL_SHARE = 0.15  # maximum fraction of a column covered by labels
MASK_OPACITY = 0.45


class Detection(NamedTuple):
    """Detected or ground-truth object of an image.

    ``box`` is (x1, y1, x2, y2) in pixels of the image, ``mask`` a bool array
    (H, W) or None, ``score`` None for ground truth. ``outcome`` is None, or
    that of :func:`.mark_outcomes`, which then decides the colour. ``text`` is
    what is written on the box, by default label and score.
    """

    box: Sequence[float]
    label: str
    score: float | None = None
    mask: np.ndarray | None = None
    outcome: str | None = None
    text: str | None = None


class Style(NamedTuple):
    """Colour, line style of the box, and opacity of the mask of an object."""

    colour: str
    line: str = 'solid'
    opacity: float = MASK_OPACITY


TRUE_POSITIVE, FALSE_POSITIVE, MISSED = 'true positive', 'false positive', 'missed'
IOU_THR = 0.5  # lowest IoU of a true positive
# They differ in lightness and line style, not in hue alone. A missed object is an outline, which hides no detection.
OUTCOMES = {
    TRUE_POSITIVE: Style(OKABE_ITO['blue']),
    FALSE_POSITIVE: Style(OKABE_ITO['vermilion'], 'dashed'),
    MISSED: Style(OKABE_ITO['yellow'], 'dotted', opacity=0),
}


def _check(image: np.ndarray, columns: Sequence[tuple[str, Sequence[Detection]]]) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f'image must be uint8 of shape (H, W, 3), but got {image.dtype} of shape {image.shape}')
    if not columns:
        raise ValueError('columns must not be empty')
    for heading, detections in columns:
        for box, label, _, mask, *_ in detections:
            if len(box) != 4 or not np.isfinite(np.asarray(box, dtype=float)).all():
                raise ValueError(f'the box of a {label} in column {heading!r} must be 4 finite numbers, but got {box}')
            if mask is not None and (mask.dtype != bool or mask.shape != image.shape[:2]):
                raise ValueError(
                    f'the mask of a {label} in column {heading!r} must be bool of shape {image.shape[:2]}, '
                    f'like the image, but got {mask.dtype} of shape {mask.shape}'
                )


def _wrap(text: str, width: int, size: int) -> str:
    """Wrap text to a width in pixels, for letters with a width of 0.6 of their size."""
    letters = max(int(width / (0.6 * size)), 1)
    return '\n'.join(line for part in text.splitlines() for line in textwrap.wrap(part, letters) or [''])


def _resize(array: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize an image or a mask, by nearest neighbour when enlarging and area averaging when shrinking."""
    shrinks = array.ndim == 3 and width < array.shape[1]
    method = Image.Resampling.BOX if shrinks else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(array).resize((width, height), method))


def _rim(mask: np.ndarray) -> np.ndarray:
    """Return the contour of a mask, two pixels wide."""
    inner = mask
    for _ in range(2):
        around = np.pad(inner, 1)
        inner = inner & around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return mask & ~inner


def _text_colour(colour: str) -> str:
    """Return black or white, whichever has more contrast to a colour (relative luminance of WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 'black' if float(np.dot(linear, (0.2126, 0.7152, 0.0722))) > 0.179 else 'white'


def is_free(place: tuple[float, float, float, float], taken: Sequence[tuple[float, float, float, float]]) -> bool:
    """Return whether a rectangle (x1, y1, x2, y2) overlaps none of the occupied ones."""
    left, high, right, low = place
    return all(left >= x2 or right <= x1 or high >= y2 or low <= y1 for x1, y1, x2, y2 in taken)


def _draw_label(
    axes: Axes, text: str, colour: str, box: Sequence[float], taken: list[tuple[float, float, float, float]]
) -> None:
    """Write a label at a free corner of its box, or omit it if there is none."""
    room_x, room_y = axes.get_xlim()[1], axes.get_ylim()[0]
    style: dict[str, Any] = dict(fontsize=LABEL_SIZE, color=_text_colour(colour), va='top', parse_math=False, zorder=4)
    drawn = axes.text(0, 0, text, **style)
    width, height = drawn.get_window_extent().width + 6, LABEL_SIZE * LINE
    x1, y1, x2, y2 = box
    corners = [(x1, y1 - height), (x1, y1), (x2 - width, y1 - height), (x1, y2), (x2 - width, y2), (x1, y2 - height)]
    for x, y in corners:
        x, y = max(min(x, room_x - width), 0), max(min(y, room_y - height), 0)
        if is_free((x, y, x + width, y + height), taken):
            taken.append((x, y, x + width, y + height))
            axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, alpha=0.9, zorder=3))
            drawn.set_position((x + 3, y + 2))
            return
    drawn.remove()


def _draw_column(
    axes: Axes, image: np.ndarray, scale: float, detections: Sequence[Detection], colours: dict[str, str]
) -> None:
    """Draw one column centred in axes with pixel units; ``image`` has its displayed size."""
    height, width = image.shape[:2]
    left, top = (axes.get_xlim()[1] - width) // 2, (axes.get_ylim()[0] - height) // 2
    # In ascending order of the score, so that the highest is on top, and missed objects, as outlines, below all.
    ordered = sorted(
        detections,
        key=lambda one: -1.0 if one.outcome == MISSED else float('inf') if one.score is None else one.score,
    )
    painted = image.astype(np.float32)
    styles = [OUTCOMES[one.outcome] if one.outcome else Style(colours[one.label]) for one in ordered]
    for one, style in zip(ordered, styles):
        if one.mask is not None:
            mask = _resize(one.mask.astype(np.uint8), width, height) > 0
            colour = 255 * np.array(to_rgb(style.colour), dtype=np.float32)
            painted[mask] = (1 - style.opacity) * painted[mask] + style.opacity * colour
            painted[_rim(mask)] = colour
    extent = (left, left + width, top + height, top)
    axes.imshow(painted.round().astype(np.uint8), extent=extent, interpolation='nearest', aspect='auto')

    boxes = [np.clip(one.box, 0, (width / scale, height / scale) * 2) * scale + (left, top) * 2 for one in ordered]
    for style, (x1, y1, x2, y2) in zip(styles, boxes):
        # A dark outline keeps bright boxes visible on bright images.
        around = [withStroke(linewidth=4, foreground='black', alpha=0.6), Normal()]
        edge: dict[str, Any] = dict(edgecolor=style.colour, linestyle=style.line, linewidth=2, path_effects=around)
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, **edge))
    taken: list[tuple[float, float, float, float]] = []
    for one, style, box in reversed(list(zip(ordered, styles, boxes))):
        if sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in taken) > LABEL_SHARE * width * height:
            break
        label = textwrap.shorten(one.label, 24, placeholder='…') or one.label[:24]
        text = (label if one.score is None else f'{label} {one.score:.2f}') if one.text is None else one.text
        if text:
            _draw_label(axes, text, style.colour, box, taken)
    if not detections:
        _draw_label(axes, 'no objects', '#ffffff', (left, top, left + width, top), taken)


def _draw_legend(page: Axes, top: float, width: float) -> None:
    """Draw a one-line legend of the outcomes."""
    for index, (outcome, style) in enumerate(OUTCOMES.items()):
        left, height = GAP + index * min(width / len(OUTCOMES), 300), LABEL_SIZE * 0.8
        text = f'{outcome} (IoU ≥ {IOU_THR:g})' if outcome == TRUE_POSITIVE else outcome
        edge: dict[str, Any] = dict(edgecolor=style.colour, linestyle=style.line, linewidth=2)
        page.add_patch(Rectangle((left, top + 2), 24, height, facecolor=(*to_rgb(style.colour), style.opacity), **edge))
        page.text(left + 32, top, text, fontsize=LABEL_SIZE, va='top')


def detections_panel(
    image: np.ndarray,
    columns: Sequence[tuple[str, Sequence[Detection]]],
    title: str = '',
    classes: Sequence[str] = (),
) -> np.ndarray:
    """Draw the detections of several models in one image, and the ground truth, side by side.

    A class has the same colour in all columns. Objects with an outcome have its
    colour, explained by a legend below the images. All boxes and masks are
    drawn, those with the highest score on top. Labels are drawn in descending
    order of the score, without overlap, until they cover a seventh of the image.

    Args:
        image: RGB image, uint8 (H, W, 3).
        columns: Headings and objects of the columns, at least one.
        title: Heading of the panel.
        classes: Names of all classes of the data, whose order gives the
            colours, so that they are the same in every image. Defaults to the
            classes in this image, sorted.

    Returns:
        RGB image of the panel, uint8 (H', W', 3), about 1080 pixels wide for 2 to 4 columns.

    Raises:
        ValueError: If the image, a box or a mask has another type or shape, or there is no column.
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
    has_outcomes = any(one.outcome for _, detections in columns for one in detections)
    legend_height = round(HEADING_SIZE * LINE) if has_outcomes else 0
    panel_height = top + cell_height + GAP + legend_height

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
    if has_outcomes:
        _draw_legend(page, panel_height - legend_height, panel_width)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
