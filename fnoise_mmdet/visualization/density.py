"""Panel that shows how the magnitude of noise depends on that of the features."""

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, NullFormatter
from torch import Tensor

from .colours import OKABE_ITO

BINS = 80
DECADES = 4  # shown below the largest feature


def density_panel(
    columns: Sequence[tuple[str, Tensor, Tensor]], title: str, bound: float = 0.3, max_size: int = 1600
) -> np.ndarray:
    r"""Draw the joint density of \|feature\| and \|noise\| of all elements, one column per noise.

    Noise proportional to the features lies below a line parallel to the diagonal;
    noise that does not depend on them is a horizontal band.

    Args:
        columns: Name, clean and perturbed features (C, H, W) of each noise, at least one.
        title: Heading of the panel.
        bound: Factor of the line \|noise\| = bound · \|feature\|, the scale of F-Noise. Defaults to 0.3.
        max_size: Width of the panel in pixels at most. Defaults to 1600.

    Returns:
        RGB image of the panel, uint8 (H', W', 3).
    """
    pairs = [(name, *_magnitudes(clean, perturbed)) for name, clean, perturbed in columns]
    largest = max(float(features.max(initial=0)) for _, features, _ in pairs) or 1.0
    edges = np.geomspace(largest * 10.0**-DECADES, largest, BINS + 1)
    figure = Figure(figsize=(3.2 * len(pairs) + 1, 3.6), layout='constrained')
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11, parse_math=False)
    axes = figure.subplots(1, len(pairs), sharex=True, sharey=True, squeeze=False)[0]
    counts = [np.histogram2d(features, noise, bins=(edges, edges))[0] for _, features, noise in pairs]
    highest = max(float(count.max()) for count in counts) or 1.0
    for one, (name, features, noise), count in zip(axes, pairs, counts):
        shown = np.ma.masked_equal(count.T / highest, 0)
        picture = one.pcolormesh(edges, edges, shown, norm='log', cmap='viridis', vmin=1 / highest, vmax=1)
        one.plot(edges, bound * edges, color=OKABE_ITO['vermilion'], linestyle='--', label=f'{bound:g} · |feature|')
        above = float((noise > bound * features * (1 + 1e-5)).mean()) if len(noise) else 0.0
        one.set_title(f'{name}\n{above:.0%} above the line', fontsize=9, parse_math=False)
        one.set(xscale='log', yscale='log', xlim=edges[[0, -1]], ylim=edges[[0, -1]], aspect='equal')
        one.set_xlabel('|feature|', fontsize=8)
        one.tick_params(labelsize=7)
        for axis in (one.xaxis, one.yaxis):  # the default formatter writes powers as mathtext
            axis.set_major_formatter(FormatStrFormatter('%g'))
            axis.set_minor_formatter(NullFormatter())
    axes[0].set_ylabel('|noise|', fontsize=8)
    axes[0].legend(fontsize=7, loc='upper left')
    bar = figure.colorbar(picture, ax=list(axes), fraction=0.03, pad=0.01, shrink=0.7, format='%g')
    bar.set_label('density, relative to its maximum', fontsize=8)
    bar.ax.tick_params(labelsize=7)
    figure.set_dpi(min(150, max_size / figure.get_figwidth()))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _magnitudes(clean: Tensor, perturbed: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return |feature| and |noise| of the elements in which both are not 0."""
    features = clean.detach().double().cpu().numpy().ravel()
    noise = np.abs(perturbed.detach().double().cpu().numpy().ravel() - features)
    features = np.abs(features)
    both = (features > 0) & (noise > 0)
    return features[both], noise[both]
