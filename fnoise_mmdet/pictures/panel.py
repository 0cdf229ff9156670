"""The panel that shows what noise does to the features of one image."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

REDUCTIONS = ('strongest', 'mean')
CELL_INCHES = 1.9
DPI = 80


class FeatureMap(NamedTuple):
    """The features of one image at one level: name, clean and perturbed, each (C, H, W).

    ``perturbed`` is None where there is no noise to show.
    """

    name: str
    clean: Tensor
    perturbed: Tensor | None


@torch.no_grad()
def snr_db(clean: Tensor, perturbed: Tensor) -> float:
    r"""Give the signal-to-noise ratio :math:`10 \log_{10} (\sum x^2 / \sum (y - x)^2)` in dB.

    It is infinite where the two are the same.
    """
    signal = clean.double().square().sum()
    noise = (perturbed.double() - clean.double()).square().sum()
    return float(10 * torch.log10(signal / noise))


def _relative_change(clean: Tensor, perturbed: Tensor) -> Tensor:
    """Give |y - x| / |x| of each place, the norms over channels, shape (H, W); 0 where x is 0."""
    size = clean.norm(dim=0)
    return torch.where(size > 0, (perturbed - clean).norm(dim=0) / size, torch.zeros_like(size))


def _show(axes: Axes, values: Tensor, colours: str, low: float, high: float) -> None:
    picture = axes.imshow(values.numpy(), cmap=colours, vmin=low, vmax=high or 1, interpolation='nearest')
    bar = axes.figure.colorbar(picture, ax=axes, fraction=0.046, pad=0.03)
    bar.ax.tick_params(labelsize=6)
    bar.ax.yaxis.get_offset_text().set_fontsize(6)


def _cells(level: FeatureMap, reduction: str) -> tuple[str, list[tuple[Tensor, str, float, float]]]:
    """Give the label of a row and its pictures: values, colours, and the ends of the colour scale."""
    clean = level.clean.detach().float().cpu()
    label = f'{level.name}  {"×".join(map(str, clean.shape))}\n'
    if reduction == 'mean':
        channels = list(range(len(clean)))
        label += 'mean of channels'
    else:
        channels = [int(clean.flatten(1).norm(dim=1).argmax())]
        label += f'channel {channels[0]}'
    clean_map = clean[channels].mean(dim=0)
    low, high = float(clean_map.min()), float(clean_map.max())
    drawn = [(clean_map, 'viridis', low, high)]
    if level.perturbed is not None:
        perturbed = level.perturbed.detach().float().cpu()
        perturbed_map = perturbed[channels].mean(dim=0)
        noise = perturbed_map - clean_map
        peak = float(noise.abs().max())
        change = _relative_change(clean, perturbed)
        label += f'\nSNR {snr_db(clean, perturbed):.1f} dB'
        drawn += [
            (noise, 'RdBu_r', -peak, peak),
            (perturbed_map, 'viridis', low, high),
            (change, 'magma', 0.0, float(change.max())),
        ]
    return label, drawn


def feature_panel(
    image: np.ndarray, maps: Sequence[FeatureMap], title: str, reduction: str = 'strongest', caption: str = ''
) -> np.ndarray:
    """Draw the input image and, a row a level, its features: clean, noise, perturbed, relative change.

    Clean and perturbed share one colour scale, so that they can be compared;
    the noise has a diverging one around 0. One channel stands for all in the
    first three; the relative change is that of all channels together.

    Args:
        image: The input, uint8 (H, W, 3) in RGB.
        maps: The levels, at least one. Without noise only the clean maps are drawn.
        title: Heading of the panel.
        reduction: From (C, H, W) to (H, W): ``'strongest'`` takes the channel
            with the largest norm of the clean map, ``'mean'`` the mean of all.
        caption: A line below the panel, for what is too long for its heading.

    Returns:
        The panel, uint8 (H', W', 3) in RGB.

    Raises:
        ValueError: The reduction is unknown.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f'reduction must be one of {REDUCTIONS}, but got {reduction!r}')
    columns = ['clean', 'noise', 'perturbed', 'relative change'] if maps[0].perturbed is not None else ['clean']
    figure = Figure(
        figsize=((len(columns) + 1.5) * CELL_INCHES * 1.15, len(maps) * CELL_INCHES + 0.6),
        dpi=DPI,
        layout='constrained',
    )
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    if caption:
        figure.supxlabel(caption, fontsize=7)
    grid = figure.add_gridspec(len(maps), len(columns) + 1, width_ratios=[1.5] + [1] * len(columns))
    input_axes = figure.add_subplot(grid[:, 0])
    input_axes.imshow(image)
    input_axes.set_title('input', fontsize=9)
    input_axes.axis('off')

    for row, level in enumerate(maps):
        label, drawn = _cells(level, reduction)
        for column, cell in enumerate(drawn):
            axes = figure.add_subplot(grid[row, column + 1])
            _show(axes, *cell)
            axes.set_xticks([])
            axes.set_yticks([])
            if row == 0:
                axes.set_title(columns[column], fontsize=9)
            if column == 0:
                axes.set_ylabel(label, fontsize=7)

    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
