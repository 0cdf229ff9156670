"""Panels with the clean and perturbed features of one image."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import BboxImage
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox, TransformedBbox
from torch import Tensor

from .colours import OKABE_ITO
from .detections import Detection, is_free
from .maps import FeatureMap, relative_change, snr_db
from .reductions import Reduction, choose_reduction

# Inches.
CELL = 1.8  # longer side of a map
INPUT = 2.6, 4.5  # limits of the longer side of the input image
LEGEND = 2.0, 0.5  # width, height
LABELS = 1.2
COLOUR_BAR = 0.85  # including tick labels and the name of the quantity
HEADING = 0.25
GAP = 0.12
DPI = 100
TITLE_SIZE, HEADING_SIZE, TEXT_SIZE, TICK_SIZE = 11, 10, 8, 7  # points
COARSE = 40  # a map of fewer pixels per side is upsampled bilinearly
OPACITY = 0.6  # of a map on the image

SCORE_THR = 0.3  # score threshold of predicted boxes
# The line style is redundant to the colour.
GROUND_TRUTH: dict[str, Any] = dict(edgecolor=OKABE_ITO['orange'], linestyle='-')
PREDICTED: dict[str, Any] = dict(edgecolor=OKABE_ITO['sky blue'], linestyle='--')


class Boxes(NamedTuple):
    """Objects of an image, of which the boxes are drawn; None if not available."""

    ground_truth: Sequence[Detection] | None = None
    predicted: Sequence[Detection] | None = None


NO_BOXES = Boxes()


class Sweep(NamedTuple):
    """Features of one level (from 0), clean and for several strengths of noise, each (C, H, W)."""

    level: int
    clean: Tensor
    perturbed: Sequence[Tensor]


class _Cell(NamedTuple):
    heading: str
    values: Tensor  # (H, W)
    colours: str
    low: float
    high: float
    quantity: str = ''  # label of the colour bar; empty without a colour bar
    on_image: bool = False


def feature_panel(
    image: np.ndarray,
    maps: Sequence[FeatureMap],
    title: str,
    reduction: str = 'strongest',
    caption: str = '',
    *,
    top_k: int = 9,
    channels: Mapping[int, Sequence[int]] | None = None,
    boxes: Boxes = NO_BOXES,
    max_size: int = 1600,
) -> np.ndarray:
    """Draw the input image and its features, one row per level: clean, noise, perturbed, relative change.

    The clean map is drawn on the image, too. Clean and perturbed maps share the
    colour scale of the clean map, and the noise has a diverging one of the same
    magnitude around 0. These show a reduction of the channels; the relative
    change is over all channels. For a non-linear reduction, the difference of
    the two reduced maps is shown instead of the noise. Coarse maps are
    upsampled bilinearly, and the label of their row has their true grid.

    Args:
        image: RGB input, uint8 (H, W, 3).
        maps: Levels, at least one. For levels without noise only the features are drawn.
        title: Heading of the panel.
        reduction: Reduction of (C, H, W) to one map, see :func:`~fnoise_mmdet.visualization.choose_reduction`.
        caption: Line below the panel.
        top_k: Number of channels of the reduction ``'top_k'``. Defaults to 9.
        channels: Channels of each level for ``'strongest'`` and ``'top_k'``. Defaults to the strongest ones.
        boxes: Objects whose boxes are drawn on the input.
        max_size: Longest side of the panel in pixels. Defaults to 1600.

    Returns:
        RGB image of the panel, uint8 (H', W', 3).

    Raises:
        ValueError: If the reduction is unknown, or ``top_k`` < 1.
    """
    chosen = [choose_reduction(reduction, _on_cpu(one.clean), top_k, (channels or {}).get(one.level)) for one in maps]
    rows = [_row(level, one) for level, one in zip(maps, chosen)]
    columns = max((cells for _, cells in rows), key=len)
    page = _Page(image, boxes, len(rows), [bool(cell.quantity) for cell in columns], title, caption)
    for column, cell in enumerate(columns):
        page.head(column, cell.heading)
    for row, (label, cells) in enumerate(rows):
        page.label(row, label)
        for column, cell in enumerate(cells):
            picture = page.draw(row, column, cell)
            if cell.quantity:
                page.add_colour_bar(row, column, picture, label=cell.quantity)
    return page.pixels(max_size)


def sweep_panel(
    image: np.ndarray,
    levels: Sequence[Sweep],
    headings: Sequence[str],
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
        headings: Headings of the perturbed columns.
        title: Heading of the panel.
        reduction: Reduction of (C, H, W) to one map, see :func:`~fnoise_mmdet.visualization.choose_reduction`.
        caption: Line below the panel.
        top_k: Number of channels of the reduction ``'top_k'``. Defaults to 9.
        boxes: Objects whose boxes are drawn on the input.
        max_size: Longest side of the panel in pixels. Defaults to 1600.

    Returns:
        RGB image of the panel, uint8 (H', W', 3).

    Raises:
        ValueError: If the reduction is unknown, or ``top_k`` < 1.
    """
    columns = len(headings)
    page = _Page(image, boxes, len(levels), [False] * columns + [True], title, caption, above=0.18)
    for column, heading in enumerate(['clean', *headings]):
        page.head(column, heading)
    for row, (level, clean, perturbed) in enumerate(levels):
        clean = _on_cpu(clean)
        chosen = choose_reduction(reduction, clean, top_k)
        clean_map = chosen.apply(clean)
        low, high = _ends(clean_map)
        page.label(row, _label(level, clean, chosen))
        picture = page.draw(row, 0, _Cell('clean', clean_map, 'viridis', low, high))
        for column, noisy in enumerate(map(_on_cpu, perturbed), start=1):
            cell = _Cell(headings[column - 1], chosen.apply(noisy), 'viridis', low, high)
            page.draw(row, column, cell, f'{snr_db(clean, noisy):.1f} dB')
        page.add_colour_bar(row, columns, picture, label=chosen.quantity, extend='both')
    return page.pixels(max_size)


def _row(level: FeatureMap, reduction: Reduction) -> tuple[str, list[_Cell]]:
    """Return the label of a row and its cells."""
    clean = _on_cpu(level.clean)
    label = _label(level.level, clean, reduction)
    clean_map = reduction.apply(clean)
    low, high = _ends(clean_map)
    heading = 'features' if level.perturbed is None else 'clean'
    cells = [_Cell(heading, clean_map, 'viridis', low, high, reduction.quantity)]
    if reduction.keeps_positions:
        cells.insert(0, _Cell('on the image', clean_map, 'viridis', low, high, on_image=True))
    if level.perturbed is not None:
        perturbed = _on_cpu(level.perturbed)
        perturbed_map = reduction.apply(perturbed)
        peak = max(abs(low), abs(high))
        change = relative_change(clean, perturbed)
        label += f'\nSNR {snr_db(clean, perturbed):.1f} dB'
        cells += [
            _Cell(
                'noise' if reduction.linear else 'difference',
                perturbed_map - clean_map,
                'RdBu_r',
                -peak,
                peak,
                reduction.quantity,
            ),
            _Cell('perturbed', perturbed_map, 'viridis', low, high),
            _Cell('relative change', change, 'magma', 0.0, float(change.max()), '‖noise‖ / ‖feature‖'),
        ]
    return label, cells


def _label(level: int, features: Tensor, reduction: Reduction) -> str:
    channels, height, width = features.shape
    return f'level {level}\n{channels} channels\ngrid {height}×{width}\n{reduction.label}'


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
        colour_bars: Sequence[bool],
        title: str,
        caption: str,
        above: float = 0.0,
    ) -> None:
        """Lay out the page.

        Args:
            image: Input, uint8 (H, W, 3).
            boxes: Objects of the input.
            rows: Number of rows.
            colour_bars: For each column, whether it has colour bars.
            title: Heading of the page.
            caption: Line below the page.
            above: Space for a line of text above each map, in inches.
        """
        self.image = image
        slope = min(max(image.shape[0] / image.shape[1], 0.5), 2.0)
        wide, high = min(1.0, 1 / slope), min(1.0, slope)
        self.map_width, self.map_height = CELL * wide, CELL * high
        self.above = above
        self.row_height = self.map_height + above + (0.02 if above else GAP)
        legend_width, legend_height = (0.0, 0.0) if all(some is None for some in boxes) else LEGEND
        side = min(max((rows * self.row_height - legend_height) / high, INPUT[0]), INPUT[1])  # as high as the rows
        input_width, input_height = max(side * wide, legend_width), side * high

        left = GAP + input_width + GAP + LABELS
        widths = [self.map_width + (COLOUR_BAR if bar else GAP) for bar in colour_bars]
        self.lefts = [left + sum(widths[:column]) for column in range(len(widths))]
        self.width = left + sum(widths) + GAP
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
        middle, bottom = self.lefts[column] + self.map_width / 2, self._y(0) - self.above - 0.05
        self._text(middle, bottom, text, HEADING_SIZE, ha='center', va='bottom')

    def label(self, row: int, text: str) -> None:
        """Write the label of a row."""
        middle = self._y(row) + self.map_height / 2
        self._text(self.lefts[0] - GAP, middle, text, TEXT_SIZE, ha='right', va='center', linespacing=1.4)

    def draw(self, row: int, column: int, cell: _Cell, title: str = '') -> ScalarMappable:
        """Draw a map with a line of text above it, without axes, which would take longer than the map."""
        box = Bbox(self._bounds(self.lefts[column], self._y(row), self.map_width, self.map_height))
        place = TransformedBbox(box, self.figure.transFigure)
        if title:
            middle = self.lefts[column] + self.map_width / 2
            self._text(middle, self._y(row) - 2 / 72, title, TEXT_SIZE, ha='center', va='baseline')
        high = cell.high if cell.high > cell.low else cell.low + 1
        if cell.on_image:
            photograph = BboxImage(place)
            photograph.set_data(self.image)
            self.figure.add_artist(photograph)
        # Interpolation would average out the noise of large maps.
        method = 'bilinear' if max(cell.values.shape) < COARSE else 'nearest'
        picture = BboxImage(
            place, cmap=cell.colours, norm=Normalize(cell.low, high), interpolation=method,
            alpha=OPACITY if cell.on_image else None,
        )  # fmt: skip
        picture.set_data(cell.values.numpy())
        self.figure.add_artist(picture)
        frame = Rectangle(box.p0, box.width, box.height, fill=False, linewidth=0.8, transform=self.figure.transFigure)
        self.figure.add_artist(frame)
        return picture

    def add_colour_bar(self, row: int, column: int, picture: ScalarMappable, label: str, **settings: Any) -> None:
        """Draw the colour bar of a map on the right of a cell, labelled with its quantity."""
        axes = self._axes(self.lefts[column] + self.map_width + 0.05, self._y(row), 0.07, self.map_height)
        self.figure.colorbar(picture, cax=axes, ticks=MaxNLocator(4), format='%.3g', **settings)
        axes.tick_params(labelsize=TICK_SIZE, length=2, pad=2)
        axes.set_ylabel(label, fontsize=TICK_SIZE)

    def pixels(self, max_size: int) -> np.ndarray:
        """Render with a resolution such that the longer side has at most ``max_size`` pixels."""
        self.figure.set_dpi(min(DPI, max_size / max(self.width, self.height)))
        self.canvas.draw()
        return np.asarray(self.canvas.buffer_rgba())[..., :3].copy()

    def _y(self, row: int) -> float:
        return self.top + (row + 1) * self.row_height - self.map_height

    def _axes(self, left: float, top: float, width: float, height: float) -> Axes:
        (x0, y0), (x1, y1) = self._bounds(left, top, width, height)
        return self.figure.add_axes((x0, y0, x1 - x0, y1 - y0))

    def _bounds(self, left: float, top: float, width: float, height: float) -> list[list[float]]:
        """Return the lower left and the upper right corner of a place as fractions of the figure."""
        (x0, x1), (y0, y1) = (left, left + width), (top + height, top)
        return [[x0 / self.width, 1 - y0 / self.height], [x1 / self.width, 1 - y1 / self.height]]

    def _text(self, left: float, top: float, text: str, size: float, **settings: Any) -> None:
        self.figure.text(left / self.width, 1 - top / self.height, text, fontsize=size, parse_math=False, **settings)


def _wrap(text: str, width: float, size: float) -> str:
    """Wrap text of a size in points to a width in inches, for letters with a width of 0.6 of their size."""
    return '\n'.join(textwrap.wrap(text, int(width * 72 / (0.6 * size))))


def _draw_boxes(axes: Axes, boxes: Boxes) -> None:
    """Draw boxes on an image with their classes, and a legend below it."""
    legend = []
    taken: list[tuple[float, float, float, float]] = []
    for label, objects, style in (
        ('ground truth', boxes.ground_truth, GROUND_TRUTH),
        (f'predicted, score ≥ {SCORE_THR}', boxes.predicted, PREDICTED),
    ):
        if objects is None:
            continue
        legend.append(Patch(facecolor='none', linewidth=1.5, label=f'{label}: {len(objects)}', **style))
        for one in objects:
            left, top, right, bottom = one.box
            box = Rectangle((left, top), right - left, bottom - top, fill=False, linewidth=1.5, **style)
            box.set_path_effects([withStroke(linewidth=3, foreground='black')])  # visible on any image
            axes.add_patch(box)
            name = one.label if one.score is None else f'{one.label} {one.score:.2f}'
            _name_box(axes, name, (left, top) if one.score is None else (left, bottom), style['edgecolor'], taken)
    if legend:
        axes.legend(
            handles=legend, loc='upper center', bbox_to_anchor=(0.5, 0), fontsize=TEXT_SIZE, frameon=False,
            handlelength=2.5,
        )  # fmt: skip


def _name_box(
    axes: Axes,
    name: str,
    corner: tuple[float, float],
    colour: str,
    taken: list[tuple[float, float, float, float]],
) -> None:
    """Write the class of a box at its corner, or omit it if there is no space."""
    (left, right), (bottom, top) = sorted(axes.get_xlim()), axes.get_ylim()
    text = axes.text(
        *corner, name, fontsize=TICK_SIZE, color='black', va='top', parse_math=False, clip_on=True,
        bbox=dict(facecolor=colour, edgecolor='none', pad=1, alpha=0.85),
    )  # fmt: skip
    extent = text.get_window_extent().transformed(axes.transData.inverted())
    width, height = extent.width, abs(extent.height)
    x = max(min(corner[0], right - width), left)
    y = max(min(corner[1], bottom - height), top)
    if name and is_free((x, y, x + width, y + height), taken):
        taken.append((x, y, x + width, y + height))
        text.set_position((x, y))
    else:
        text.remove()
