"""Markdown tables of the results of `tools/dev/benchmark.py`."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from timing import median_error

from fnoise_mmdet.errors import InputError

UNITS = ((1.0, 's'), (1e-3, 'ms'), (1e-6, 'µs'), (1e-9, 'ns'))

# Subjects under their former names in kept results.
RENAMED = {
    'without noise, another time': 'baseline, repeated (A/A)',
    'cct, too faint to change the training': 'overhead only (scale 1e-12)',
    'cct, the simple way': 'cct, eager (plain PyTorch)',
    "cct, as in the paper's code": 'cct, code of the paper',
}

Content = Mapping[str, Any]  # content of a result file


def benchmark_table(folder: Path) -> str:
    """Return the results in a folder as Markdown tables, one per machine.

    Args:
        folder: Folder of JSON files written by ``tools/dev/benchmark.py --out``.

    Raises:
        InputError: If there is none, or one was not written by ``tools/dev/benchmark.py``.
    """
    tables: dict[str, list[str]] = {}  # rows by machine
    for path in sorted(folder.glob('*.json')):
        try:
            content = json.loads(path.read_text(encoding='utf-8'))
            content['results'] = {RENAMED.get(name, name): one for name, one in content['results'].items()}
            rows = list(_ROWS[content['command']](content))
            tables.setdefault(_machine(content['environment']), []).extend(rows)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f'{path} was not written by tools/dev/benchmark.py: {type(error).__name__}: {error}'
            ) from None
    if not tables:
        raise InputError(f'{folder} has no results: run e.g. tools/dev/benchmark.py noise --out {folder}/noise.json')
    head = ['| measured | median | ratio | quartiles |', '|---|---:|---:|---:|']
    return '\n\n'.join(
        '\n'.join([f'Measured on {machine}:', '', *head, *rows]) for machine, rows in sorted(tables.items())
    )


def _machine(env: Mapping[str, str]) -> str:
    gpu = '' if env['GPU'] == 'none' else f'{env["GPU"]}, '
    return f'{gpu}{env["processor"]}, {env["cores"]} cores, {env["torch threads"]} threads, torch {env["torch"]}'


def _noise_rows(content: Content) -> Iterator[str]:
    yield _caption(f'forward and backward pass of C2 to C5, {_images(content)}', 'a copy')
    for name, timing in _but_the_reference(content):
        yield _row(f'{name}; {timing["kept_bytes"] / 2**20:.1f} MiB saved for backward', timing)


def _size_rows(content: Content) -> Iterator[str]:
    yield _caption('F-Noise, time per element, forward and backward pass of one level', 'a copy')
    for elements, timings in content['results'].items():
        timing, copy = timings['F-Noise'], timings['copy']['median'] / int(elements)
        yield _row(f'{int(elements) / 1e6:.1f} million elements; a copy {_time(copy)}', timing, int(elements))


def _step_rows(content: Content) -> Iterator[str]:
    settings = content['settings']
    amp = ', mixed precision' if settings.get('amp') else ''
    images = f', {settings["batch_size"]} images' if 'batch_size' in settings else ''
    yield _caption(f'training step of `{settings["config"]}`{images}{amp}', 'one without noise')
    for name, timing in _but_the_reference(content):
        yield _row(name, timing)


def _eval_rows(content: Content) -> Iterator[str]:
    operations = next(iter(content['results'].values()))['operations']
    yield _caption(
        f'evaluation of `{content["settings"]["config"]}`', f'one without F-Noise, which runs {operations} operations'
    )
    for name, timing in _but_the_reference(content):
        yield _row(f'{name}; {timing["operations"]} operations', timing)


def _peer_rows(content: Content) -> Iterator[str]:
    yield _caption(f'training step of Mask R-CNN R50-FPN, {_images(content)}', "torchvision's")
    for name, timing in _but_the_reference(content):
        yield _row(name, timing)


def _demo_rows(content: Content) -> Iterator[str]:
    (result,) = content['results'].values()
    learnt = ' and '.join(f'{value:.2f}' for value in result['mask_ap50'].values())
    yield f'| **`make demo`**; mask AP50 {learnt} | {result["seconds"]:.0f} s | | |'


_ROWS: dict[str, Callable[[Content], Iterator[str]]] = dict(
    noise=_noise_rows, sizes=_size_rows, step=_step_rows, eval=_eval_rows, peer=_peer_rows, demo=_demo_rows
)


def _images(content: Content) -> str:
    settings = content['settings']
    dtype = settings.get('dtype', 'float32')
    width, height = settings['size']
    return f'{settings["batch_size"]} images of {width} x {height}{"" if dtype == "float32" else f", {dtype}"}'


def _caption(what: str, reference: str) -> str:
    return f'| **{what}**, against {reference} | | | |'


def _but_the_reference(content: Content) -> list[tuple[str, Content]]:
    """Return the timings of all subjects except the first, which is the reference."""
    return list(content['results'].items())[1:]


def _row(what: str, timing: Content, elements: int = 1) -> str:
    spread = f'{timing["ratio_low"]:.3f} to {timing["ratio_high"]:.3f}'
    error = median_error(timing['ratio_low'], timing['ratio_high'], timing['rounds'])
    return f'| {what} | {_time(timing["median"] / elements)} | {timing["ratio"]:.3f} ± {error:.3f} | {spread} |'


def _time(seconds: float) -> str:
    unit, name = next((one for one in UNITS if seconds >= one[0]), UNITS[-1])
    return f'{seconds / unit:.3g} {name}'
