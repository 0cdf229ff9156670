"""Tables and a figure of the results of `tools/dev/benchmark.py`."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from timing import median_error

from fnoise_mmdet.comparison.numbers import number, quantity
from fnoise_mmdet.comparison.plots import colour
from fnoise_mmdet.comparison.table import Row, Section, Table
from fnoise_mmdet.datasets.files import read_json
from fnoise_mmdet.errors import InputError

Content = Mapping[str, Any]  # content of a result file
Cells = list[str]


def benchmark_table(folder: Path) -> str:
    """Return the results in a folder as Markdown tables, one per machine.

    Args:
        folder: Folder of JSON files written by ``tools/dev/benchmark.py --out``.

    Raises:
        InputError: If there is none, or one was not written by ``tools/dev/benchmark.py``.
    """
    tables: dict[str, list[Section]] = {}  # by machine
    for path in sorted(folder.glob('*.json')):
        try:
            content = json.loads(path.read_text(encoding='utf-8'))
            title, rows = _SECTIONS[content['command']](content)
            tables.setdefault(_machine(content['environment']), []).append(Section(title, [Row(row) for row in rows]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f'{path} was not written by tools/dev/benchmark.py: {type(error).__name__}: {error}'
            ) from None
    if not tables:
        raise InputError(f'{folder} has no results: run e.g. tools/dev/benchmark.py noise --out {folder}/noise.json')
    heads = ['measured', 'median', 'ratio', 'quartiles']
    return '\n\n'.join(
        f'Measured on {machine}:\n\n{Table(heads, sections, numeric=3).markdown()}'
        for machine, sections in sorted(tables.items())
    )


def _machine(env: Mapping[str, str]) -> str:
    gpu = '' if env['GPU'] == 'none' else f'{env["GPU"]}, '
    return f'{gpu}{env["processor"]}, {env["cores"]} cores, {env["torch threads"]} threads, torch {env["torch"]}'


def _noise(content: Content) -> tuple[str, list[Cells]]:
    rows = [
        _row(f'{name}; {timing["kept_bytes"] / 2**20:.1f} MiB saved for backward', timing)
        for name, timing in _compared(content)
    ]
    return f'forward and backward pass of C2 to C5, {_images(content)}, against a copy', rows


def _sizes(content: Content) -> tuple[str, list[Cells]]:
    rows = []
    for elements, timings in content['results'].items():
        copy = quantity(timings['copy']['median'] / int(elements), 's')
        name = f'{int(elements) / 1e6:.1f} million elements; a copy {copy}'
        rows.append(_row(name, timings['F-Noise'], int(elements)))
    return 'F-Noise, time per element, forward and backward pass of one level, against a copy', rows


def _pyramids(content: Content) -> tuple[str, list[Cells]]:
    rows = []
    for name, timings in content['results'].items():
        (reference, copied), (_, timing) = timings.items()
        rows.append(_row(f'{name}; a {reference} {quantity(copied["median"], "s")}', timing))
    return (
        'F-Noise on pyramids of 256 channels, the first level 80 x 128, forward and backward pass, against a copy',
        rows,
    )


def _step(content: Content) -> tuple[str, list[Cells]]:
    settings = content['settings']
    amp = ', mixed precision' if settings.get('amp') else ''
    images = f', {settings["batch_size"]} images' if 'batch_size' in settings else ''
    return f'training step of {settings["config"]}{images}{amp}, against one without noise', _rows(content)


def _eval(content: Content) -> tuple[str, list[Cells]]:
    operations = next(iter(content['results'].values()))['operations']
    rows = [_row(f'{name}; {timing["operations"]} operations', timing) for name, timing in _compared(content)]
    config = content['settings']['config']
    return f'evaluation of {config}, against one without F-Noise, which runs {operations} operations', rows


def _peer(content: Content) -> tuple[str, list[Cells]]:
    return f"training step of Mask R-CNN R50-FPN, {_images(content)}, against torchvision's", _rows(content)


def _demo(content: Content) -> tuple[str, list[Cells]]:
    (result,) = content['results'].values()
    learnt = ' and '.join(number(value, 2) for value in result['mask_ap50'].values())
    return 'make demo', [
        [f'both trainings and their comparison; mask AP50 {learnt}', f'{result["seconds"]:.0f} s', '', '']
    ]


def pyramid_figure(path: Path) -> Figure:
    """Draw the time of F-Noise and of a copy over the number of levels and of images.

    Args:
        path: JSON file written by ``tools/dev/benchmark.py pyramids --out``.

    Raises:
        InputError: If it is another file.
    """

    def parse(content: Any) -> dict[str, dict[str, Any]]:
        if content['command'] != 'pyramids':
            raise ValueError(f'it is of the command {content["command"]}')
        return content['results']

    results = read_json(path, 'was not written by tools/dev/benchmark.py pyramids --out', parse)
    passes = {_shape(name): timings for name, timings in results.items() if name != 'add_fnoise'}
    figure = Figure(figsize=(8, 3.2))
    figure.set_layout_engine('constrained')
    panels = (('levels', 0, 2, 'images'), ('images', 1, 4, 'levels'))
    for axes, (what, index, fixed, others) in zip(figure.subplots(1, 2, sharey=True), panels):
        shown = sorted((shape[index], passes[shape]) for shape in passes if shape[1 - index] == fixed)
        for place, name in enumerate(('copy', 'F-Noise')):
            medians, low, high = (
                [1000 * timings[name][key] for _, timings in shown] for key in ('median', 'low', 'high')
            )
            counts = [count for count, _ in shown]
            axes.plot(counts, medians, color=colour(place), marker='o', markersize=3, label=name)
            axes.fill_between(counts, low, high, color=colour(place), alpha=0.2, linewidth=0)
        axes.set_xscale('log', base=2)
        axes.set_yscale('log')
        axes.yaxis.set_major_formatter('{x:g}')
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.set_xlabel(f'{what} ({fixed} {others})')
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.axes[0].set_ylabel('forward and backward pass (ms)')
    inserted = results['add_fnoise']['add_fnoise']['median']
    figure.suptitle(f'Time over the size of the pyramid; add_fnoise takes {quantity(inserted, "s")}', fontsize=10)
    return figure


def _shape(name: str) -> tuple[int, int]:
    levels, _, images, _ = name.replace(',', '').split()
    return int(levels), int(images)


_SECTIONS: dict[str, Callable[[Content], tuple[str, list[Cells]]]] = dict(
    noise=_noise, sizes=_sizes, pyramids=_pyramids, step=_step, eval=_eval, peer=_peer, demo=_demo
)


def _images(content: Content) -> str:
    settings = content['settings']
    dtype = settings.get('dtype', 'float32')
    width, height = settings['size']
    return f'{settings["batch_size"]} images of {width} x {height}{"" if dtype == "float32" else f", {dtype}"}'


def _compared(content: Content) -> list[tuple[str, Content]]:
    """Return the timings of all subjects except the first, which is the reference."""
    return list(content['results'].items())[1:]


def _rows(content: Content) -> list[Cells]:
    return [_row(name, timing) for name, timing in _compared(content)]


def _row(what: str, timing: Content, elements: int = 1) -> Cells:
    return [what, quantity(timing['median'] / elements, 's'), *ratio_cells(**timing)]


def ratio_cells(ratio: float, ratio_low: float, ratio_high: float, rounds: int, **_: Any) -> Cells:
    """Return a ratio with the half-width of its 95 % confidence interval, and its quartiles, as text."""
    error = number(median_error(ratio_low, ratio_high, rounds))
    return [f'{number(ratio)} ± {error}', f'{number(ratio_low)} to {number(ratio_high)}']
