"""Panels with the clean and perturbed features of one image."""

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from .colours import OKABE_ITO
from .maps import FeatureMap, relative_change, snr_db
from .reductions import choose_reduction

# Inches.
CELL = 1.8  # longer side of a map
INPUT = 2.6  # longer side of the input image
LEGEND = 2.0, 0.5  # width, height
LABELS = 1.5
COLOUR_BAR = 0.7  # including tick labels
HEADING = 0.25
GAP = 0.12
DPI = 100
TITLE_SIZE, HEADING_SIZE, TEXT_SIZE, TICK_SIZE = 11, 10, 8, 7  # points

SCORE_THR = 0.3  # score threshold of predicted boxes
# The line style is redundant to the colour.
GROUND_TRUTH: dict[str, Any] = dict(edgecolor=OKABE_ITO['orange'], linestyle='-')
PREDICTED: dict[str, Any] = dict(edgecolor=OKABE_ITO['sky blue'], linestyle='--')


class Boxes(NamedTuple):
    """Boxes (N, 4) of an image, (x1, y1, x2, y2) in pixels; None if not available."""

    ground_truth: np.ndarray | None = None
    predicted: np.ndarray | None = None


NO_BOXES = Boxes()


class Sweep(NamedTuple):
    """Features of one level (from 0), clean and for several strengths of noise, each (C, H, W)."""

    level: int
    clean: Tensor
    perturbed: Sequence[Tensor]


class _Cell(NamedTuple):
    values: Tensor  # (H, W)
    colours: str
    low: float
    high: float


def feature_panel(
    image: np.ndarray,
    maps: Sequence[FeatureMap],
    title: str,
    reduction: str = 'strongest',
    caption: str = '',
    *,
    top_k: int = 9,
    boxes: Boxes = NO_BOXES,
    max_size: int = 1600,
) -> np.ndarray:
    """Draw the input image and its features, one row per level: clean, noise, perturbed, relative change.

    Clean and perturbed maps share the colour scale of the clean map; the noise
    has a diverging one around 0. These three show a reduction of the channels;
    the relative change is over all channels. For a non-linear reduction, the
    difference of the two reduced maps is shown instead of the noise.

    Args:
        image: RGB input, uint8 (H, W, 3).
        maps: Levels, at least one. For levels without noise only the features are drawn.
        title: Heading of the panel.
        reduction: Reduction of (C, H, W) to one map, see :func:`~fnoise_mmdet.visualization.choose_reduction`.
        caption: Line below the panel.
        top_k: Number of channels of the reduction ``'top_k'``. Defaults to 9.
        boxes: Boxes to draw on the input.
        max_size: Longest side of the panel in pixels. Defaults to 1600.

    Returns:
        RGB image of the panel, uint8 (H', W', 3).

    Raises:
        ValueError: If the reduction is unknown, or ``top_k`` < 1.
    """
    rows = [_row(level, reduction, top_k) for level in maps]
    columns = ['features']
    if any(level.perturbed is not None for level in maps):
        columns = ['clean', 'noise' if all(linear for _, _, linear in rows) else 'difference']
        columns += ['perturbed', 'relative change']
    page = _Page(image, boxes, len(rows), len(columns), title, caption)
    for column, heading in enumerate(columns):
        page.head(column, heading)
    for row, (label, cells, _) in enumerate(rows):
        page.label(row, label)
        for column, cell in enumerate(cells):
            page.add_colour_bar(row, column, page.draw(row, column, cell))
    return page.pixels(max_size)


def sweep_panel(
    image: np.ndarray,
    levels: Sequence[Sweep],
    strengths: Sequence[str],
    title: str,
    reduction: str = 'strongest',
    caption: str = '',
    *,
    top_k: int = 9,
    boxes: Boxes = NO_BOXES,
    max_size: int = 1600,
) -> np.ndarray:
    """Draw the input image and its features for increasing noise, one row per level.

    Each row has the colour scale of its clean map, with values clipped to it.
    The signal-to-noise ratio is given above each map.

    Args:
        image: RGB input, uint8 (H, W, 3).
        levels: Levels, at least one.
        strengths: Headings of the perturbed columns.
        title: Heading of the panel.
        reduction: Reduction of (C, H, W) to one map, see :func:`~fnoise_mmdet.visualization.choose_reduction`.
        caption: Line below the panel.
        top_k: Number of channels of the reduction ``'top_k'``. Defaults to 9.
        boxes: Boxes to draw on the input.
        max_size: Longest side of the panel in pixels. Defaults to 1600.

    Returns:
        RGB image of the panel, uint8 (H', W', 3).

    Raises:
        ValueError: If the reduction is unknown, or ``top_k`` < 1.
    """
    columns = len(strengths)
    page = _Page(image, boxes, len(levels), columns + 1, title, caption, colour_bars=False)
    for column, heading in enumerate(['clean', *strengths]):
        page.head(column, heading)
    for row, (level, clean, perturbed) in enumerate(levels):
        clean = _on_cpu(clean)
        chosen = choose_reduction(reduction, clean, top_k)
        clean_map = chosen.apply(clean)
        low, high = _ends(clean_map)
        page.label(row, _label(level, clean, chosen.label))
        picture = page.draw(row, 0, _Cell(clean_map, 'viridis', low, high))
        for column, noisy in enumerate(map(_on_cpu, perturbed), start=1):
            page.draw(row, column, _Cell(chosen.apply(noisy), 'viridis', low, high), f'{snr_db(clean, noisy):.1f} dB')
        page.add_colour_bar(row, columns, picture, extend='both')
    return page.pixels(max_size)


def _row(level: FeatureMap, reduction: str, top_k: int) -> tuple[str, list[_Cell], bool]:
    """Return the label of a row, its cells, and whether its reduction is linear."""
    clean = _on_cpu(level.clean)
    chosen = choose_reduction(reduction, clean, top_k)
    label = _label(level.level, clean, chosen.label)
    clean_map = chosen.apply(clean)
    low, high = _ends(clean_map)
    cells = [_Cell(clean_map, 'viridis', low, high)]
    if level.perturbed is not None:
        perturbed = _on_cpu(level.perturbed)
        perturbed_map = chosen.apply(perturbed)
        noise = perturbed_map - clean_map
        peak = float(noise.abs().nan_to_num().max())
        change = relative_change(clean, perturbed)
        label += f'\nSNR {snr_db(clean, perturbed):.1f} dB'
        cells += [
            _Cell(noise, 'RdBu_r', -peak, peak),
            _Cell(perturbed_map, 'viridis', low, high),
            _Cell(change, 'magma', 0.0, float(change.max())),
        ]
    return label, cells, chosen.linear


def _label(level: int, features: Tensor, reduction: str) -> str:
    return f'level {level}\n{"×".join(map(str, features.shape))}\n{reduction}'


def _on_cpu(features: Tensor) -> Tensor:
    return features.detach().float().cpu()


def _ends(values: Tensor) -> tuple[float, float]:
    """Return the minimum and maximum, ignoring NaN, the lines of a grid."""
    there = values[~values.isnan()]
    return (float(there.min()), float(there.max())) if len(there) else (0.0, 1.0)


class _Page:
    """Figure laid out in inches: the input on the left, then one row per level with label and maps.

    Cells have the aspect ratio of the image, within limits.
    """

    def __init__(
        self,
        image: np.ndarray,
        boxes: Boxes,
        rows: int,
        columns: int,
        title: str,
        caption: str,
        colour_bars: bool = True,
    ) -> None:
        slope = min(max(image.shape[0] / image.shape[1], 0.5), 2.0)
        wide, high = min(1.0, 1 / slope), min(1.0, slope)
        self.map_width, self.map_height = CELL * wide, CELL * high
        self.column_width = self.map_width + (COLOUR_BAR if colour_bars else GAP)
        self.above = 0.0 if colour_bars else 0.18  # space for a line of text above each map
        self.row_height = self.map_height + self.above + (GAP if colour_bars else 0.02)
        legend_width, legend_height = (0.0, 0.0) if all(some is None for some in boxes) else LEGEND
        input_width, input_height = max(INPUT * wide, legend_width), INPUT * high

        self.left = GAP + input_width + GAP + LABELS
        self.width = self.left + columns * self.column_width + (GAP if colour_bars else COLOUR_BAR)
        title, caption = _wrap(title, self.width, TITLE_SIZE), _wrap(caption, self.width, TEXT_SIZE)
        title_height = GAP + (title.count('\n') + 1) * 1.25 * TITLE_SIZE / 72
        caption_height = GAP + (caption.count('\n') + 1) * 1.25 * TEXT_SIZE / 72 if caption else 0.0
        body = max(rows * self.row_height, input_height + legend_height)
        self.height = title_height + HEADING + body + caption_height + GAP
        # Centre rows and input vertically.
        self.top = title_height + HEADING + (body - rows * self.row_height) / 2

        self.figure = Figure(figsize=(self.width, self.height), dpi=DPI)
        self.canvas = FigureCanvasAgg(self.figure)
        self._text(self.width / 2, GAP, title, TITLE_SIZE, ha='center', va='top')
        self._text(self.width / 2, self.height - GAP / 2, caption, TEXT_SIZE, ha='center', va='bottom')
        top = title_height + HEADING + (body - input_height - legend_height) / 2
        axes = self._axes(GAP, top, input_width, input_height)
        axes.axis('off')
        axes.imshow(image)
        axes.set_title('input', fontsize=HEADING_SIZE, pad=4)
        _draw_boxes(axes, boxes)

    def head(self, column: int, text: str) -> None:
        """Write the heading of a column."""
        middle, bottom = self._x(column) + self.map_width / 2, self._y(0) - self.above - 0.05
        self._text(middle, bottom, text, HEADING_SIZE, ha='center', va='bottom')

    def label(self, row: int, text: str) -> None:
        """Write the label of a row."""
        middle = self._y(row) + self.map_height / 2
        self._text(self.left - GAP, middle, text, TEXT_SIZE, ha='right', va='center', linespacing=1.4)

    def draw(self, row: int, column: int, cell: _Cell, title: str = '') -> AxesImage:
        """Draw a map with a line of text above it."""
        axes = self._axes(self._x(column), self._y(row), self.map_width, self.map_height)
        axes.set_xticks([])
        axes.set_yticks([])
        if title:
            axes.set_title(title, fontsize=TEXT_SIZE, pad=2)
        high = cell.high if cell.high > cell.low else cell.low + 1
        # Interpolation would average out the noise of large maps.
        return axes.imshow(cell.values.numpy(), cmap=cell.colours, vmin=cell.low, vmax=high, interpolation='nearest')

    def add_colour_bar(self, row: int, column: int, picture: AxesImage, **settings: Any) -> None:
        """Draw the colour bar of a map on the right of a cell."""
        axes = self._axes(self._x(column) + self.map_width + 0.05, self._y(row), 0.07, self.map_height)
        self.figure.colorbar(picture, cax=axes, ticks=MaxNLocator(4), format='%.3g', **settings)
        axes.tick_params(labelsize=TICK_SIZE, length=2, pad=2)

    def pixels(self, max_size: int) -> np.ndarray:
        """Render with a resolution such that the longer side has at most ``max_size`` pixels."""
        self.figure.set_dpi(min(DPI, max_size / max(self.width, self.height)))
        self.canvas.draw()
        return np.asarray(self.canvas.buffer_rgba())[..., :3].copy()

    def _x(self, column: int) -> float:
        return self.left + column * self.column_width

    def _y(self, row: int) -> float:
        return self.top + (row + 1) * self.row_height - self.map_height

    def _axes(self, left: float, top: float, width: float, height: float) -> Axes:
        return self.figure.add_axes(
            (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        )

    def _text(self, left: float, top: float, text: str, size: float, **settings: Any) -> None:
        self.figure.text(left / self.width, 1 - top / self.height, text, fontsize=size, parse_math=False, **settings)


def _wrap(text: str, width: float, size: float) -> str:
    """Wrap text of a size in points to a width in inches, for letters with a width of 0.6 of their size."""
    return '\n'.join(textwrap.wrap(text, int(width * 72 / (0.6 * size))))


def _draw_boxes(axes: Axes, boxes: Boxes) -> None:
    """Draw boxes on an image, and a legend below it."""
    legend = []
    for label, corners, style in (
        ('ground truth', boxes.ground_truth, GROUND_TRUTH),
        (f'predicted, score ≥ {SCORE_THR}', boxes.predicted, PREDICTED),
    ):
        if corners is None:
            continue
        legend.append(Patch(facecolor='none', linewidth=1.5, label=f'{label}: {len(corners)}', **style))
        for left, top, right, bottom in corners.tolist():
            box = Rectangle((left, top), right - left, bottom - top, fill=False, linewidth=1.5, **style)
            box.set_path_effects([withStroke(linewidth=3, foreground='black')])  # visible on any image
            axes.add_patch(box)
    if legend:
        axes.legend(
            handles=legend, loc='upper center', bbox_to_anchor=(0.5, 0), fontsize=TEXT_SIZE, frameon=False,
            handlelength=2.5,
        )  # fmt: skip
