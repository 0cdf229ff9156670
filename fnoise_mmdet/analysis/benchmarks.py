"""What `tools/benchmark.py` has measured, as a table."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError

# What is compared to what, by command: the rows of a table need not name all that was measured.
REFERENCES = {
    'noise': 'a copy of the features, forward and backward',
    'step': 'a training step without noise',
    'eval': 'evaluation without F-Noise',
    'peer': "a training step of torchvision's Mask R-CNN",
}
UNITS = ((1.0, 's'), (1e-3, 'ms'), (0.0, 'µs'))


def benchmark_table(folder: Path) -> str:
    """Give the results in a folder as a table in Markdown, with the machine that they were measured on.

    Args:
        folder: Of JSON files that ``tools/benchmark.py --out`` has written.

    Raises:
        InputError: There is none.
    """
    files = sorted(folder.glob('*.json'))
    if not files:
        raise InputError(
            f'{folder} has no results: measure some, e.g. tools/benchmark.py noise --out {folder}/noise.json'
        )
    contents = {path.stem: json.loads(path.read_text(encoding='utf-8')) for path in files}
    lines = ['| measured | against | median | ratio | quartiles of the ratio |', '|---|---|---:|---:|---:|']
    for content in contents.values():
        lines += _rows(content)
    machines = {
        f'{env["processor"]}, {env["cores"]} cores, GPU: {env["GPU"]}, torch {env["torch"]}'
        for env in (content['environment'] for content in contents.values())
    }
    return '\n'.join([*lines, '', f'Measured on {"; ".join(sorted(machines))}.'])


def _rows(content: Mapping[str, Any]) -> Iterator[str]:
    command, settings = content['command'], content['settings']
    if command == 'demo':
        (result,) = content['results'].values()
        learnt = ' and '.join(f'{value:.2f}' for value in result['mask_ap50'].values())
        yield f'| `make demo`, mask AP50 {learnt} | | {_time(result["seconds"])} | | |'
        return
    for name, timing in content['results'].items():
        if command == 'sizes':
            copy, noise = timing['copy'], timing['F-Noise']
            yield _row(f'{int(name):,} elements, F-Noise', 'the same elements, copied', noise)
            assert copy['ratio'] == 1
        elif timing['ratio'] != 1 or timing['ratio_low'] != timing['ratio_high']:
            where = ', '.join(str(settings[key]) for key in ('config',) if key in settings)
            kept = f', {timing["kept_bytes"] / 2**20:.1f} MiB kept' if 'kept_bytes' in timing else ''
            yield _row(f'{name}{f" ({where})" if where else ""}{kept}', REFERENCES[command], timing)


def _row(what: str, reference: str, timing: Mapping[str, Any]) -> str:
    spread = f'{timing["ratio_low"]:.3f} to {timing["ratio_high"]:.3f}'
    return f'| {what} | {reference} | {_time(timing["median"])} | {timing["ratio"]:.3f} | {spread} |'


def _time(seconds: float) -> str:
    unit, name = next((unit or 1e-6, name) for unit, name in UNITS if seconds >= unit)
    return f'{seconds / unit:.3g} {name}'
